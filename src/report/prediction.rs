//! What `predict` leaves of a scan: one JSON document, versioned and complete.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::analysis::Found;
use crate::anatomy::Level;
use crate::annotation::landmark::Landmark;
use crate::annotation::verse;
use crate::decoding::sequence::Flag;
use crate::scan::Geometry;

/// Name and version of the document's schema, see docs/formats.md.
pub const SCHEMA: &str = "vertebrae/prediction/1";

/// A scan and what was found in it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Document {
    /// [`SCHEMA`].
    pub schema: String,
    /// Version of the program.
    pub version: String,
    /// What was read.
    pub input: File,
    /// The detection and the identification model.
    pub models: [File; 2],
    /// The stored grid.
    pub image: Image,
    /// Where it was computed.
    pub device: String,
    /// How long it took, reading included.
    pub seconds: f64,
    /// What the reader had to put right, a sentence each.
    pub warnings: Vec<String>,
    /// From the head down.
    pub vertebrae: Vec<Vertebra>,
}

/// A file with its SHA-256.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct File {
    /// As it was named.
    pub path: PathBuf,
    /// In hexadecimal digits.
    pub sha256: String,
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
}

/// Another label that a vertebra may have.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Alternative {
    /// Which.
    pub label: Level,
    /// How likely.
    pub confidence: f64,
}

/// A number with so many decimals.
fn rounded(value: f64, decimals: i32) -> f64 {
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
    /// A found vertebra with its landmark in the patient; `stored` is the scan's stored grid.
    pub fn of(found: &Found, landmark: &Landmark, stored: &Geometry) -> Vertebra {
        let (confidence, alternatives, flags) = match &found.certainty {
            Some(certainty) => {
                (certainty.confidence, certainty.alternatives.as_slice(), certainty.flags.clone())
            }
            None => (f64::NAN, &[][..], Vec::new()),
        };
        let alternative =
            |&(label, confidence): &(Level, f64)| Alternative { label, confidence: rounded(confidence, 3) };
        let voxel = stored.unworld(landmark.ras()).unwrap_or([f64::NAN; 3]);
        Vertebra {
            label: landmark.level,
            verse_id: verse::id(landmark.level),
            lps: landmark.lps.map(|part| rounded(part, 4)),
            ras: landmark.ras().map(|part| rounded(part, 4)),
            voxel: voxel.map(|part| rounded(part, 4)),
            confidence: rounded(confidence, 3),
            alternatives: alternatives.iter().map(alternative).collect(),
            flags,
        }
    }
}

/// What a document of an earlier run says of how it was made.
#[derive(Deserialize)]
struct Made {
    schema: String,
    version: String,
    models: [File; 2],
}

/// Whether `path` is a complete document that this version made with these models.
pub fn is_current(path: &Path, models: &[File; 2]) -> bool {
    let made = std::fs::read(path).ok().and_then(|bytes| serde_json::from_slice::<Made>(&bytes).ok());
    made.is_some_and(|made| {
        let same = made.models.iter().zip(models).all(|(a, b)| a.sha256 == b.sha256);
        made.schema == SCHEMA && made.version == env!("CARGO_PKG_VERSION") && same
    })
}
