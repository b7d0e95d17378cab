//! `gen-detection`: boxes of scans with their dense labelling (docs/original.md §4).

use std::path::{Path, PathBuf};

use anyhow::Result;
use clap::Args;

use super::generating::Generation;
use super::options::{Reading, Sharding, at_least_one, positive, size};
use crate::annotation::Annotated;
use crate::sampling::record::Record;
use crate::sampling::{labelling, npy, patches};

#[derive(Args)]
pub struct GenDetection {
    /// Folder with scans (.nii.gz) and their annotations (.lml), searched recursively
    dataset: PathBuf,
    /// Folder the samples go to
    samples: PathBuf,
    /// Samples a scan
    #[arg(long = "samples", value_name = "N", default_value = "5", value_parser = at_least_one)]
    count: usize,
    /// Size of a sample in voxels
    #[arg(long, value_name = "XxYxZ", default_value = "64x64x80", value_parser = size::<3>)]
    sample_size: [usize; 3],
    /// Seed of each scan's random numbers
    #[arg(long, default_value = "1")]
    seed: u32,
    /// Resample scans to voxels of this many mm
    #[arg(long, value_name = "MM", default_value = "1", value_parser = positive)]
    spacing: f64,
    #[command(flatten)]
    sharding: Sharding,
    #[command(flatten)]
    reading: Reading,
}

impl GenDetection {
    pub fn run(self) -> Result<()> {
        let generation = Generation {
            dataset: &self.dataset,
            samples: &self.samples,
            record: Record { spacing: self.spacing },
            sharding: self.sharding,
            kind: "detection",
            per_scan: self.count,
            size: self.sample_size,
        };
        generation.run(|path| self.scan(path))
    }

    fn scan(&self, path: &Path) -> Result<()> {
        let Annotated { scan, centroids, .. } = self.reading.annotated(path)?;
        let (volume, _) = scan.normalised(self.spacing);
        let kind = labelling::Kind::Detection;
        let labelling = labelling::paint(volume.dim().into(), &centroids, self.spacing, kind)?;
        let options = patches::Options { size: self.sample_size, count: self.count, seed: self.seed };
        for (index, patch) in patches::cut(&volume, &labelling, &options)?.iter().enumerate() {
            let (sample, labelling) = npy::paths(&self.samples, &crate::scan::name(path), index + 1);
            npy::write(&sample, &patch.sample)?;
            npy::write(&labelling, &patch.labelling)?;
        }
        Ok(())
    }
}
