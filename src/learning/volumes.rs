//! Annotated scans as an endless source of examples for a network of whole volumes.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use anyhow::{Result, ensure};
use rayon::prelude::*;

use super::batches::{Batch, Examples};
use super::lineage;
use crate::annotation::{Annotated, lml};
use crate::batch;
use crate::network::Windows;
use crate::random::Legacy;
use crate::sampling::augmentation::{Source, altered, plain};
use crate::sampling::targets;
use crate::scan::{self, reduce};

/// Scans are held with voxels this much finer than what the network sees, so that a patch of a turned
/// or enlarged scan is not blurred twice.
const FINER: f64 = 0.75;

/// How many patches an epoch holds, or that scans are taken as they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Use {
    /// So many altered patches an epoch.
    Altered(usize),
    /// One patch of each scan, as it is.
    Plain,
}

/// All annotated scans below a folder, in memory.
///
/// Folders that directly hold scans are drawn from equally often, so that a handful of patients is not
/// lost among thousands of phantoms.
pub struct Volumes {
    folder: PathBuf,
    lineage: String,
    /// Scans by folder.
    groups: Vec<Vec<Source>>,
    input: Windows,
    patch: [usize; 3],
    purpose: Use,
}

impl Volumes {
    /// Reads all scans below `folder`; one that cannot be read is an error.
    pub fn read(folder: &Path, input: Windows, patch: [usize; 3], purpose: Use) -> Result<Volumes> {
        let paths = scan::find(folder)?;
        let read: Mutex<BTreeMap<PathBuf, Source>> = Mutex::default();
        let failures = batch::for_each(&paths, |_, path| {
            let source = source(path, input.spacing * FINER)?;
            read.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).insert(path.to_owned(), source);
            Ok(())
        });
        failures.into_result(paths.len())?;
        let read = read.into_inner().unwrap_or_else(|poisoned| poisoned.into_inner());
        let mut groups: BTreeMap<PathBuf, Vec<Source>> = BTreeMap::new();
        for (path, source) in read {
            groups.entry(path.with_file_name("")).or_default().push(source);
        }
        Ok(Volumes {
            folder: folder.to_owned(),
            lineage: lineage::of(paths.iter().map(PathBuf::as_path)),
            groups: groups.into_values().collect(),
            input,
            patch,
            purpose,
        })
    }

    /// Number of scans.
    pub fn scans(&self) -> usize {
        self.groups.iter().map(Vec::len).sum()
    }
}

fn source(path: &Path, spacing: f64) -> Result<Source> {
    let Annotated { scan, centroids, .. } = Annotated::read(path, true)?;
    ensure!(centroids.len() > 1, "{} names one vertebra; annotate at least two", lml::beside(path).display());
    let (voxels, grid) = reduce(&scan.volume, spacing);
    let voxels = voxels.mapv(|value| value.round().clamp(-2048.0, 4095.0) as i16);
    Ok(Source { voxels, grid, centroids })
}

impl Examples for Volumes {
    fn folder(&self) -> &Path {
        &self.folder
    }

    fn lineage(&self) -> String {
        self.lineage.clone()
    }

    fn count(&self) -> usize {
        match self.purpose {
            Use::Altered(patches) => patches,
            Use::Plain => self.scans(),
        }
    }

    fn order(&self, seed: u32, epoch: usize) -> Vec<usize> {
        let mut random = Legacy::seeded(seed.wrapping_mul(1_000_003).wrapping_add(epoch as u32));
        (0..self.count()).map(|_| random.integer(0, 1 << 31) as usize).collect()
    }

    fn batch(&self, numbers: &[usize]) -> Result<Batch> {
        let examples: Vec<_> = numbers
            .par_iter()
            .map(|&number| match self.purpose {
                Use::Altered(_) => {
                    let mut random = Legacy::seeded(number as u32);
                    let mut pick = |count: usize| random.integer(0, count as i64) as usize;
                    let group = &self.groups[pick(self.groups.len())];
                    let source = &group[pick(group.len())];
                    altered(source, self.patch, &self.input, &mut random)
                }
                Use::Plain => {
                    let sources: Vec<&Source> = self.groups.iter().flatten().collect();
                    plain(sources[number], self.patch, &self.input)
                }
            })
            .collect();
        let [x, y, z] = self.patch;
        let mut batch = Batch {
            input: Vec::new(),
            shape: [numbers.len(), Windows::WINDOWS, x, y, z],
            labels: Vec::new(),
        };
        batch.input.reserve(numbers.len() * Windows::WINDOWS * x * y * z);
        batch.labels.reserve(numbers.len() * targets::CHANNELS * x * y * z);
        for example in examples {
            batch.input.extend(example.input);
            batch.labels.extend(example.labels);
        }
        Ok(batch)
    }
}
