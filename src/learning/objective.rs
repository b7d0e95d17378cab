//! What a network is trained for: its loss and its scores.

use burn::tensor::Tensor;

use super::losses::{DetectionLoss, combined, dice, masked_distance, weighted_cross_entropy};
use super::metrics::{Scores, detection_scores, identification_scores};
use super::spine_loss::{spine_loss, spine_scores};
use crate::kernels::KernelBackend;
use crate::network::Kind;

/// The loss and the scores of one of the networks.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Objective {
    /// Background or vertebra.
    Detection {
        /// Which loss.
        loss: DetectionLoss,
        /// Weights of background and vertebra.
        class_weights: [f64; 2],
    },
    /// The value of the level.
    Identification,
    /// Bodies, their levels and the way to their centres.
    Volume,
}

impl Objective {
    /// The network this is for.
    pub fn kind(&self) -> Kind {
        match self {
            Objective::Detection { .. } => Kind::Detection,
            Objective::Identification => Kind::Identification,
            Objective::Volume => Kind::Volume,
        }
    }

    /// The loss of a network's output for `labels` `[n, 1, x, y, z]`, or of as many channels as
    /// [`crate::sampling::targets`] has.
    pub fn loss<B: KernelBackend>(&self, output: Tensor<B, 5>, labels: Tensor<B, 5>) -> Tensor<B, 1> {
        match *self {
            Objective::Detection { loss, class_weights } => match loss {
                DetectionLoss::WeightedCrossEntropy => weighted_cross_entropy(output, labels, class_weights),
                DetectionLoss::Dice => dice(output, labels),
                DetectionLoss::Combined => combined(output, labels, class_weights),
            },
            Objective::Identification => masked_distance(output, labels),
            Objective::Volume => spine_loss(output, labels),
        }
    }

    /// The scores of a network's output, shapes as in [`Objective::loss`].
    pub fn scores<B: KernelBackend>(&self, output: Tensor<B, 5>, labels: Tensor<B, 5>) -> Scores {
        match self {
            Objective::Detection { .. } => detection_scores(output, labels),
            Objective::Identification => identification_scores(output, labels),
            Objective::Volume => spine_scores(output, labels),
        }
    }
}
