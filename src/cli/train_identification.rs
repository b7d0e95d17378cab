//! `train-identification`: the U-Net that names the level of each pixel of a slab (docs/original.md §6, §7), or one
//! that does so for a whole volume at once.

use anyhow::Result;
use clap::{Args, ValueEnum};

use super::options::{at_least_one, not_negative};
use super::training::{Origin, Recipe, Training, Whole};
use crate::learning::Objective;

/// What the network sees and answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Arch {
    /// The original's: slabs of eight sagittal slices, a level value for each pixel; learns from the
    /// samples of gen-identification
    Slab,
    /// Whole volumes at once: bodies, their levels and centres; learns from annotated scans,
    /// altered on the fly
    Volume,
}

#[derive(Args)]
pub struct TrainIdentification {
    /// What the network sees and answers
    #[arg(long, value_enum, default_value = "slab")]
    arch: Arch,
    /// Channels of the first level; each level down has twice as many [default: 32, 16 for volume]
    #[arg(long, value_parser = at_least_one)]
    filters: Option<usize>,
    /// Times every sample is seen
    #[arg(long, default_value = "35", value_parser = at_least_one)]
    epochs: usize,
    /// Samples a step [default: 32, 4 for volume]
    #[arg(long, value_parser = at_least_one)]
    batch_size: Option<usize>,
    /// Level value that an untrained slab network answers everywhere (C1 is 1, S2 is 26); one in the
    /// middle saves the first epochs of a short training
    #[arg(long, value_name = "VALUE", default_value = "0", value_parser = not_negative)]
    initial_level: f64,
    #[command(flatten)]
    whole: Whole,
    #[command(flatten)]
    training: Training,
}

impl TrainIdentification {
    pub fn run(self) -> Result<()> {
        let recipe = |objective, filters, batch_size, initial_output, examples| Recipe {
            objective,
            filters: self.filters.unwrap_or(filters),
            epochs: self.epochs,
            batch_size: self.batch_size.unwrap_or(batch_size),
            initial_output,
            examples,
        };
        self.training.run(match self.arch {
            Arch::Slab => {
                recipe(Objective::Identification, 32, 32, self.initial_level as f32, Origin::Samples)
            }
            Arch::Volume => recipe(Objective::Volume, 16, 4, 0.0, self.whole.examples(6.0, [32, 48, 64])),
        })
    }
}
