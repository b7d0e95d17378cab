//! What `predict` writes for a scan.

use std::path::{Path, PathBuf};

use anyhow::Result;
use clap::ValueEnum;

use vertebrae::analysis::Analysis;
use vertebrae::annotation::Centroid;
use vertebrae::annotation::landmark::{Format, Landmark};
use vertebrae::decoding::Vertebra;
use vertebrae::decoding::labels::labels;
use vertebrae::report;
use vertebrae::scan::{Frame, nifti};

/// What can be written for a scan.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// NAME.vertebrae.json: everything
    Json,
    /// NAME.mrk.json: 3D Slicer's markups
    Markups,
    /// NAME.csv: 3D Slicer's table
    Csv,
    /// NAME_ctd.json: VerSe's centroids
    Verse,
    /// NAME.lml: an annotation to correct and train on
    Lml,
    /// NAME_seg.nii.gz: balls of the bodies' size with VerSe's numbers, in the scan's own grid
    Mask,
    /// NAME.png: the spine from the side and from the front, with its names
    Preview,
}

/// Hounsfield units shown black and white in previews: organs dark, bone bright, one scan like the next.
const WINDOW: [f64; 2] = [-200.0, 800.0];

/// A scan with what was found in it, ready to be written.
pub struct Analysed<'a> {
    pub path: &'a Path,
    pub name: &'a str,
    pub frame: &'a Frame,
    pub analysis: &'a Analysis,
    /// Whether its values are Hounsfield units, as far as that can be told.
    pub hounsfield: bool,
    pub landmarks: &'a [Landmark],
    /// Voxels of the analysed volume in mm.
    pub spacing: f64,
}

impl Output {
    /// The file for a scan of that name.
    pub fn path(self, folder: &Path, name: &str) -> PathBuf {
        folder.join(match self {
            Output::Json => format!("{name}.vertebrae.json"),
            Output::Markups => format!("{name}.mrk.json"),
            Output::Csv => format!("{name}.csv"),
            Output::Verse => format!("{name}_ctd.json"),
            Output::Lml => format!("{name}.lml"),
            Output::Mask => format!("{name}_seg.nii.gz"),
            Output::Preview => format!("{name}.png"),
        })
    }

    /// Writes the file and returns what is to be said of it. The document is not written here: it comes last and
    /// says that the others are complete.
    pub fn write(self, folder: &Path, result: &Analysed) -> Result<Option<String>> {
        let target = self.path(folder, result.name);
        let Analysed { path, frame, analysis, landmarks, spacing, .. } = *result;
        match self {
            Output::Json => {}
            Output::Preview => {
                let found: Vec<Centroid> =
                    analysis.found.iter().map(|found| found.vertebra.centroid()).collect();
                let window = result.hounsfield.then(|| WINDOW.map(|value| analysis.scale.of(value)));
                report::preview(&target, &analysis.volume, spacing, &found, window)?;
            }
            Output::Mask => {
                let found: Vec<Vertebra> =
                    analysis.found.iter().map(|found| found.vertebra.clone()).collect();
                nifti::write_labels(&target, &labels(&analysis.inside, &found, frame), path, &frame.stored)?;
            }
            Output::Markups | Output::Csv | Output::Verse | Output::Lml => {
                let left_out = Format::of(&target)?.write(&target, landmarks, Some(&frame.stored))?;
                if !left_out.is_empty() {
                    let names: Vec<&str> = left_out.iter().map(|level| level.name()).collect();
                    return Ok(Some(format!("{} has no number in {}", names.join(", "), target.display())));
                }
            }
        }
        Ok(None)
    }
}
