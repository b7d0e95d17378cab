//! `train-detection`: the 3-D U-Net that marks vertebral bodies (SPEC §6, §7).

use anyhow::Result;
use clap::Args;

use super::options::pair;
use super::training::{Origin, Recipe, Training};
use vertebrae::learning::{DetectionLoss, Objective};

#[derive(Args)]
pub struct TrainDetection {
    /// Channels of the first level; each level down has twice as many
    #[arg(long, default_value = "16", value_parser = super::options::at_least_one)]
    filters: usize,
    /// Times every sample is seen
    #[arg(long, default_value = "50", value_parser = super::options::at_least_one)]
    epochs: usize,
    /// Samples a step
    #[arg(long, default_value = "16", value_parser = super::options::at_least_one)]
    batch_size: usize,
    /// weighted-cross-entropy, dice or combined
    #[arg(long, default_value = "weighted-cross-entropy")]
    loss: DetectionLoss,
    /// Weights of background and vertebra in the cross-entropy
    #[arg(long, value_name = "B,V", default_value = "0.1,0.9", value_parser = pair)]
    class_weights: [f64; 2],
    #[command(flatten)]
    training: Training,
}

impl TrainDetection {
    pub fn run(self) -> Result<()> {
        let objective = Objective::Detection { loss: self.loss, class_weights: self.class_weights };
        let TrainDetection { filters, epochs, batch_size, .. } = self;
        self.training.run(Recipe {
            objective,
            filters,
            epochs,
            batch_size,
            initial_output: 0.0,
            examples: Origin::Samples,
        })
    }
}
