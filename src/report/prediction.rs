//! What `predict` leaves of a scan: one JSON document, versioned and complete.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::measurements::{Figures, ScanFigures};

use crate::anatomy::Level;
use crate::annotation::verse;
use crate::artifact::File;
use crate::decoding::sequence::Flag;
use crate::measurement::{Heights, Measurements};
use crate::pipeline::{Located, Pipeline, Prediction};
use crate::scan::hounsfield::Finding;
use crate::scan::{Frame, Geometry, Scan, Series};
use crate::spine::{self, turned::Turned};

/// Name and version of the document's schema, see docs/formats.md.
pub const SCHEMA: &str = "vertebrae/prediction/3";

/// A scan and what was found in it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Document {
    /// [`SCHEMA`].
    pub schema: String,
    /// Version of the program.
    pub version: String,
    /// What was read.
    pub input: File,
    /// Which DICOM series it is, if it is one.
    pub series: Option<Series>,
    /// The models of the course, the bodies and the names.
    pub models: Vec<File>,
    /// The stored grid.
    pub image: Image,
    /// Where it was computed.
    pub device: String,
    /// How long it took, reading included.
    pub seconds: f64,
    /// What is wrong with the voxels' values, as far as that can be told.
    pub intensities: Option<Finding>,
    /// What the reader had to put right, a sentence each.
    pub warnings: Vec<String>,
    /// Which way the picture reads better than as its header says.
    pub turned: Option<Turned>,
    /// How likely all names are off by one, if there are any.
    pub shift: Option<Shift>,
    /// What was measured of the scan as a whole, if it was measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub measurements: Option<ScanFigures>,
    /// From the head down.
    pub vertebrae: Vec<Vertebra>,
}

impl Document {
    /// Adds what was measured of the vertebrae, in their order.
    pub fn measured(mut self, measurements: &Measurements, frame: &Frame) -> Document {
        let names: Vec<(Level, f64)> =
            self.vertebrae.iter().map(|vertebra| (vertebra.label, vertebra.confidence)).collect();
        self.measurements = Some(ScanFigures::of(measurements, &names));
        for (vertebra, measured) in self.vertebrae.iter_mut().zip(&measurements.vertebrae) {
            vertebra.measured = Some(Figures::of(measured, frame));
        }
        self
    }

    /// What a pipeline predicted of a scan that was read from `input` in so many seconds, together with what it took to predict.
    pub fn of(
        pipeline: &Pipeline,
        scan: &Scan,
        prediction: &Prediction,
        input: File,
        seconds: f64,
    ) -> Document {
        Document {
            schema: SCHEMA.to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            input,
            series: scan.source.as_ref().map(|source| source.series.clone()),
            models: pipeline.models.clone(),
            image: Image::of(&scan.frame.stored),
            device: pipeline.device.to_string(),
            seconds: rounded(seconds, 2),
            vertebrae: prediction.vertebrae.iter().map(Vertebra::of).collect(),
            shift: prediction.shift.as_ref().map(Shift::of),
            turned: prediction.turned,
            intensities: prediction.intensities.clone(),
            measurements: None,
            warnings: prediction.warnings.clone(),
        }
    }
}

/// All names may be off by one.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Shift {
    /// How likely, from 0 to 1.
    pub confidence: f64,
    /// What the first vertebra's label would be.
    pub first: Level,
}

impl Shift {
    /// The likelier shift of a spine.
    pub fn of(shift: &spine::Shift) -> Shift {
        Shift { confidence: rounded(shift.chance, 3), first: shift.first }
    }
}

/// A stored grid.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Image {
    /// Voxels along the stored axes.
    pub shape: [usize; 3],
    /// Their distances in mm.
    pub spacing: [f64; 3],
    /// Voxel index to world (RAS, mm), three rows.
    pub affine: [[f64; 4]; 3],
    /// Where the stored axes run, such as LPS.
    pub orientation: String,
}

/// A vertebra.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Vertebra {
    /// Which one.
    pub label: Level,
    /// Its number in VerSe; S2 has none.
    pub verse_id: Option<u64>,
    /// Its body's centre in mm, LPS.
    pub lps: [f64; 3],
    /// The same, RAS.
    pub ras: [f64; 3],
    /// The same as an index into the stored voxels.
    pub voxel: [f64; 3],
    /// How likely the label is right, from 0 to 1.
    pub confidence: f64,
    /// Other labels it may have, the likeliest first.
    pub alternatives: Vec<Alternative>,
    /// What to look at.
    pub flags: Vec<Flag>,
    /// What was measured, if the scan was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub measured: Option<Figures>,
}

/// Another label that a vertebra may have.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Alternative {
    /// Which.
    pub label: Level,
    /// How likely.
    pub confidence: f64,
}

/// How an enumeration's value is written.
pub(super) fn word(value: &impl Serialize) -> Option<String> {
    serde_json::to_value(value).ok()?.as_str().map(str::to_owned)
}

/// A number with so many decimals.
pub(super) fn rounded(value: f64, decimals: i32) -> f64 {
    let factor = 10f64.powi(decimals);
    (value * factor).round() / factor
}

impl Image {
    /// The grid of a stored volume.
    pub fn of(stored: &Geometry) -> Image {
        Image {
            shape: stored.shape,
            spacing: stored.spacing,
            affine: stored.affine,
            orientation: verse::directions(stored)
                .map_or_else(|| "unknown".to_owned(), |names| names.concat()),
        }
    }
}

impl Vertebra {
    /// A vertebra with the digits that are worth writing.
    pub fn of(found: &Located) -> Vertebra {
        let alternative =
            |&(label, confidence): &(Level, f64)| Alternative { label, confidence: rounded(confidence, 3) };
        let [left, back, up] = found.lps;
        Vertebra {
            label: found.level,
            verse_id: verse::id(found.level),
            lps: found.lps.map(|part| rounded(part, 4)),
            ras: [-left, -back, up].map(|part| rounded(part, 4)),
            voxel: found.voxel.map(|part| rounded(part, 4)),
            confidence: rounded(found.confidence, 3),
            alternatives: found.alternatives.iter().map(alternative).collect(),
            flags: found.flags.clone(),
            measured: None,
        }
    }
}

impl Vertebra {
    /// What to look at, in its name and in its figures.
    pub fn all_flags(&self) -> Vec<String> {
        let measured = self.measured.iter().flat_map(|figures| &figures.flags);
        let names = self.flags.iter().map(ToString::to_string);
        names.chain(measured.map(ToString::to_string)).collect()
    }

    /// Mean density, and heights at the front wall, in the middle and at the back wall, a dash where they were not measured.
    pub fn in_short(&self) -> String {
        let figures = self.measured.as_ref();
        let density = figures.and_then(|figures| figures.hu.as_ref());
        let density = density.map_or_else(|| "-".to_owned(), |hu| format!("{:.0}", hu.mean));
        let heights = figures.and_then(|figures| figures.heights_mm);
        let heights = heights.map_or_else(
            || "-".to_owned(),
            |Heights { anterior, middle, posterior }| format!("{anterior:.0}/{middle:.0}/{posterior:.0}"),
        );
        format!("{density:>10}  {heights:<14}")
    }
}

/// What a document of an earlier run says of how it was made.
#[derive(Deserialize)]
struct Made {
    schema: String,
    version: String,
    input: File,
    series: Option<Series>,
    models: Vec<File>,
    /// There if it was measured.
    measurements: Option<serde::de::IgnoredAny>,
}

/// Whether `path` is a complete document that this version made of this content, and of this series if one is named,
/// with these models, and measured if that is asked for.
pub fn is_current(path: &Path, sha256: &str, series: Option<&str>, models: &[File], measured: bool) -> bool {
    let made = std::fs::read(path).ok().and_then(|bytes| serde_json::from_slice::<Made>(&bytes).ok());
    made.is_some_and(|made| {
        let same = made.models.len() == models.len()
            && made.models.iter().zip(models).all(|(a, b)| a.sha256 == b.sha256);
        made.schema == SCHEMA
            && made.version == env!("CARGO_PKG_VERSION")
            && made.input.sha256 == sha256
            && series.is_none_or(|wanted| made.series.is_some_and(|series| series.series == wanted))
            && (!measured || made.measurements.is_some())
            && same
    })
}

/// Whether the document `path` names any vertebra.
pub fn has_vertebrae(path: &Path) -> bool {
    #[derive(Deserialize)]
    struct Named {
        vertebrae: Vec<serde::de::IgnoredAny>,
    }
    let named = std::fs::read(path).ok().and_then(|bytes| serde_json::from_slice::<Named>(&bytes).ok());
    named.is_some_and(|named| !named.vertebrae.is_empty())
}

/// The scan that the document `path` is of, if it is one.
pub fn owner(path: &Path) -> Option<File> {
    #[derive(Deserialize)]
    struct Owned {
        input: File,
    }
    let owned: Owned = serde_json::from_slice(&std::fs::read(path).ok()?).ok()?;
    Some(owned.input)
}
