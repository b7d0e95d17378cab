//! `train-identification`: the U-Net that names the level of each pixel of a slab (SPEC §6, §7).

use anyhow::Result;
use clap::Args;

use super::training::Training;
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
    #[command(flatten)]
    training: Training,
}

impl TrainIdentification {
    pub fn run(self) -> Result<()> {
        self.training.run(Objective::Identification, self.filters, self.epochs, self.batch_size)
    }
}
