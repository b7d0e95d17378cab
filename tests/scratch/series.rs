//! A folder of DICOM slices, as a scanner exports them.
#![allow(dead_code)]

use std::path::Path;

use dicom_core::{DataElement, PrimitiveValue, VR, dicom_value};
use dicom_dictionary_std::tags;
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
}

impl Series {
    /// Writes `voxels`, Hounsfield units indexed `[column, row, slice]`, a slice a file named by `name`.
    pub fn write(&self, folder: &Path, voxels: &Array3<i16>, name: impl Fn(usize) -> String) {
        std::fs::create_dir_all(folder).unwrap();
        let (columns, rows, _) = voxels.dim();
        for (index, slice) in voxels.axis_iter(Axis(2)).enumerate() {
            let [x, y, z] = self.origin;
            let step = index as f64;
            let position = [x, y + step * self.shear, z + step * self.spacing[2]];
            // Stored as scanners do: Hounsfield units above -1024, row by row.
            let pixels: Vec<u16> = slice.t().iter().map(|&value| (value + 1024) as u16).collect();
            let text = |vr, tag, text: &str| DataElement::new(tag, vr, PrimitiveValue::from(text));
            let number = |tag, value: u16| DataElement::new(tag, VR::US, dicom_value!(U16, [value]));
            let joined = |values: &[f64]| {
                values.iter().map(|value| format!("{value:.6}")).collect::<Vec<_>>().join("\\")
            };
            let instance = format!("{}.{}", self.uid, index + 1);
            let object = InMemDicomObject::from_element_iter([
                text(VR::UI, tags::SOP_CLASS_UID, "1.2.840.10008.5.1.4.1.1.2"),
                text(VR::UI, tags::SOP_INSTANCE_UID, &instance),
                text(VR::CS, tags::MODALITY, "CT"),
                text(VR::LO, tags::SERIES_DESCRIPTION, &self.description),
                text(VR::UI, tags::SERIES_INSTANCE_UID, &self.uid),
                text(VR::IS, tags::SERIES_NUMBER, "2"),
                text(VR::DS, tags::IMAGE_POSITION_PATIENT, &joined(&position)),
                text(VR::DS, tags::IMAGE_ORIENTATION_PATIENT, &joined(&[1.0, 0.0, 0.0, 0.0, 1.0, 0.0])),
                text(VR::DS, tags::PIXEL_SPACING, &joined(&[self.spacing[1], self.spacing[0]])),
                text(VR::DS, tags::RESCALE_INTERCEPT, "-1024"),
                text(VR::DS, tags::RESCALE_SLOPE, "1"),
                text(VR::CS, tags::PHOTOMETRIC_INTERPRETATION, "MONOCHROME2"),
                number(tags::SAMPLES_PER_PIXEL, 1),
                number(tags::ROWS, rows as u16),
                number(tags::COLUMNS, columns as u16),
                number(tags::BITS_ALLOCATED, 16),
                number(tags::BITS_STORED, 16),
                number(tags::HIGH_BIT, 15),
                number(tags::PIXEL_REPRESENTATION, 0),
                DataElement::new(tags::PIXEL_DATA, VR::OW, PrimitiveValue::U16(pixels.into())),
            ]);
            let meta = FileMetaTableBuilder::new()
                .transfer_syntax("1.2.840.10008.1.2.1")
                .media_storage_sop_class_uid("1.2.840.10008.5.1.4.1.1.2")
                .media_storage_sop_instance_uid(&instance);
            object.with_meta(meta).unwrap().write_to_file(folder.join(name(index))).unwrap();
        }
    }
}
