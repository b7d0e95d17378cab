//! `gen-identification`: deformed slabs of scans with their label map (docs/original.md §5).

use std::path::{Path, PathBuf};

use anyhow::{Result, ensure};
use clap::Args;

use super::generating::Generation;
use super::options::{Reading, Sharding, at_least_one, not_negative, positive, size};
use crate::annotation::Annotated;
use crate::sampling::record::Record;
use crate::sampling::{labelling, npy, slabs};

#[derive(Args)]
pub struct GenIdentification {
    /// Folder with scans (.nii.gz) and their annotations (.lml), searched recursively
    dataset: PathBuf,
    /// Folder the samples go to
    samples: PathBuf,
    /// Samples a scan
    #[arg(long = "samples", value_name = "N", default_value = "100", value_parser = at_least_one)]
    count: usize,
    /// Slices of a sample, then the size of a slice, in voxels
    #[arg(long, value_name = "NxYxZ", default_value = "8x80x320", value_parser = size::<3>)]
    sample_size: [usize; 3],
    /// Spread of the random elastic deformation in voxels
    #[arg(long, value_name = "VOXELS", default_value = "7", value_parser = not_negative)]
    deformation: f64,
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

impl GenIdentification {
    pub fn run(self) -> Result<()> {
        let generation = Generation {
            dataset: &self.dataset,
            samples: &self.samples,
            record: Record { spacing: self.spacing },
            sharding: self.sharding,
            kind: "identification",
            per_scan: self.count,
            size: self.sample_size,
        };
        generation.run(|path| self.scan(path))
    }

    fn scan(&self, path: &Path) -> Result<()> {
        let Annotated { scan, centroids, .. } = self.reading.annotated(path)?;
        let spacing = self.spacing;
        let (volume, _) = scan.normalised(spacing);
        let kind = labelling::Kind::Identification;
        let labelling = labelling::paint(volume.dim().into(), &centroids, spacing, kind)?;
        let xs: Vec<i64> =
            labelling::centroid_indices(&centroids, spacing).iter().map(|index| index[0]).collect();
        let options = slabs::Options {
            size: self.sample_size,
            count: self.count,
            seed: self.seed,
            sigma: self.deformation,
        };
        let mut number = 0;
        let cut = slabs::cut(&volume, &labelling, &xs, &options, |slab| {
            number += 1;
            let (sample, labelling) = npy::paths(&self.samples, &crate::scan::name(path), number);
            npy::write(&sample, &slab.sample)?;
            npy::write(&labelling, &slab.labelling)
        })?;
        ensure!(
            cut > 0,
            "the spine lies too close to the scan's left edge for a single slab of {} slices",
            options.size[0]
        );
        Ok(())
    }
}
