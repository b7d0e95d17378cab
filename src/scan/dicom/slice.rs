//! One slice of a DICOM series, a file or a frame of one: what its header says and its pixels.

use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::{Result, anyhow, ensure};
use dicom_core::Tag;
use dicom_dictionary_std::tags;
use dicom_object::{DefaultDicomObject, InMemDicomObject, OpenFileOptions};
use dicom_pixeldata::{ConvertOptions, ModalityLutOption, PixelDecoder};

use super::{bare, lengths};

/// Rows and columns of a slice; a compressed one may claim any number, and the decoder would make room for them.
const LARGEST: usize = 8192;

/// The header of a slice of a CT.
#[derive(Clone, Debug)]
pub(crate) struct Slice {
    /// The file.
    pub path: PathBuf,
    /// StudyInstanceUID.
    pub study: String,
    /// SeriesInstanceUID.
    pub series: String,
    /// SeriesDescription and SeriesNumber, for people.
    pub title: String,
    /// SOPClassUID.
    pub class: String,
    /// SOPInstanceUID: copies of a slice have the same, and so have the frames of a file.
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
    /// The transfer syntax of a file that lacks the header of a DICOM file.
    pub bare: Option<&'static str>,
    /// Which frame of the file, of an enhanced CT.
    pub frame: Option<u32>,
    /// Slope and intercept of such a frame.
    pub rescale: Option<[f64; 2]>,
}

/// Where a slice lies.
struct Place {
    position: [f64; 3],
    directions: [[f64; 3]; 2],
    spacing: [f64; 2],
}

impl Place {
    /// From the numbers of a tag, which in an enhanced CT stands in the named sequence; the error says what is missing.
    fn of(numbers: impl Fn(Tag, Tag) -> Option<Vec<f64>>) -> Result<Place, String> {
        let wanted = |tag: Tag, sequence: Tag, name: &str| -> Result<Vec<f64>, String> {
            let numbers = numbers(tag, sequence).ok_or_else(|| format!("{name} is missing"))?;
            let finite = numbers.iter().all(|number| number.is_finite());
            if finite { Ok(numbers) } else { Err(format!("{name} is damaged")) }
        };
        let position =
            wanted(tags::IMAGE_POSITION_PATIENT, tags::PLANE_POSITION_SEQUENCE, "ImagePositionPatient")?;
        let directions = wanted(
            tags::IMAGE_ORIENTATION_PATIENT,
            tags::PLANE_ORIENTATION_SEQUENCE,
            "ImageOrientationPatient",
        )?;
        let spacing = wanted(tags::PIXEL_SPACING, tags::PIXEL_MEASURES_SEQUENCE, "PixelSpacing")?;
        match (&position[..], &directions[..], &spacing[..]) {
            (&[x, y, z], &[a, b, c, d, e, f], &[between_rows, between_columns])
                if between_rows > 0.0 && between_columns > 0.0 =>
            {
                Ok(Place {
                    position: [x, y, z],
                    directions: [unit([a, b, c]), unit([d, e, f])],
                    // DICOM names the distance of rows first.
                    spacing: [between_columns, between_rows],
                })
            }
            _ => Err("it says its place in the patient in a wrong way; export the series again".to_owned()),
        }
    }
}

/// What an enhanced CT says of its frames.
struct Groups<'a> {
    shared: Option<&'a InMemDicomObject>,
    frames: &'a [InMemDicomObject],
}

impl<'a> Groups<'a> {
    fn of(object: &'a InMemDicomObject) -> Result<Groups<'a>, String> {
        let items = |tag: Tag| object.element_opt(tag).ok().flatten().and_then(|element| element.items());
        let frames = items(tags::PER_FRAME_FUNCTIONAL_GROUPS_SEQUENCE)
            .ok_or_else(|| "PerFrameFunctionalGroupsSequence is damaged".to_owned())?;
        let shared = items(tags::SHARED_FUNCTIONAL_GROUPS_SEQUENCE).and_then(|items| items.first());
        Ok(Groups { shared, frames })
    }

    /// Numbers of a frame: its own, or those of all.
    fn numbers(&self, frame: usize, sequence: Tag, tag: Tag) -> Option<Vec<f64>> {
        let within = |group: &InMemDicomObject| {
            let item = group.element_opt(sequence).ok()??.items()?.first()?;
            numbers(item, tag)
        };
        self.frames.get(frame).and_then(within).or_else(|| self.shared.and_then(within))
    }
}

fn text(object: &InMemDicomObject, tag: Tag) -> Option<String> {
    let text = object.element_opt(tag).ok()??.to_str().ok()?;
    Some(text.trim_end_matches('\0').trim().to_owned())
}

fn numbers(object: &InMemDicomObject, tag: Tag) -> Option<Vec<f64>> {
    object.element_opt(tag).ok()??.to_multi_float64().ok()
}

fn open(path: &Path, bare: Option<&str>) -> Result<DefaultDicomObject> {
    opened(path, bare, OpenFileOptions::new()).map_err(|reason| anyhow!("{}: {reason}", path.display()))
}

/// Reads a file; one that is bare is given the header that it lacks.
fn opened(path: &Path, bare: Option<&str>, options: OpenFileOptions) -> Result<DefaultDicomObject, String> {
    let Some(syntax) = bare else {
        return options.open_file(path).map_err(|error| damaged(&error));
    };
    let file = std::fs::File::open(path).map_err(|error| error.to_string())?;
    let header = bare::header(syntax).map_err(|error| error.to_string())?;
    options.from_reader(header.chain(file)).map_err(|error| damaged(&error))
}

/// The index of a disc, which is a DICOM file and no picture.
const INDEX: &str = "DICOMDIR";

/// Whether a file begins like a DICOM file that may hold a picture, with the header of a file or without.
pub fn is_dicom(path: &Path) -> bool {
    let index = path.file_name().is_some_and(|name| name.eq_ignore_ascii_case(INDEX));
    !index && bare::begins(path).is_some_and(|start| start.ends_with(b"DICM") || bare::of(&start).is_some())
}

/// Frames of one file at most, and their pixels together: a thorax of thin slices with room.
const MOST_FRAMES: usize = 4096;
const MOST_PIXELS: usize = 1 << 30;

impl Slice {
    /// Reads the slices of a file: one, or the frames of an enhanced CT. The error says why it holds no slice of a CT.
    pub fn read(path: &Path) -> Result<Vec<Slice>, String> {
        let bare = bare::syntax(path);
        lengths::check(path, bare).map_err(|error| damaged(error.as_ref()))?;
        let object = opened(path, bare, OpenFileOptions::new().read_until(tags::PIXEL_DATA))?;
        match text(&object, tags::MODALITY).as_deref() {
            Some("CT") => {}
            Some(other) => return Err(format!("its modality is {other}, not CT")),
            None => return Err("Modality is missing".to_owned()),
        }
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
        let frames =
            text(&object, tags::NUMBER_OF_FRAMES).and_then(|count| count.parse().ok()).unwrap_or(1usize);
        let enhanced =
            object.element_opt(tags::PER_FRAME_FUNCTIONAL_GROUPS_SEQUENCE).ok().flatten().is_some();
        if frames > 1 && !enhanced {
            return Err(format!("it holds {frames} frames without a place for each"));
        }
        if frames > MOST_FRAMES || frames * rows * columns > MOST_PIXELS {
            return Err(format!(
                "it claims {frames} frames of {columns} x {rows} pixels, more than any CT has"
            ));
        }
        let description = text(&object, tags::SERIES_DESCRIPTION).unwrap_or_default();
        let number = text(&object, tags::SERIES_NUMBER).unwrap_or_default();
        let class = text(&object, tags::SOP_CLASS_UID).unwrap_or_default();
        let instance = text(&object, tags::SOP_INSTANCE_UID).unwrap_or_default();
        let slice = |place: Place, frame: Option<u32>, rescale: Option<[f64; 2]>, rescaled: bool| Slice {
            path: path.to_owned(),
            study: text(&object, tags::STUDY_INSTANCE_UID).unwrap_or_default(),
            series: text(&object, tags::SERIES_INSTANCE_UID).unwrap_or_default(),
            title: format!("{number} '{description}'").trim_start().to_owned(),
            class: class.clone(),
            instance: instance.clone(),
            size: [rows, columns],
            position: place.position,
            directions: place.directions,
            spacing: place.spacing,
            rescaled,
            bare,
            frame,
            rescale,
        };
        if rows * columns == 0 {
            return Err("it has no pixels".to_owned());
        }
        if enhanced {
            let groups = Groups::of(&object)?;
            return (0..frames)
                .map(|frame| {
                    let place = Place::of(|tag, sequence| groups.numbers(frame, sequence, tag))?;
                    let number = |tag| groups.numbers(frame, tags::PIXEL_VALUE_TRANSFORMATION_SEQUENCE, tag);
                    let rescale = number(tags::RESCALE_SLOPE)
                        .zip(number(tags::RESCALE_INTERCEPT))
                        .and_then(|(slope, intercept)| Some([*slope.first()?, *intercept.first()?]));
                    Ok(slice(place, Some(frame as u32), rescale, rescale.is_some()))
                })
                .collect();
        }
        let place = Place::of(|tag, _| numbers(&object, tag))?;
        let rescaled = text(&object, tags::RESCALE_SLOPE).is_some();
        Ok(vec![slice(place, None, None, rescaled)])
    }

    /// Everything in the slice's file but its pixels.
    pub fn header(&self) -> Result<InMemDicomObject> {
        let options = OpenFileOptions::new().read_until(tags::PIXEL_DATA);
        let object = opened(&self.path, self.bare, options)
            .map_err(|reason| anyhow!("{}: {reason}", self.path.display()))?;
        Ok(object.into_inner())
    }

    /// The file's name, for people.
    pub fn name(&self) -> String {
        self.path.file_name().unwrap_or_default().to_string_lossy().into_owned()
    }

    /// The pixels in Hounsfield units, row by row, of a slice that has a file of its own.
    pub fn pixels(&self) -> Result<Vec<f32>> {
        let object = open(&self.path, self.bare)?;
        let decoded = object.decode_pixel_data().map_err(|error| undecodable(&self.path, &object, &error))?;
        let pixels = decoded.to_vec::<f32>().map_err(|error| undecodable(&self.path, &object, &error))?;
        self.check(&pixels)?;
        Ok(pixels)
    }

    /// The pixels of several frames of one file, which is decoded once.
    pub fn frames(slices: &[&Slice]) -> Result<Vec<Vec<f32>>> {
        let Some(first) = slices.first() else { return Ok(Vec::new()) };
        let object = open(&first.path, first.bare)?;
        let decoded =
            object.decode_pixel_data().map_err(|error| undecodable(&first.path, &object, &error))?;
        let plain = ConvertOptions::new().with_modality_lut(ModalityLutOption::None);
        let pixels = |slice: &&Slice| -> Result<Vec<f32>> {
            let frame = slice.frame.unwrap_or(0);
            let stored = decoded.to_vec_frame_with_options::<f32>(frame, &plain);
            let mut pixels = stored.map_err(|error| undecodable(&slice.path, &object, &error))?;
            slice.check(&pixels)?;
            if let Some([slope, intercept]) = slice.rescale {
                pixels.iter_mut().for_each(|pixel| *pixel = (f64::from(*pixel) * slope + intercept) as f32);
            }
            Ok(pixels)
        };
        slices.iter().map(pixels).collect()
    }

    fn check(&self, pixels: &[f32]) -> Result<()> {
        ensure!(
            pixels.len() == self.size[0] * self.size[1],
            "{} holds {} pixels instead of {} x {}; export the series again",
            self.path.display(),
            pixels.len(),
            self.size[1],
            self.size[0]
        );
        Ok(())
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
pub(crate) fn headers(paths: &[PathBuf]) -> (Vec<Slice>, Vec<(PathBuf, String)>) {
    use rayon::prelude::*;
    let read: Vec<Result<Vec<Slice>, String>> = paths.par_iter().map(|path| Slice::read(path)).collect();
    let (mut slices, mut others) = (Vec::new(), Vec::new());
    for (path, outcome) in paths.iter().zip(read) {
        match outcome {
            Ok(read) => slices.extend(read),
            Err(reason) => others.push((path.clone(), reason)),
        }
    }
    (slices, others)
}
