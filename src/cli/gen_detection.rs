//! `gen-detection`: boxes of scans with their dense labelling (SPEC §4).

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::Result;
use clap::Args;

use super::options::{Reading, at_least_one, size};
use vertebrae::sampling::{labelling, npy, patches};
use vertebrae::{batch, scan};

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
    #[command(flatten)]
    reading: Reading,
}

impl GenDetection {
    pub fn run(self) -> Result<()> {
        let scans = scan::find(&self.dataset)?;
        batch::check_names(&scans)?;
        let [x, y, z] = self.sample_size;
        println!(
            "Generating {} detection samples of size {x} x {y} x {z} for {} scans",
            self.count * scans.len(),
            scans.len()
        );
        let done = AtomicUsize::new(0);
        let failures = batch::for_each(&scans, |path| {
            let result = self.scan(path);
            println!("{} / {}", done.fetch_add(1, Ordering::Relaxed) + 1, scans.len());
            result
        });
        failures.into_result(scans.len())
    }

    fn scan(&self, path: &Path) -> Result<()> {
        let (scan, centroids) = self.reading.annotated(path)?;
        let volume = scan.normalised(self.reading.spacing);
        let kind = labelling::Kind::Detection;
        let labelling = labelling::paint(volume.dim().into(), &centroids, self.reading.spacing, kind)?;
        let options = patches::Options { size: self.sample_size, count: self.count, seed: self.seed };
        for (index, patch) in patches::cut(&volume, &labelling, &options)?.iter().enumerate() {
            let (sample, labelling) = npy::paths(&self.samples, &vertebrae::scan::name(path), index + 1);
            npy::write(&sample, &patch.sample)?;
            npy::write(&labelling, &patch.labelling)?;
        }
        Ok(())
    }
}
