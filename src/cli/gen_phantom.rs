//! `gen-phantom`: synthetic spine CTs with their annotations.

use super::stdout::say;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::Result;
use clap::{Args, ValueEnum};

use super::options::{Sharding, at_least_one, positive, share};
use crate::annotation::lml;
use crate::phantom::{self, Cohort};
use crate::{batch, scan};

#[derive(Args)]
pub struct GenPhantom {
    /// Folder the scans (.nii.gz) and their annotations (.lml) go to
    folder: PathBuf,
    /// Phantoms to make
    #[arg(long, value_name = "N", default_value = "10", value_parser = at_least_one)]
    scans: usize,
    /// Seed of the series; the same seed gives the same phantoms
    #[arg(long, default_value = "1")]
    seed: u32,
    /// Whom the phantoms are made after
    #[arg(long, value_enum, default_value = "healthy")]
    cohort: People,
    /// Voxels of this many mm in every phantom; without it each has its own
    #[arg(long, value_name = "MM", value_parser = positive)]
    voxel: Option<f64>,
    /// Share of the bodies from T4 on down that are broken besides: wedged, sunken in the middle or crushed
    #[arg(long, value_name = "SHARE", default_value = "0", value_parser = share)]
    fractures: f64,
    #[command(flatten)]
    sharding: Sharding,
}

/// Whom the phantoms are made after.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum People {
    /// Tight crops around healthy spines
    Healthy,
    /// Any part of the trunk, worn, broken and treated spines, thick slices
    Hospital,
}

impl GenPhantom {
    pub fn run(self) -> Result<()> {
        let numbers = self.sharding.part((0..self.scans).collect());
        say!("Generating {} phantoms", numbers.len());
        let name = |number: usize| format!("phantom-{}-{number:03}.nii.gz", self.seed);
        let paths: Vec<PathBuf> = numbers.iter().map(|&number| self.folder.join(name(number))).collect();
        let cohort = match self.cohort {
            People::Healthy => Cohort::Healthy,
            People::Hospital => Cohort::Hospital,
        };
        let done = AtomicUsize::new(0);
        let failures = batch::for_each(&paths, |index, path| {
            let phantom =
                phantom::generate_broken(self.seed, numbers[index], cohort, self.voxel, self.fractures);
            // The annotation first: a scan without one would be an error to the commands that read it.
            lml::write(&lml::beside(path), &phantom.centroids)?;
            scan::nifti::write(path, &phantom.voxels, &phantom.geometry)?;
            say!("{} / {}", done.fetch_add(1, Ordering::Relaxed) + 1, paths.len());
            Ok(())
        });
        failures.into_result(paths.len())
    }
}
