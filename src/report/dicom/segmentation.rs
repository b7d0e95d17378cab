//! The bodies as a DICOM segmentation (PS3.3 A.51): a segment a vertebra, a frame for each slice that a body reaches.

use std::path::Path;

use anyhow::{Result, ensure};
use dicom_core::{DataElement, PrimitiveValue, Tag, VR};
use dicom_dictionary_std::{tags, uids};
use dicom_object::InMemDicomObject;
use dicom_object::mem::InMemElement;
use ndarray::{Array3, Axis};

use super::codes::{Code, dcm, sct, vertebra};
use super::elements::{coded, decimals, group, sequence, short, text};
use super::header::{self, Kind, MODEL, Moment, Origin, VERSION, reference};
use crate::anatomy::Level;
use crate::artifact;
use crate::report::colours::colour;
use crate::scan::{Geometry, cross};

const KIND: Kind = Kind {
    class: uids::SEGMENTATION_STORAGE,
    modality: "SEG",
    series: 7000,
    description: "Vertebral bodies",
};
const ANATOMY: Code = sct("91723000", "Anatomical Structure");
const SEGMENTED: Code = dcm("113076", "Segmentation");
const SOURCE: Code = dcm("121322", "Source image for image processing operation");
const NETWORK: Code = dcm("123110", "Artificial Intelligence");

/// A frame: a segment, counted from 1, in a plane of the grid.
struct Frame {
    segment: usize,
    plane: usize,
}

/// Writes which voxels of the stored grid `[column, row, slice]` lie in which of `levels`, counted from 1 in `bodies`; a vertebra
/// without voxels has no segment. Says whether there was anything to write.
pub fn segmentation(
    path: &Path,
    origin: &Origin,
    geometry: &Geometry,
    bodies: &Array3<u8>,
    levels: &[Level],
    now: &Moment,
) -> Result<bool> {
    let (columns, rows, planes) = bodies.dim();
    ensure!(
        geometry.shape == [columns, rows, planes] && origin.source.planes.len() == planes,
        "{columns} x {rows} x {planes} voxels are no volume of the series {}",
        origin.series()
    );
    let inside = shown(bodies, levels.len());
    // Segments are counted without gaps.
    let segments: Vec<usize> =
        (0..levels.len()).filter(|&body| inside[body].iter().any(|&any| any)).collect();
    let mut frames = Vec::new();
    for (segment, &body) in segments.iter().enumerate() {
        let planes = (0..planes).filter(|&plane| inside[body][plane]);
        frames.extend(planes.map(|plane| Frame { segment: segment + 1, plane }));
    }
    if frames.is_empty() {
        return Ok(false);
    }
    let bits = packed(bodies, &frames, &segments);
    let content = format!("{} {VERSION} {levels:?} {}", origin.series(), artifact::sha256_of(&bits));
    let mut object = header::header(origin, &KIND, &content, now);
    let organisation = header::uid(&["dimensions", &content]);
    let lossy = origin.header.get(tags::LOSSY_IMAGE_COMPRESSION).and_then(|element| element.to_str().ok());
    let lossy = if lossy.is_some_and(|lossy| lossy.trim() == "01") { "01" } else { "00" };
    for element in [
        text(tags::FRAME_OF_REFERENCE_UID, VR::UI, header::frame_of_reference(origin)),
        text(tags::POSITION_REFERENCE_INDICATOR, VR::LO, ""),
        text(tags::IMAGE_TYPE, VR::CS, "DERIVED\\PRIMARY"),
        text(tags::CONTENT_LABEL, VR::CS, "VERTEBRAE"),
        text(tags::CONTENT_DESCRIPTION, VR::LO, "Vertebral bodies, named; research use"),
        text(tags::CONTENT_CREATOR_NAME, VR::PN, "Vertebrae^Predict"),
        short(tags::SAMPLES_PER_PIXEL, 1),
        text(tags::PHOTOMETRIC_INTERPRETATION, VR::CS, "MONOCHROME2"),
        text(tags::NUMBER_OF_FRAMES, VR::IS, frames.len().to_string()),
        short(tags::ROWS, rows as u16),
        short(tags::COLUMNS, columns as u16),
        short(tags::BITS_ALLOCATED, 1),
        short(tags::BITS_STORED, 1),
        short(tags::HIGH_BIT, 0),
        short(tags::PIXEL_REPRESENTATION, 0),
        text(tags::LOSSY_IMAGE_COMPRESSION, VR::CS, lossy),
        text(tags::SEGMENTATION_TYPE, VR::CS, "BINARY"),
        sequence(
            tags::SEGMENT_SEQUENCE,
            segments
                .iter()
                .enumerate()
                .map(|(index, &body)| segment(index + 1, levels[body], origin))
                .collect(),
        ),
        group(
            tags::REFERENCED_SERIES_SEQUENCE,
            [
                text(tags::SERIES_INSTANCE_UID, VR::UI, origin.series()),
                sequence(tags::REFERENCED_INSTANCE_SEQUENCE, origin.references()),
            ],
        ),
        group(
            tags::DIMENSION_ORGANIZATION_SEQUENCE,
            [text(tags::DIMENSION_ORGANIZATION_UID, VR::UI, organisation.as_str())],
        ),
        sequence(
            tags::DIMENSION_INDEX_SEQUENCE,
            vec![
                dimension(
                    &organisation,
                    tags::REFERENCED_SEGMENT_NUMBER,
                    tags::SEGMENT_IDENTIFICATION_SEQUENCE,
                    "Segment",
                ),
                dimension(
                    &organisation,
                    tags::IMAGE_POSITION_PATIENT,
                    tags::PLANE_POSITION_SEQUENCE,
                    "Plane",
                ),
            ],
        ),
        group(tags::SHARED_FUNCTIONAL_GROUPS_SEQUENCE, shared(geometry)),
        sequence(
            tags::PER_FRAME_FUNCTIONAL_GROUPS_SEQUENCE,
            frames
                .iter()
                .map(|frame| InMemDicomObject::from_element_iter(own(frame, origin, geometry)))
                .collect(),
        ),
        DataElement::new(tags::PIXEL_DATA, VR::OB, PrimitiveValue::U8(bits.into())),
    ] {
        object.put(element);
    }
    header::save(path, object)?;
    Ok(true)
}

/// Whether each body has voxels in each plane.
fn shown(bodies: &Array3<u8>, count: usize) -> Vec<Vec<bool>> {
    let mut shown = vec![vec![false; bodies.len_of(Axis(2))]; count];
    for (plane, voxels) in bodies.axis_iter(Axis(2)).enumerate() {
        for &body in voxels {
            if let Some(planes) = usize::from(body).checked_sub(1).and_then(|body| shown.get_mut(body)) {
                planes[plane] = true;
            }
        }
    }
    shown
}

/// The frames' pixels, row by row, eight to a byte from the lowest bit on, without a gap between frames, to an even number of bytes.
fn packed(bodies: &Array3<u8>, frames: &[Frame], segments: &[usize]) -> Vec<u8> {
    let (columns, rows, _) = bodies.dim();
    let mut bits = vec![0u8; (frames.len() * rows * columns).div_ceil(8).next_multiple_of(2)];
    let mut at = 0;
    for frame in frames {
        let body = segments[frame.segment - 1] + 1;
        let plane = bodies.index_axis(Axis(2), frame.plane);
        for row in 0..rows {
            for column in 0..columns {
                bits[at / 8] |= u8::from(usize::from(plane[[column, row]]) == body) << (at % 8);
                at += 1;
            }
        }
    }
    bits
}

fn segment(number: usize, level: Level, origin: &Origin) -> InMemDicomObject {
    let [lightness, a, b] = lab(colour(level));
    let tracking = header::uid(&["segment", origin.series(), level.name()]);
    InMemDicomObject::from_element_iter([
        short(tags::SEGMENT_NUMBER, number as u16),
        text(tags::SEGMENT_LABEL, VR::LO, level.name()),
        text(tags::SEGMENT_DESCRIPTION, VR::ST, format!("Body of {}", level.name())),
        text(tags::SEGMENT_ALGORITHM_TYPE, VR::CS, "AUTOMATIC"),
        text(tags::SEGMENT_ALGORITHM_NAME, VR::LO, MODEL),
        coded(tags::SEGMENTED_PROPERTY_CATEGORY_CODE_SEQUENCE, &ANATOMY),
        coded(tags::SEGMENTED_PROPERTY_TYPE_CODE_SEQUENCE, &vertebra(level)),
        group(
            tags::SEGMENTATION_ALGORITHM_IDENTIFICATION_SEQUENCE,
            [
                coded(tags::ALGORITHM_FAMILY_CODE_SEQUENCE, &NETWORK),
                text(tags::ALGORITHM_NAME, VR::LO, MODEL),
                text(tags::ALGORITHM_VERSION, VR::LO, VERSION),
            ],
        ),
        text(tags::TRACKING_ID, VR::UT, level.name()),
        text(tags::TRACKING_UID, VR::UI, tracking),
        DataElement::new(
            tags::RECOMMENDED_DISPLAY_CIE_LAB_VALUE,
            VR::US,
            PrimitiveValue::U16([lightness, a, b].into_iter().collect()),
        ),
    ])
}

fn dimension(organisation: &str, pointer: Tag, functional_group: Tag, label: &str) -> InMemDicomObject {
    let tag = |of: Tag, value: Tag| DataElement::new(of, VR::AT, PrimitiveValue::from(value));
    InMemDicomObject::from_element_iter([
        text(tags::DIMENSION_ORGANIZATION_UID, VR::UI, organisation),
        tag(tags::DIMENSION_INDEX_POINTER, pointer),
        tag(tags::FUNCTIONAL_GROUP_POINTER, functional_group),
        text(tags::DIMENSION_DESCRIPTION_LABEL, VR::LO, label),
    ])
}

/// A direction or a place in the world of the grid (RAS) in that of DICOM (LPS).
fn lps([x, y, z]: [f64; 3]) -> [f64; 3] {
    [-x, -y, z]
}

/// How the planes lie: the same for all frames.
fn shared(geometry: &Geometry) -> [InMemElement; 2] {
    let directions = geometry.directions().unwrap_or([[0.0; 3]; 3]).map(lps);
    let [row, column, way] = directions;
    // Slices of a tilted gantry are nearer to each other than their first pixels.
    let normal = cross(row, column);
    let upright: f64 = normal.iter().zip(way).map(|(a, b)| a * b).sum();
    let between = geometry.spacing[2] * upright.abs();
    [
        group(
            tags::PLANE_ORIENTATION_SEQUENCE,
            [decimals(tags::IMAGE_ORIENTATION_PATIENT, &[row, column].concat())],
        ),
        group(
            tags::PIXEL_MEASURES_SEQUENCE,
            [
                decimals(tags::SLICE_THICKNESS, &[between]),
                decimals(tags::SPACING_BETWEEN_SLICES, &[between]),
                decimals(tags::PIXEL_SPACING, &[geometry.spacing[1], geometry.spacing[0]]),
            ],
        ),
    ]
}

/// What is a frame's own: its place, its segment, the slice that it was made of.
fn own(frame: &Frame, origin: &Origin, geometry: &Geometry) -> Vec<InMemElement> {
    let place = lps(geometry.world([0.0, 0.0, frame.plane as f64]));
    let index = PrimitiveValue::U32([frame.segment as u32, frame.plane as u32 + 1].into_iter().collect());
    let derived = origin.source.planes[frame.plane].as_ref().map(|plane| {
        let frame = plane.frame.map(|frame| text(tags::REFERENCED_FRAME_NUMBER, VR::IS, frame.to_string()));
        let purpose = [
            coded(tags::PURPOSE_OF_REFERENCE_CODE_SEQUENCE, &SOURCE),
            text(tags::SPATIAL_LOCATIONS_PRESERVED, VR::CS, "YES"),
        ];
        let image = reference(&plane.class, &plane.instance).into_iter().chain(frame).chain(purpose);
        group(
            tags::DERIVATION_IMAGE_SEQUENCE,
            [group(tags::SOURCE_IMAGE_SEQUENCE, image), coded(tags::DERIVATION_CODE_SEQUENCE, &SEGMENTED)],
        )
    });
    let mut elements = vec![
        group(tags::FRAME_CONTENT_SEQUENCE, [DataElement::new(tags::DIMENSION_INDEX_VALUES, VR::UL, index)]),
        group(tags::PLANE_POSITION_SEQUENCE, [decimals(tags::IMAGE_POSITION_PATIENT, &place)]),
        group(
            tags::SEGMENT_IDENTIFICATION_SEQUENCE,
            [short(tags::REFERENCED_SEGMENT_NUMBER, frame.segment as u16)],
        ),
    ];
    elements.extend(derived);
    elements
}

/// A colour of a screen (sRGB) in CIE Lab under D65's white taken for D50's, as 16 bits (PS3.3 C.10.7.1.1).
fn lab(colour: [u8; 3]) -> [u16; 3] {
    let linear = colour.map(|part| {
        let part = f64::from(part) / 255.0;
        if part <= 0.04045 { part / 12.92 } else { ((part + 0.055) / 1.055).powf(2.4) }
    });
    let row =
        |weights: [f64; 3]| -> f64 { weights.iter().zip(linear).map(|(weight, part)| weight * part).sum() };
    let xyz = [
        row([0.4124564, 0.3575761, 0.1804375]) / 0.95047,
        row([0.2126729, 0.7151522, 0.0721750]),
        row([0.0193339, 0.1191920, 0.9503041]) / 1.08883,
    ];
    let [x, y, z] = xyz.map(|part| if part > 0.008856 { part.cbrt() } else { 7.787 * part + 16.0 / 116.0 });
    let scaled = |value: f64, low: f64, range: f64| {
        ((value - low) / range * 65535.0).round().clamp(0.0, 65535.0) as u16
    };
    [
        scaled(116.0 * y - 16.0, 0.0, 100.0),
        scaled(500.0 * (x - y), -128.0, 255.0),
        scaled(200.0 * (y - z), -128.0, 255.0),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pixels_are_packed_from_the_lowest_bit_on_without_a_gap_between_frames() {
        // Three columns, one row, two planes: body 2 in the first plane's middle, body 1 in both of the second's ends.
        let mut bodies = Array3::zeros((3, 1, 2));
        bodies[[1, 0, 0]] = 2;
        bodies[[0, 0, 1]] = 1;
        bodies[[2, 0, 1]] = 1;
        assert_eq!(shown(&bodies, 3), [[false, true], [true, false], [false, false]]);
        let frames = [Frame { segment: 1, plane: 1 }, Frame { segment: 2, plane: 0 }];
        assert_eq!(packed(&bodies, &frames, &[0, 1]), [0b010_101, 0]);
    }

    #[test]
    fn white_black_and_grey_have_their_lightness_and_no_colour() {
        assert_eq!(lab([0; 3])[0], 0);
        let [lightness, a, b] = lab([255; 3]);
        assert_eq!(lightness, 65535);
        // The middle of -128 to 127.
        let middle = (128.0f64 / 255.0 * 65535.0) as u16;
        assert!(a.abs_diff(middle) < 40 && b.abs_diff(middle) < 40, "{a} {b}");
        assert!((f64::from(lab([119; 3])[0]) / 655.35 - 50.0).abs() < 0.5);
    }
}
