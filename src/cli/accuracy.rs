//! `accuracy`: tables over what one or several runs of `measure` found.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use clap::Args;
use serde::Deserialize;

use super::options::positive;
use vertebrae::annotation::Centroid;
use vertebrae::evaluation::REACH;
use vertebrae::evaluation::accuracy::{Case, tables};
use vertebrae::scan;

#[derive(Args)]
pub struct Accuracy {
    /// What 'measure --json' wrote, one or several
    #[arg(required = true)]
    files: Vec<PathBuf>,
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

fn cases(path: &Path) -> Result<Vec<Case>> {
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
        })
    })
    .collect()
}

impl Accuracy {
    pub fn run(self) -> Result<()> {
        let mut all = Vec::new();
        for path in &self.files {
            all.extend(cases(path)?);
        }
        ensure!(!all.is_empty(), "no scan of these runs could be used, so there is nothing to count");
        print!("{}", tables(&all, self.reach));
        Ok(())
    }
}
