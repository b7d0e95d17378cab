//! The front door: a scan in, its named vertebrae out.

mod models;

use anyhow::Result;

use crate::anatomy::Level;
use crate::annotation::Centroid;
use crate::annotation::landmark::Landmark;
use crate::artifact::File;
use crate::decoding::sequence::Flag;
use crate::device::Device;
use crate::measurement::{self, Measurements};
use crate::progress::Observer;
use crate::scan::hounsfield::{self, Finding};
use crate::scan::{Frame, Scan};
use crate::spine::turned::Turned;
use crate::spine::{self, Reader, Shift, Spine};

pub use self::models::Models;

/// The networks that name the vertebrae of a scan, on a device.
pub struct Pipeline {
    reader: Reader,
    /// The files of its models, with their hashes.
    pub models: Vec<File>,
    /// What it computes on.
    pub device: Device,
}

/// What was found in a scan.
#[derive(Clone, Debug)]
pub struct Prediction {
    /// From the head down.
    pub vertebrae: Vec<Located>,
    /// How likely all names are off by one, if there are any.
    pub shift: Option<Shift>,
    /// Which way the picture reads better than as its header says.
    pub turned: Option<Turned>,
    /// What is wrong with the voxels' values, as far as that can be told.
    pub intensities: Option<Finding>,
    /// What a reader of the result should know, a sentence each: what had to be put right in the file, and what looks wrong.
    pub warnings: Vec<String>,
    /// What was read, in mm from the first voxel of the scan's volume: what pictures are drawn from.
    pub spine: Spine,
}

/// A vertebra in the patient.
#[derive(Clone, Debug, PartialEq)]
pub struct Located {
    /// Which one.
    pub level: Level,
    /// Centre of its body in mm to the patient's left, back and head (DICOM's LPS).
    pub lps: [f64; 3],
    /// The same as an index into the voxels as they are stored in the file; NaN where the file's header has an axis without a
    /// direction.
    pub voxel: [f64; 3],
    /// How likely the level is right, from 0 to 1.
    pub confidence: f64,
    /// Other levels it may have, the likeliest first.
    pub alternatives: Vec<(Level, f64)>,
    /// What to look at.
    pub flags: Vec<Flag>,
}

impl Located {
    fn of(found: &spine::Vertebra, frame: &Frame) -> Located {
        let centroid = Centroid { level: found.level, mm: frame.to_stored(found.mm) };
        let landmark = Landmark::of(&centroid, &frame.stored);
        Located {
            level: found.level,
            lps: landmark.lps,
            voxel: frame.stored.unworld(landmark.ras()).unwrap_or([f64::NAN; 3]),
            confidence: found.confidence,
            alternatives: found.alternatives.clone(),
            flags: found.flags.clone(),
        }
    }

    /// The vertebra as viewers and other tools exchange it, with its confidence as the remark.
    pub fn landmark(&self) -> Landmark {
        let description = format!("confidence {:.2}", self.confidence);
        Landmark { level: self.level, lps: self.lps, description }
    }
}

impl Prediction {
    /// Measures its vertebrae in the scan that it was made of: heights, end plates, density, contrast, curves.
    pub fn measure(&self, scan: &Scan) -> Measurements {
        measurement::measure(&scan.volume, &self.spine.centroids())
    }
}

impl Pipeline {
    /// Brings models to a device. Errors are a [`ModelError`](crate::network::ModelError) that names the file, or a
    /// [`device::Error`](crate::device::Error).
    pub fn load(models: &Models, device: Device) -> Result<Pipeline> {
        Ok(Pipeline { reader: models.load(device)?, models: models.files.clone(), device })
    }

    /// Finds and names the vertebrae of a scan.
    pub fn predict(&self, scan: &Scan) -> Result<Prediction> {
        self.predict_observed(scan, &mut ())
    }

    /// The same; the observer is told when a stage begins.
    pub fn predict_observed(&self, scan: &Scan, observer: &mut dyn Observer) -> Result<Prediction> {
        let mut warnings = scan.volume.warnings.clone();
        let intensities = hounsfield::judge(&scan.volume.voxels);
        warnings.extend(intensities.as_ref().map(|finding| finding.sentence.clone()));
        let spine = self.reader.read_observed(&scan.volume, observer)?;
        if spine.vertebrae.is_empty() {
            warnings.push(if spine.unnamed.is_empty() {
                "no vertebra was found".to_owned()
            } else {
                format!(
                    "it shows hardly a spine: {} things like bodies fit no levels, so none is named",
                    spine.unnamed.len()
                )
            });
        }
        if let Some(turned) = spine.turned {
            warnings.push(format!(
                "the spine reads better {turned} than as the header says; compare the picture with the patient before \
                 any name is used"
            ));
        }
        Ok(Prediction {
            vertebrae: spine.vertebrae.iter().map(|found| Located::of(found, &scan.frame)).collect(),
            shift: spine.shift,
            turned: spine.turned,
            intensities,
            warnings,
            spine,
        })
    }
}
