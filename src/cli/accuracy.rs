//! `accuracy`: tables over what runs of `measure` or `predict` found.

use super::stdout::say;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use clap::Args;
use serde::Deserialize;

use super::options::positive;
use crate::annotation::{Centroid, lml};
use crate::artifact;
use crate::evaluation::REACH;
use crate::evaluation::accuracy::{Case, Certainty, tables};
use crate::evaluation::calibration;
use crate::report::collection;
use crate::report::prediction;
use crate::scan;

#[derive(Args)]
pub struct Accuracy {
    /// What 'measure --json' wrote, or folders that 'predict' wrote to, one or several; of a predicted scan,
    /// the annotation beside it counts
    #[arg(required = true)]
    inputs: Vec<PathBuf>,
    /// A vertebra answers for another within this many mm
    #[arg(long, value_name = "MM", default_value_t = REACH, value_parser = positive)]
    reach: f64,
}

#[derive(Deserialize)]
struct Document {
    scans: Vec<Entry>,
}

#[derive(Deserialize)]
struct Entry {
    path: PathBuf,
    /// Absent where the scan could not be used.
    annotated: Option<Vec<Place>>,
    vertebrae: Option<Vec<Labelled>>,
}

#[derive(Deserialize)]
struct Place {
    level: String,
    mm: [f64; 3],
}

#[derive(Deserialize)]
struct Labelled {
    label: String,
    mm: [f64; 3],
}

/// What a run of `measure` found.
fn measured(path: &Path) -> Result<Vec<Case>> {
    let bytes = std::fs::read(path).with_context(|| format!("{} cannot be read", path.display()))?;
    let document: Document = serde_json::from_slice(&bytes)
        .with_context(|| format!("{} was not written by 'vertebrae measure --json'", path.display()))?;
    let centroid = |label: &str, mm: [f64; 3]| -> Result<Centroid> {
        let level = label.parse().with_context(|| format!("{}", path.display()))?;
        Ok(Centroid { level, mm })
    };
    let used =
        document.scans.into_iter().filter_map(|entry| Some((entry.path, entry.annotated?, entry.vertebrae?)));
    used.map(|(path, annotated, found)| {
        Ok(Case {
            name: scan::name(&path),
            annotated: annotated
                .iter()
                .map(|place| centroid(&place.level, place.mm))
                .collect::<Result<_>>()?,
            found: found.iter().map(|found| centroid(&found.label, found.mm)).collect::<Result<_>>()?,
            certainty: Vec::new(),
            thickness: None,
        })
    })
    .collect()
}

/// What a run of `predict` found.
fn predicted(folder: &Path) -> Result<Vec<Case>> {
    let documents = collection::documents(folder)?;
    ensure!(!documents.is_empty(), "{} holds no results of predict", folder.display());
    let case = |path: &PathBuf| -> Result<Case> {
        let document: prediction::Document = artifact::read_json(path)?;
        let spacing = document.image.spacing;
        let annotated = lml::read(&lml::beside(&document.input.path))?;
        // Annotations are in mm along the stored axes.
        let centroid = |found: &prediction::Vertebra| Centroid {
            level: found.label,
            mm: std::array::from_fn(|axis| found.voxel[axis] * spacing[axis]),
        };
        let certainty = |found: &prediction::Vertebra| Certainty {
            confidence: found.confidence,
            flagged: found.flags.iter().any(|flag| flag.doubts_level()),
        };
        let along = document.image.orientation.find(['S', 'I']);
        Ok(Case {
            name: scan::name(&document.input.path),
            annotated,
            found: document.vertebrae.iter().map(centroid).collect(),
            certainty: document.vertebrae.iter().map(certainty).collect(),
            thickness: along.and_then(|axis| spacing.get(axis).copied()),
        })
    };
    documents.iter().map(case).collect()
}

impl Accuracy {
    pub fn run(self) -> Result<()> {
        let mut all = Vec::new();
        for path in &self.inputs {
            all.extend(if path.is_dir() { predicted(path)? } else { measured(path)? });
        }
        ensure!(!all.is_empty(), "no scan of these runs could be used, so there is nothing to count");
        say!("{}", tables(&all, self.reach));
        let names: Vec<calibration::Judged> =
            all.iter().flat_map(|case| calibration::judged(case, self.reach)).collect();
        if !names.is_empty() {
            say!("{}", calibration::tables(&names));
        }
        Ok(())
    }
}
