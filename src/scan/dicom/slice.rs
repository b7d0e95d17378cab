//! One slice of a DICOM series: what its header says and its pixels.

use std::path::{Path, PathBuf};

use anyhow::{Result, anyhow, ensure};
use dicom_core::Tag;
use dicom_dictionary_std::tags;
use dicom_object::{DefaultDicomObject, OpenFileOptions};
use dicom_pixeldata::PixelDecoder;

use super::lengths;

/// Rows and columns of a slice; a compressed one may claim any number, and the decoder would make room for them.
const LARGEST: usize = 8192;

/// The header of a slice of a CT.
#[derive(Clone, Debug)]
pub struct Slice {
    /// The file.
    pub path: PathBuf,
    /// SeriesInstanceUID.
    pub series: String,
    /// SeriesDescription and SeriesNumber, for people.
    pub title: String,
    /// SOPInstanceUID: copies of a slice have the same.
    pub instance: String,
    /// Rows and columns.
    pub size: [usize; 2],
    /// Where the first pixel lies, in mm, LPS.
    pub position: [f64; 3],
    /// The directions of a row (along which columns count) and of a column, in LPS.
    pub directions: [[f64; 3]; 2],
    /// Distance of neighbouring columns and of neighbouring rows in mm.
    pub spacing: [f64; 2],
    /// Whether pixels become Hounsfield units by RescaleSlope and RescaleIntercept.
    pub rescaled: bool,
}

/// The index of a disc, which is a DICOM file and no picture.
const INDEX: &str = "DICOMDIR";

/// Whether a file begins like a DICOM file that may hold a picture.
pub fn is_dicom(path: &Path) -> bool {
    let index = path.file_name().is_some_and(|name| name.eq_ignore_ascii_case(INDEX));
    !index && begins(path).is_some_and(|start| start.ends_with(b"DICM"))
}

/// Whether a file begins like a DICOM data set that lacks the preamble and the header before it (Part 10): with an
/// element of the first group.
pub fn is_bare(path: &Path) -> bool {
    let start = begins(path).filter(|start| !start.ends_with(b"DICM"));
    // Group 0008, a low element, little endian; then a length or two letters for the kind.
    start.is_some_and(|start| start[..2] == [8, 0] && start[3] == 0 && start[2] <= 0x90)
}

fn begins(path: &Path) -> Option<[u8; 132]> {
    use std::io::Read;
    let mut start = [0; 132];
    std::fs::File::open(path).and_then(|mut file| file.read_exact(&mut start)).ok()?;
    Some(start)
}

impl Slice {
    /// Reads the header; the error says why the file is no slice of a CT.
    pub fn read(path: &Path) -> Result<Slice, String> {
        lengths::check(path).map_err(|error| damaged(error.as_ref()))?;
        let object = OpenFileOptions::new().read_until(tags::PIXEL_DATA).open_file(path);
        let object = object.map_err(|error| damaged(&error))?;
        let text = |tag: Tag| -> Option<String> {
            let text = object.element_opt(tag).ok()??.to_str().ok()?;
            Some(text.trim_end_matches('\0').trim().to_owned())
        };
        match text(tags::MODALITY).as_deref() {
            Some("CT") => {}
            Some(other) => return Err(format!("its modality is {other}, not CT")),
            None => return Err("Modality is missing".to_owned()),
        }
        let frames = text(tags::NUMBER_OF_FRAMES).and_then(|count| count.parse().ok()).unwrap_or(1);
        if frames != 1 {
            return Err(format!(
                "it holds {frames} frames in one file (enhanced CT); convert it to .nii.gz first"
            ));
        }
        let numbers = |tag: Tag, name: &str| -> Result<Vec<f64>, String> {
            let element =
                object.element_opt(tag).ok().flatten().ok_or_else(|| format!("{name} is missing"))?;
            let numbers = element.to_multi_float64().map_err(|_| format!("{name} is damaged"))?;
            let finite = numbers.iter().all(|number| number.is_finite());
            if finite { Ok(numbers) } else { Err(format!("{name} is damaged")) }
        };
        let position = numbers(tags::IMAGE_POSITION_PATIENT, "ImagePositionPatient")?;
        let directions = numbers(tags::IMAGE_ORIENTATION_PATIENT, "ImageOrientationPatient")?;
        let spacing = numbers(tags::PIXEL_SPACING, "PixelSpacing")?;
        let whole = |tag: Tag| object.element(tag).ok().and_then(|element| element.to_int::<usize>().ok());
        let (Some(rows), Some(columns)) = (whole(tags::ROWS), whole(tags::COLUMNS)) else {
            return Err("Rows or Columns are missing".to_owned());
        };
        if rows.max(columns) > LARGEST {
            return Err(format!(
                "it claims {columns} x {rows} pixels, and no CT has more than {LARGEST} x {LARGEST}; export it again"
            ));
        }
        let bits = |tag| whole(tag).unwrap_or(0);
        let (allocated, stored) = (bits(tags::BITS_ALLOCATED), bits(tags::BITS_STORED));
        if ![8, 16].contains(&allocated) || !(1..=allocated).contains(&stored) {
            return Err(format!(
                "it has pixels of {stored} bits in {allocated}, and only 8 or 16, all or some of them used, can be read; \
                 convert the series to .nii.gz"
            ));
        }
        let usable = position.len() == 3
            && directions.len() == 6
            && spacing.len() == 2
            && spacing.iter().all(|&part| part > 0.0)
            && rows * columns > 0;
        if !usable {
            return Err("it says its place in the patient in a wrong way; export the series again".to_owned());
        }
        let description = text(tags::SERIES_DESCRIPTION).unwrap_or_default();
        let number = text(tags::SERIES_NUMBER).unwrap_or_default();
        Ok(Slice {
            path: path.to_owned(),
            series: text(tags::SERIES_INSTANCE_UID).unwrap_or_default(),
            title: format!("{number} '{description}'").trim_start().to_owned(),
            instance: text(tags::SOP_INSTANCE_UID).unwrap_or_default(),
            size: [rows, columns],
            position: [position[0], position[1], position[2]],
            directions: [
                unit([directions[0], directions[1], directions[2]]),
                unit([directions[3], directions[4], directions[5]]),
            ],
            // DICOM names the distance of rows first.
            spacing: [spacing[1], spacing[0]],
            rescaled: text(tags::RESCALE_SLOPE).is_some(),
        })
    }

    /// The file's name, for people.
    pub fn name(&self) -> String {
        self.path.file_name().unwrap_or_default().to_string_lossy().into_owned()
    }

    /// The pixels in Hounsfield units, row by row.
    pub fn pixels(&self) -> Result<Vec<f32>> {
        let object = dicom_object::open_file(&self.path)
            .map_err(|error| anyhow!("{}: {}", self.path.display(), damaged(&error)))?;
        let decoded = object.decode_pixel_data().map_err(|error| undecodable(&self.path, &object, &error))?;
        let pixels = decoded.to_vec::<f32>().map_err(|error| undecodable(&self.path, &object, &error))?;
        ensure!(
            pixels.len() == self.size[0] * self.size[1],
            "{} holds {} pixels instead of {} x {}; export the series again",
            self.path.display(),
            pixels.len(),
            self.size[1],
            self.size[0]
        );
        Ok(pixels)
    }

    /// The direction in which slices are stacked.
    pub fn normal(&self) -> [f64; 3] {
        let [a, b] = self.directions;
        unit([a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]])
    }
}

fn unit(vector: [f64; 3]) -> [f64; 3] {
    let length = vector.iter().map(|part| part * part).sum::<f64>().sqrt();
    vector.map(|part| part / length.max(1e-12))
}

/// The last cause of a chain: the libraries wrap what happened in where it happened.
fn cause(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(next) = cause.source() {
        cause = next;
    }
    cause.to_string()
}

fn damaged(error: &dyn std::error::Error) -> String {
    format!("it is a damaged DICOM file ({}); export it again", cause(error))
}

fn undecodable(path: &Path, object: &DefaultDicomObject, error: &dyn std::error::Error) -> anyhow::Error {
    let syntax = object.meta().transfer_syntax().trim_end_matches('\0');
    anyhow!(
        "the pixels of {} cannot be decoded (transfer syntax {syntax}: {}); convert the series to uncompressed DICOM \
         or .nii.gz",
        path.display(),
        cause(error)
    )
}

/// The headers of all slices of a CT among `paths`, and why each other file is none.
pub fn headers(paths: &[PathBuf]) -> (Vec<Slice>, Vec<(PathBuf, String)>) {
    use rayon::prelude::*;
    let read: Vec<Result<Slice, String>> = paths.par_iter().map(|path| Slice::read(path)).collect();
    let (mut slices, mut others) = (Vec::new(), Vec::new());
    for (path, outcome) in paths.iter().zip(read) {
        match outcome {
            Ok(slice) => slices.push(slice),
            Err(reason) => others.push((path.clone(), reason)),
        }
    }
    (slices, others)
}
