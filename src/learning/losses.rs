//! What training makes small (docs/original.md §7).

use std::str::FromStr;

use burn::tensor::Tensor;
use burn::tensor::backend::Backend;

use crate::kernels::{KernelBackend, probability};

/// Probabilities are kept this far from 0 and 1 before their logarithm is taken.
const CLIP: f64 = 1e-7;
/// Keeps the Dice ratio defined where neither labels nor predictions hold a vertebra.
const SMOOTHING: f64 = 1.0;

/// The loss of the detection network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DetectionLoss {
    /// The original's: cross-entropy with a weight for each class.
    WeightedCrossEntropy,
    /// One minus the soft Dice coefficient of the vertebra class.
    Dice,
    /// The sum of both.
    Combined,
}

impl FromStr for DetectionLoss {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        match name {
            "weighted-cross-entropy" => Ok(DetectionLoss::WeightedCrossEntropy),
            "dice" => Ok(DetectionLoss::Dice),
            "combined" => Ok(DetectionLoss::Combined),
            _ => Err("use weighted-cross-entropy, dice or combined".to_owned()),
        }
    }
}

/// −Σ_c w_c · y_c · log p_c, mean over all voxels.
///
/// `logits` are `[n, 2, x, y, z]`, `labels` `[n, 1, x, y, z]` with 1 on vertebrae; the weights are
/// those of background and vertebra.
pub fn weighted_cross_entropy<B: KernelBackend>(
    logits: Tensor<B, 5>,
    labels: Tensor<B, 5>,
    weights: [f64; 2],
) -> Tensor<B, 1> {
    let vertebra = probability(logits).clamp(CLIP, 1.0 - CLIP);
    let background = (vertebra.clone().neg() + 1.0).clamp_min(CLIP);
    let of_vertebrae = vertebra.log() * labels.clone() * -weights[1];
    let of_background = background.log() * (labels.neg() + 1.0) * -weights[0];
    (of_vertebrae + of_background).mean()
}

/// 1 − (2 · Σ y·p + 1) / (Σ y² + Σ p² + 1) over all voxels of the batch, p the probability of a
/// vertebra (Milletari et al., V-Net, 2016). Shapes as in [`weighted_cross_entropy`].
pub fn dice<B: KernelBackend>(logits: Tensor<B, 5>, labels: Tensor<B, 5>) -> Tensor<B, 1> {
    let vertebra = probability(logits);
    let overlap = (vertebra.clone() * labels.clone()).sum() * 2.0 + SMOOTHING;
    let total = labels.square().sum() + vertebra.square().sum() + SMOOTHING;
    (overlap / total).neg() + 1.0
}

/// [`weighted_cross_entropy`] plus [`dice`].
pub fn combined<B: KernelBackend>(
    logits: Tensor<B, 5>,
    labels: Tensor<B, 5>,
    weights: [f64; 2],
) -> Tensor<B, 1> {
    weighted_cross_entropy(logits.clone(), labels.clone(), weights) + dice(logits, labels)
}

/// Σ |p − y| · m / Σ m with m = min(1, y): the mean distance of label values on labelled pixels.
///
/// Both are `[n, 1, x, y, z]`; 0 where the batch holds no label.
pub fn masked_distance<B: Backend>(values: Tensor<B, 5>, labels: Tensor<B, 5>) -> Tensor<B, 1> {
    let mask = labels.clone().clamp_max(1.0);
    let labelled = mask.clone().sum().clamp_min(1.0);
    ((values - labels).abs() * mask).sum() / labelled
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::backend::Flex;
    use burn::tensor::TensorData;

    fn tensor(values: &[f32], dims: [usize; 5]) -> Tensor<Flex, 5> {
        Tensor::from_data(TensorData::new(values.to_vec(), dims), &Default::default())
    }

    /// Two voxels: a vertebra seen with probability 0.8, background with 0.6.
    fn example() -> (Tensor<Flex, 5>, Tensor<Flex, 5>) {
        let logits = [(0.2f32).ln(), (0.6f32).ln(), (0.8f32).ln(), (0.4f32).ln()];
        (tensor(&logits, [1, 2, 1, 1, 2]), tensor(&[1.0, 0.0], [1, 1, 1, 1, 2]))
    }

    fn number(tensor: Tensor<Flex, 1>) -> f64 {
        f64::from(tensor.into_scalar())
    }

    #[test]
    fn weighted_cross_entropy_weighs_each_class() {
        let (logits, labels) = example();
        let loss = number(weighted_cross_entropy(logits, labels, [0.1, 0.9]));
        let expected = -(0.9 * 0.8f64.ln() + 0.1 * 0.6f64.ln()) / 2.0;
        assert!((loss - expected).abs() < 1e-6, "{loss} instead of {expected}");
    }

    #[test]
    fn dice_follows_its_formula() {
        let (logits, labels) = example();
        let expected = 1.0 - (2.0 * 0.8 + 1.0) / (1.0 + 0.8 * 0.8 + 0.4 * 0.4 + 1.0);
        assert!((number(dice(logits.clone(), labels.clone())) - expected).abs() < 1e-6);
        let sum = number(weighted_cross_entropy(logits.clone(), labels.clone(), [0.1, 0.9])) + expected;
        assert!((number(combined(logits, labels, [0.1, 0.9])) - sum).abs() < 1e-6);
    }

    #[test]
    fn a_certain_and_wrong_prediction_has_a_finite_loss() {
        let logits = tensor(&[200.0, -200.0], [1, 2, 1, 1, 1]);
        let loss = number(weighted_cross_entropy(logits, tensor(&[1.0], [1; 5]), [0.1, 0.9]));
        assert!((loss + 0.9 * (1e-7f64).ln()).abs() < 0.1, "{loss}");
    }

    #[test]
    fn unlabelled_pixels_do_not_count_in_the_distance() {
        let values = tensor(&[7.0, 3.0, 10.0], [1, 1, 1, 1, 3]);
        let labels = tensor(&[5.0, 0.0, 9.0], [1, 1, 1, 1, 3]);
        assert_eq!(number(masked_distance(values.clone(), labels)), 1.5);
        assert_eq!(number(masked_distance(values, tensor(&[0.0; 3], [1, 1, 1, 1, 3]))), 0.0);
    }
}
