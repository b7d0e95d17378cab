//! What `predict` writes for a scan.

use std::path::{Path, PathBuf};

use anyhow::Result;
use clap::ValueEnum;

use crate::anatomy::Level;
use crate::annotation::landmark::{Format, Landmark};
use crate::measurement::{Measured, Measurements, bodies, labels};
use crate::pipeline::{Located, Prediction};
use crate::report::dicom::{self, Moment, Origin};
use crate::report::prediction::Document;
use crate::report::{self, colours, layout};
use crate::scan::{Scan, nifti};
use crate::spine::NAMES_SPACING;
use crate::straighten::Even;

/// What can be written for a scan.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// NAME.vertebrae.json: everything
    Json,
    /// NAME.mrk.json: 3D Slicer's markups
    Markups,
    /// NAME.csv: 3D Slicer's table
    Csv,
    /// NAME.fcsv: 3D Slicer's older list of points
    Fcsv,
    /// NAME_ctd.json: VerSe's centroids
    Verse,
    /// NAME.lml: an annotation to correct and train on
    Lml,
    /// NAME_seg.nii.gz: the bodies within their measured end plates and walls with VerSe's numbers, in the scan's own grid;
    /// NAME_seg.ctbl: their names and colours for 3D Slicer
    Mask,
    /// NAME_seg.dcm: the same as a DICOM segmentation, of a folder of DICOM slices
    DicomSeg,
    /// NAME_sr.dcm: names, places and measurements as a DICOM structured report (TID 1500), of a folder of DICOM slices
    DicomSr,
    /// NAME.png: the spine from the side and from the front, with its names
    Preview,
    /// NAME.html: a page with what was found, what needs a look, and the evidence
    Page,
    /// NAME_evidence.png: the straightened spine with ribs and sacrum, with names, how sure they are and
    /// what else they may be
    Evidence,
}

/// Hounsfield units shown black and white in previews: organs dark, bone bright, one scan like the next.
const WINDOW: [f32; 2] = [-200.0, 800.0];

/// What is written of a scan.
pub struct Results<'a> {
    /// Where the scan was read from.
    pub path: &'a Path,
    /// The scan.
    pub scan: &'a Scan,
    /// What was found.
    pub prediction: &'a Prediction,
    /// What was measured, where outlines or measurements are asked for.
    pub measurements: Option<&'a Measurements>,
    /// What DICOM files are made of, where such are asked for of a folder of slices.
    pub origin: Option<Origin<'a>>,
    /// When.
    pub now: Moment,
}

impl Output {
    /// The file for a scan whose results go to `stem`.
    pub fn path(self, folder: &Path, stem: &Path) -> PathBuf {
        let ending = match self {
            Output::Json => return layout::document(folder, stem),
            Output::Markups => ".mrk.json",
            Output::Csv => ".csv",
            Output::Fcsv => ".fcsv",
            Output::Verse => "_ctd.json",
            Output::Lml => ".lml",
            Output::Mask => "_seg.nii.gz",
            Output::DicomSeg => "_seg.dcm",
            Output::DicomSr => "_sr.dcm",
            Output::Preview => ".png",
            Output::Page => ".html",
            Output::Evidence => "_evidence.png",
        };
        layout::with_ending(folder, stem, ending)
    }

    /// Whether it is made of folders of DICOM slices only, and of those with vertebrae.
    pub fn is_dicom(self) -> bool {
        matches!(self, Output::DicomSeg | Output::DicomSr)
    }

    /// Whether it is made of the bodies' outlines.
    pub fn is_outlined(self) -> bool {
        matches!(self, Output::Mask | Output::DicomSeg)
    }

    /// Writes the file into `folder`, its name made of `stem`, and returns what is to be said of it. What is made of the document
    /// comes after it, in [`Output::write_of`].
    pub fn write(self, folder: &Path, stem: &Path, results: &Results) -> Result<Option<String>> {
        let target = self.path(folder, stem);
        let Results { path, scan, prediction, measurements, origin, now } = results;
        let (Scan { volume, frame, .. }, spine) = (scan, &prediction.spine);
        match self {
            Output::Json => {}
            Output::Preview => {
                let seen = spine.even.as_ref().map_or_else(|| Even::of(volume, NAMES_SPACING), Even::clone);
                // Values that are no Hounsfield units are shown in a window of their own.
                let window = prediction.intensities.is_none().then_some(WINDOW);
                report::preview(&target, &seen, &spine.vertebrae, bodies_of(*measurements), window)?;
            }
            Output::Evidence => report::evidence(&target, spine, bodies_of(*measurements))?,
            Output::Mask => {
                let found = spine.centroids();
                if let Some(measurements) = measurements {
                    let labels = labels(&found, measurements, frame);
                    nifti::write_labels(&target, &labels, path, &frame.stored)?;
                    let levels: Vec<Level> = found.iter().map(|found| found.level).collect();
                    colours::write(&layout::with_ending(folder, stem, "_seg.ctbl"), &levels)?;
                }
            }
            Output::DicomSeg | Output::DicomSr if origin.is_none() => {
                return Ok(Some(format!(
                    "{} is not written: {} is no folder of DICOM slices",
                    target.display(),
                    path.display()
                )));
            }
            Output::DicomSeg => {
                let found = spine.centroids();
                if let (Some(origin), Some(measurements)) = (origin, measurements) {
                    let levels: Vec<Level> = found.iter().map(|found| found.level).collect();
                    let bodies = bodies(&found, measurements, frame);
                    dicom::segmentation(&target, origin, &frame.stored, &bodies, &levels, now)?;
                }
            }
            Output::DicomSr | Output::Page => {}
            Output::Markups | Output::Csv | Output::Fcsv | Output::Verse | Output::Lml => {
                let landmarks: Vec<Landmark> = prediction.vertebrae.iter().map(Located::landmark).collect();
                let left_out = Format::of(&target)?.write(&target, &landmarks, Some(&frame.stored))?;
                if !left_out.is_empty() {
                    let names: Vec<&str> = left_out.iter().map(|level| level.name()).collect();
                    return Ok(Some(format!("{} has no number in {}", names.join(", "), target.display())));
                }
            }
        }
        Ok(None)
    }

    /// Writes what is made of the document.
    pub fn write_of(self, document: &Document, folder: &Path, stem: &Path, results: &Results) -> Result<()> {
        let target = self.path(folder, stem);
        match (self, &results.origin) {
            (Output::DicomSr, Some(origin)) if !document.vertebrae.is_empty() => {
                dicom::structured(&target, origin, document, &results.now)
            }
            (Output::Page, _) => {
                let measured = bodies_of(results.measurements);
                report::scan_page(&target, document, &results.prediction.spine, measured)
            }
            _ => Ok(()),
        }
    }
}

/// What was measured of each vertebra, if anything was.
fn bodies_of(measurements: Option<&Measurements>) -> &[Measured] {
    measurements.map_or(&[], |measurements| &measurements.vertebrae)
}
