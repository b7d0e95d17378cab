//! A folder of DICOM slices, as a scanner exports them.
#![allow(dead_code)]

use std::path::Path;

use dicom_core::{DataElement, PrimitiveValue, Tag, VR, dicom_value};
use dicom_dictionary_std::tags;
use dicom_object::mem::InMemElement;
use dicom_object::{FileMetaTableBuilder, InMemDicomObject};
use ndarray::{Array3, Axis};

/// What a series has in common.
#[derive(Clone)]
pub struct Series {
    /// SeriesInstanceUID.
    pub uid: String,
    /// SeriesDescription.
    pub description: String,
    /// Distance of columns, rows and slices in mm.
    pub spacing: [f64; 3],
    /// The first pixel of the first slice, in mm, LPS.
    pub origin: [f64; 3],
    /// How far each slice is moved along y against the one before: a tilted gantry.
    pub shear: f64,
    /// Where columns count to, rows, and slices, in LPS; of one file with frames they are the patient's axes.
    pub directions: [[f64; 3]; 3],
}

/// Columns to the left, rows to the back, slices to the head.
pub const AXIAL: [[f64; 3]; 3] = [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]];

impl Series {
    /// Writes `voxels` as the frames of one file (enhanced CT), the last slice first, places in functional groups.
    pub fn write_enhanced(&self, path: &Path, voxels: &Array3<i16>) {
        let (columns, rows, count) = voxels.dim();
        let sequence = |tag, items: Vec<InMemDicomObject>| {
            DataElement::new(tag, VR::SQ, dicom_core::value::DataSetSequence::from(items))
        };
        let group = |tag, elements: Vec<InMemElement>| {
            sequence(tag, vec![InMemDicomObject::from_element_iter(elements)])
        };
        let [x, y, z] = self.origin;
        let mut frames = Vec::new();
        let mut pixels: Vec<u16> = Vec::new();
        for index in (0..count).rev() {
            let place = joined(&[x, y, z + index as f64 * self.spacing[2]]);
            frames.push(InMemDicomObject::from_element_iter([group(
                tags::PLANE_POSITION_SEQUENCE,
                vec![text(VR::DS, tags::IMAGE_POSITION_PATIENT, &place)],
            )]));
            pixels.extend(voxels.index_axis(Axis(2), index).t().iter().map(|&value| (value + 1024) as u16));
        }
        let shared = InMemDicomObject::from_element_iter([
            group(
                tags::PLANE_ORIENTATION_SEQUENCE,
                vec![text(VR::DS, tags::IMAGE_ORIENTATION_PATIENT, &joined(&[1.0, 0.0, 0.0, 0.0, 1.0, 0.0]))],
            ),
            group(
                tags::PIXEL_MEASURES_SEQUENCE,
                vec![text(VR::DS, tags::PIXEL_SPACING, &joined(&[self.spacing[1], self.spacing[0]]))],
            ),
            group(
                tags::PIXEL_VALUE_TRANSFORMATION_SEQUENCE,
                vec![text(VR::DS, tags::RESCALE_INTERCEPT, "-1024"), text(VR::DS, tags::RESCALE_SLOPE, "1")],
            ),
        ]);
        let class = "1.2.840.10008.5.1.4.1.1.2.1";
        let elements = [
            text(VR::UI, tags::SOP_CLASS_UID, class),
            text(VR::UI, tags::SOP_INSTANCE_UID, &self.uid),
            text(VR::CS, tags::MODALITY, "CT"),
            text(VR::UI, tags::SERIES_INSTANCE_UID, &self.uid),
            text(VR::IS, tags::NUMBER_OF_FRAMES, &count.to_string()),
            sequence(tags::SHARED_FUNCTIONAL_GROUPS_SEQUENCE, vec![shared]),
            sequence(tags::PER_FRAME_FUNCTIONAL_GROUPS_SEQUENCE, frames),
        ];
        let image = image([columns, rows], pixels);
        let object = InMemDicomObject::from_element_iter(elements.into_iter().chain(image));
        let meta = FileMetaTableBuilder::new()
            .transfer_syntax("1.2.840.10008.1.2.1")
            .media_storage_sop_class_uid(class)
            .media_storage_sop_instance_uid(&self.uid);
        object.with_meta(meta).unwrap().write_to_file(path).unwrap();
    }

    /// Writes `voxels`, Hounsfield units indexed `[column, row, slice]`, a slice a file named by `name`.
    pub fn write(&self, folder: &Path, voxels: &Array3<i16>, name: impl Fn(usize) -> String) {
        std::fs::create_dir_all(folder).unwrap();
        let (columns, rows, _) = voxels.dim();
        for (index, slice) in voxels.axis_iter(Axis(2)).enumerate() {
            let step = index as f64;
            let [columns_to, rows_to, slices_to] = self.directions;
            let mut position: [f64; 3] =
                std::array::from_fn(|axis| self.origin[axis] + step * self.spacing[2] * slices_to[axis]);
            position[1] += step * self.shear;
            // Stored as scanners do: Hounsfield units above -1024, row by row.
            let pixels: Vec<u16> = slice.t().iter().map(|&value| (value + 1024) as u16).collect();
            let instance = format!("{}.{}", self.uid, index + 1);
            let elements = [
                text(VR::UI, tags::SOP_CLASS_UID, "1.2.840.10008.5.1.4.1.1.2"),
                text(VR::UI, tags::SOP_INSTANCE_UID, &instance),
                text(VR::CS, tags::MODALITY, "CT"),
                text(VR::LO, tags::SERIES_DESCRIPTION, &self.description),
                text(VR::UI, tags::STUDY_INSTANCE_UID, "1.2.826.0"),
                text(VR::PN, tags::PATIENT_NAME, "Sp\u{ee}ne^Phantom"),
                text(VR::CS, tags::SPECIFIC_CHARACTER_SET, "ISO_IR 100"),
                text(VR::UI, tags::SERIES_INSTANCE_UID, &self.uid),
                text(VR::IS, tags::SERIES_NUMBER, "2"),
                text(VR::DS, tags::IMAGE_POSITION_PATIENT, &joined(&position)),
                text(VR::DS, tags::IMAGE_ORIENTATION_PATIENT, &joined(&[columns_to, rows_to].concat())),
                text(VR::DS, tags::PIXEL_SPACING, &joined(&[self.spacing[1], self.spacing[0]])),
                text(VR::DS, tags::RESCALE_INTERCEPT, "-1024"),
                text(VR::DS, tags::RESCALE_SLOPE, "1"),
            ];
            let image = image([columns, rows], pixels);
            let object = InMemDicomObject::from_element_iter(elements.into_iter().chain(image));
            let meta = FileMetaTableBuilder::new()
                .transfer_syntax("1.2.840.10008.1.2.1")
                .media_storage_sop_class_uid("1.2.840.10008.5.1.4.1.1.2")
                .media_storage_sop_instance_uid(&instance);
            object.with_meta(meta).unwrap().write_to_file(folder.join(name(index))).unwrap();
        }
    }
}

fn text(vr: VR, tag: Tag, text: &str) -> InMemElement {
    DataElement::new(tag, vr, PrimitiveValue::from(text))
}

/// Numbers as DICOM's text holds several.
fn joined(values: &[f64]) -> String {
    values.iter().map(|value| format!("{value:.6}")).collect::<Vec<_>>().join("\\")
}

/// Unsigned pixels of 16 bits, row by row, and what says that they are.
fn image([columns, rows]: [usize; 2], pixels: Vec<u16>) -> Vec<InMemElement> {
    let number = |tag, value: u16| DataElement::new(tag, VR::US, dicom_value!(U16, [value]));
    vec![
        text(VR::CS, tags::PHOTOMETRIC_INTERPRETATION, "MONOCHROME2"),
        number(tags::SAMPLES_PER_PIXEL, 1),
        number(tags::ROWS, rows as u16),
        number(tags::COLUMNS, columns as u16),
        number(tags::BITS_ALLOCATED, 16),
        number(tags::BITS_STORED, 16),
        number(tags::HIGH_BIT, 15),
        number(tags::PIXEL_REPRESENTATION, 0),
        DataElement::new(tags::PIXEL_DATA, VR::OW, PrimitiveValue::U16(pixels.into())),
    ]
}
