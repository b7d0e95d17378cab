//! `train-identification`: the U-Net that names the level of each pixel of a slab (SPEC §6, §7).

use anyhow::Result;
use clap::Args;

use super::training::{Recipe, Training};
use vertebrae::learning::Objective;

#[derive(Args)]
pub struct TrainIdentification {
    /// Channels of the first level; each level down has twice as many
    #[arg(long, default_value = "32", value_parser = super::options::at_least_one)]
    filters: usize,
    /// Times every sample is seen
    #[arg(long, default_value = "35", value_parser = super::options::at_least_one)]
    epochs: usize,
    /// Samples a step
    #[arg(long, default_value = "32", value_parser = super::options::at_least_one)]
    batch_size: usize,
    /// Level value that the untrained network answers everywhere (C1 is 1, S2 is 26); one in the
    /// middle saves the first epochs of a short training
    #[arg(long, value_name = "VALUE", default_value = "0", value_parser = super::options::not_negative)]
    initial_level: f64,
    #[command(flatten)]
    training: Training,
}

impl TrainIdentification {
    pub fn run(self) -> Result<()> {
        self.training.run(Recipe {
            objective: Objective::Identification,
            filters: self.filters,
            epochs: self.epochs,
            batch_size: self.batch_size,
            initial_output: self.initial_level as f32,
        })
    }
}
