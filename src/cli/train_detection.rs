//! `train-detection`: the 3-D U-Net that marks vertebral bodies (docs/original.md §6, §7), or one that does so for a
//! whole volume at once and points to their centres.

use anyhow::Result;
use clap::{Args, ValueEnum};

use super::options::{at_least_one, pair};
use super::training::{Origin, Recipe, Training, Whole};
use crate::learning::{DetectionLoss, Objective};

/// What the network sees and answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Arch {
    /// The original's: patches, background or vertebra for each voxel; learns from the samples of
    /// gen-detection
    Patch,
    /// Whole volumes at once: bodies and centres; learns from annotated scans, altered on the fly
    Volume,
}

#[derive(Args)]
pub struct TrainDetection {
    /// What the network sees and answers
    #[arg(long, value_enum, default_value = "patch")]
    arch: Arch,
    /// Channels of the first level; each level down has twice as many
    #[arg(long, default_value = "16", value_parser = at_least_one)]
    filters: usize,
    /// Times every sample is seen
    #[arg(long, default_value = "50", value_parser = at_least_one)]
    epochs: usize,
    /// Samples a step [default: 16, 2 for volume]
    #[arg(long, value_parser = at_least_one)]
    batch_size: Option<usize>,
    /// Loss of a patch network: weighted-cross-entropy, dice or combined
    #[arg(long, default_value = "weighted-cross-entropy")]
    loss: DetectionLoss,
    /// Weights of background and vertebra in the cross-entropy of a patch network
    #[arg(long, value_name = "B,V", default_value = "0.1,0.9", value_parser = pair)]
    class_weights: [f64; 2],
    #[command(flatten)]
    whole: Whole,
    #[command(flatten)]
    training: Training,
}

impl TrainDetection {
    pub fn run(self) -> Result<()> {
        let (objective, batch_size, examples) = match self.arch {
            Arch::Patch => {
                let objective = Objective::Detection { loss: self.loss, class_weights: self.class_weights };
                (objective, 16, Origin::Samples)
            }
            Arch::Volume => (Objective::Volume, 2, self.whole.examples(4.0, [48, 64, 96])),
        };
        self.training.run(Recipe {
            objective,
            filters: self.filters,
            epochs: self.epochs,
            batch_size: self.batch_size.unwrap_or(batch_size),
            initial_output: 0.0,
            examples,
        })
    }
}
