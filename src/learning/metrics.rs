//! How well a network does on a batch (docs/original.md §7).

use burn::tensor::Tensor;
use burn::tensor::backend::Backend;

use crate::kernels::{KernelBackend, probability};

/// Named figures of a batch or an epoch.
pub type Scores = Vec<(&'static str, f64)>;

/// Plain numbers of a tensor.
fn numbers<B: Backend>(tensor: Tensor<B, 5>) -> Vec<f32> {
    tensor.into_data().convert::<f32>().into_vec().unwrap_or_default()
}

/// Accuracy, Dice and the recall of each class.
///
/// Shapes as in [`super::weighted_cross_entropy`]. Dice is the original's: sums over the last
/// axis only, then the mean over all rows. A class that does not occur has a recall of 1.
pub fn detection_scores<B: KernelBackend>(logits: Tensor<B, 5>, labels: Tensor<B, 5>) -> Scores {
    let row = labels.dims()[4];
    let vertebra = numbers(probability(logits));
    let labels = numbers(labels);
    let mut dice = 0.0;
    // Right and all voxels of background and vertebra.
    let mut counts = [[0u64; 2]; 2];
    for (p, y) in vertebra.chunks_exact(row).zip(labels.chunks_exact(row)) {
        let (mut overlap, mut total) = (0.0f64, 0.0f64);
        for (&p, &y) in p.iter().zip(y) {
            overlap += f64::from(p * y);
            total += f64::from(y * y + p * p);
            let class = usize::from(y > 0.5);
            counts[class][1] += 1;
            counts[class][0] += u64::from((p > 0.5) == (class == 1));
        }
        dice += (2.0 * overlap + 1.0) / (total + 1.0);
    }
    let recall = |class: usize| match counts[class] {
        [_, 0] => 1.0,
        [right, all] => right as f64 / all as f64,
    };
    let right = (counts[0][0] + counts[1][0]) as f64;
    vec![
        ("accuracy", right / labels.len() as f64),
        ("dice", dice / (labels.len() / row) as f64),
        ("recall_background", recall(0)),
        ("recall_vertebra", recall(1)),
    ]
}

/// The share of labelled pixels whose rounded value is their label; 1 where there are none.
pub fn identification_scores<B: Backend>(values: Tensor<B, 5>, labels: Tensor<B, 5>) -> Scores {
    let (values, labels) = (numbers(values), numbers(labels));
    let labelled = values.iter().zip(&labels).filter(|(_, label)| **label > 0.0);
    let (mut right, mut all) = (0u64, 0u64);
    for (value, &label) in labelled {
        all += 1;
        right += u64::from(value.round_ties_even() == label);
    }
    vec![("accuracy", if all == 0 { 1.0 } else { right as f64 / all as f64 })]
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::backend::Flex;
    use burn::tensor::TensorData;

    fn tensor(values: &[f32], dims: [usize; 5]) -> Tensor<Flex, 5> {
        Tensor::from_data(TensorData::new(values.to_vec(), dims), &Default::default())
    }

    #[test]
    fn detection_scores_follow_their_definitions() {
        // Rows of two voxels with vertebra probabilities 0.8 0.4 and 0.2 0.3.
        let p = [0.8f32, 0.4, 0.2, 0.3];
        let logits: Vec<f32> = p.iter().map(|p| (1.0 - p).ln()).chain(p.iter().map(|p| p.ln())).collect();
        let scores = detection_scores(
            tensor(&logits, [1, 2, 1, 2, 2]),
            tensor(&[1.0, 0.0, 1.0, 0.0], [1, 1, 1, 2, 2]),
        );
        let first = (2.0 * 0.8 + 1.0) / (1.0 + 0.64 + 0.16 + 1.0);
        let second = (2.0 * 0.2 + 1.0) / (1.0 + 0.04 + 0.09 + 1.0);
        let expected = [0.75, (first + second) / 2.0, 1.0, 0.5];
        for ((name, score), expected) in scores.into_iter().zip(expected) {
            assert!((score - expected).abs() < 1e-6, "{name}: {score} instead of {expected}");
        }
    }

    #[test]
    fn only_labelled_pixels_count_for_identification() {
        let dims = [1, 1, 1, 1, 4];
        let values = tensor(&[5.4, 5.6, 9.0, 2.0], dims);
        assert_eq!(
            identification_scores(values.clone(), tensor(&[5.0, 5.0, 0.0, 2.0], dims)),
            [("accuracy", 2.0 / 3.0)]
        );
        assert_eq!(identification_scores(values, tensor(&[0.0; 4], dims)), [("accuracy", 1.0)]);
    }
}
