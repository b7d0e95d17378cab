//! The loss of a network of whole volumes: bodies, their levels and their centres at once.
//!
//! Levels and centres concern one voxel in a thousand, so the loss and its gradient are computed here,
//! in plain Rust on those voxels only, and handed to the automatic differentiation as a linear function
//! of the output that has this value and this gradient.

use burn::tensor::backend::Backend;
use burn::tensor::{Tensor, TensorData};
use rayon::prelude::*;

use super::metrics::Scores;
use crate::network::output::{self, sigmoid, softmax};
use crate::sampling::targets;

/// A voxel outside of bodies counts so much in the cross-entropy, one inside 1: they are a thousand
/// times as many.
const BACKGROUND: f64 = 0.1;
/// Fewer body voxels than this do not make the background count more.
const LEAST: f64 = 20.0;
/// Keeps Dice defined where there is no body.
const SMOOTHING: f64 = 1.0;
/// Share of a level's target that its neighbours above and below have each: a network that is off by
/// one should say so rather than be sure.
const NEIGHBOUR: f32 = 0.05;
/// Weight of the distance between the expected and the true level: cross-entropy alone does not tell
/// a level from the next better than from one far off, and takes long to find the region.
const ORDER: f64 = 0.3;
/// Weight of the way to the centre.
const OFFSET: f64 = 0.5;
/// Below so many voxels, or levels, a distance counts squared, above linearly.
const BEND: f32 = 0.5;
const LEVELS: usize = output::LEVELS.end - output::LEVELS.start;

/// One image judged.
#[derive(Default)]
struct Judged {
    loss: f64,
    /// With respect to the output, in its layout.
    gradient: Vec<f32>,
    /// Dice of the bodies, share of them with the right level, mean distance from the centre in voxels.
    dice: f64,
    level: f64,
    offset: f64,
}

/// A distance that counts squared where it is small, and its slope.
fn bent(off: f32) -> (f32, f32) {
    if off.abs() < BEND {
        (0.5 * off * off / BEND, off / BEND)
    } else {
        (off.abs() - 0.5 * BEND, off.signum())
    }
}

/// Dice plus cross-entropy of the bodies (ignored voxels left out), cross-entropy and
/// distance of the levels and distance of the centres, each a mean over bodies. `output` and `labels` are `[channel, voxel]`.
fn judge(output: &[f32], labels: &[f32]) -> Judged {
    let voxels = output.len() / output::CHANNELS;
    let channel = |index: usize| &labels[index * voxels..][..voxels];
    let (bodies, levels, shares) = (channel(targets::BODY), channel(targets::LEVEL), channel(targets::SHARE));
    let mut judged = Judged { gradient: vec![0.0; output.len()], ..Judged::default() };

    let logits = &output[output::BODY * voxels..][..voxels];
    let (mut overlap, mut total, mut inside) = (0.0f64, 0.0f64, 0.0f64);
    let mut entropy = 0.0f64;
    let probabilities: Vec<f32> = logits.iter().map(|&logit| sigmoid(logit)).collect();
    for ((&p, &body), &logit) in probabilities.iter().zip(bodies).zip(logits) {
        if body < 0.0 {
            continue;
        }
        let (p, y) = (f64::from(p), f64::from(body));
        overlap += p * y;
        total += p * p + y * y;
        inside += y;
        // log(1 + exp(-|x|)) + max(x, 0) - x y, exact for large logits too.
        let x = f64::from(logit);
        let weight = if y > 0.0 { 1.0 } else { BACKGROUND };
        entropy += weight * ((-x.abs()).exp().ln_1p() + x.max(0.0) - x * y);
    }
    let (above, below) = (2.0 * overlap + SMOOTHING, total + SMOOTHING);
    let count = inside.max(LEAST);
    judged.dice = above / below;
    judged.loss = 1.0 - judged.dice + entropy / count;
    let gradient = &mut judged.gradient[output::BODY * voxels..][..voxels];
    for ((slope, &p), &body) in gradient.iter_mut().zip(&probabilities).zip(bodies) {
        if body < 0.0 {
            continue;
        }
        let (p, y) = (f64::from(p), f64::from(body));
        let of_dice = -(2.0 * y * below - above * 2.0 * p) / (below * below) * p * (1.0 - p);
        let weight = if y > 0.0 { 1.0 } else { BACKGROUND };
        *slope = (of_dice + weight * (p - y) / count) as f32;
    }

    let named: f64 = shares.iter().map(|&share| f64::from(share)).sum::<f64>();
    if named <= 0.0 {
        judged.level = 1.0;
        return judged;
    }
    for voxel in (0..voxels).filter(|&voxel| levels[voxel] > 0.0) {
        let share = f64::from(shares[voxel]) / named;
        let level = levels[voxel] as usize - 1;
        let mut chances: [f32; LEVELS] =
            std::array::from_fn(|index| output[(output::LEVELS.start + index) * voxels + voxel]);
        let best = (0..LEVELS).max_by(|&a, &b| chances[a].total_cmp(&chances[b]));
        softmax(&mut chances);
        judged.level += if best == Some(level) { share } else { 0.0 };
        let expected: f32 = chances.iter().enumerate().map(|(index, chance)| index as f32 * chance).sum();
        let (value, slope) = bent(expected - level as f32);
        judged.loss += ORDER * share * f64::from(value);
        for (index, chance) in chances.into_iter().enumerate() {
            let mut target = if index.abs_diff(level) == 1 { NEIGHBOUR } else { 0.0 };
            if index == level {
                let neighbours = usize::from(level > 0) + usize::from(level + 1 < LEVELS);
                target = 1.0 - NEIGHBOUR * neighbours as f32;
            }
            judged.loss -= share * f64::from(target * chance.max(1e-9).ln());
            judged.gradient[(output::LEVELS.start + index) * voxels + voxel] =
                share as f32 * (chance - target + ORDER as f32 * slope * chance * (index as f32 - expected));
        }
        let mut square = 0.0f64;
        for axis in 0..3 {
            let at = (output::OFFSETS.start + axis) * voxels + voxel;
            let off = output[at] - labels[(targets::OFFSETS.start + axis) * voxels + voxel];
            square += f64::from(off * off);
            let (value, slope) = bent(off);
            judged.loss += OFFSET * share * f64::from(value);
            judged.gradient[at] = (OFFSET * share) as f32 * slope;
        }
        judged.offset += share * square.sqrt();
    }
    judged
}

/// All images of a batch, judged.
fn judge_all<B: Backend>(output: Tensor<B, 5>, labels: Tensor<B, 5>) -> Vec<Judged> {
    let images = output.dims()[0].max(1);
    let plain = |tensor: Tensor<B, 5>| -> Vec<f32> {
        tensor.into_data().convert::<f32>().into_vec().unwrap_or_default()
    };
    let (output, labels) = (plain(output), plain(labels));
    let parts =
        output.par_chunks_exact(output.len() / images).zip(labels.par_chunks_exact(labels.len() / images));
    parts.map(|(output, labels)| judge(output, labels)).collect()
}

/// The loss of `output` `[n, output::CHANNELS, x, y, z]` for `labels` `[n, targets::CHANNELS, x, y, z]`.
pub(crate) fn spine_loss<B: Backend>(output: Tensor<B, 5>, labels: Tensor<B, 5>) -> Tensor<B, 1> {
    let (device, dims) = (output.device(), output.dims());
    let judged = judge_all(output.clone(), labels);
    let share = 1.0 / judged.len() as f64;
    let loss = judged.iter().map(|image| image.loss).sum::<f64>() * share;
    let gradient: Vec<f32> =
        judged.into_iter().flat_map(|image| image.gradient).map(|slope| slope * share as f32).collect();
    let gradient = Tensor::<B, 5>::from_data(TensorData::new(gradient, dims), &device);
    let linear = (output * gradient).sum();
    let value = linear.clone().detach();
    linear - value + loss
}

/// Dice of the bodies, share of them with the right level, mean distance from the centre in voxels.
pub(crate) fn spine_scores<B: Backend>(output: Tensor<B, 5>, labels: Tensor<B, 5>) -> Scores {
    let judged = judge_all(output, labels);
    let mean = |part: fn(&Judged) -> f64| judged.iter().map(part).sum::<f64>() / judged.len() as f64;
    vec![
        ("dice", mean(|image| image.dice)),
        ("level", mean(|image| image.level)),
        ("offset", mean(|image| image.offset)),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::backend::{Autodiff, Flex};

    /// Six voxels: three of two bodies, one ignored, two background.
    fn example() -> (Vec<f32>, Vec<f32>) {
        let output = (0..output::CHANNELS * 6).map(|index| ((index * 7) % 11) as f32 * 0.3 - 1.5).collect();
        let mut labels = vec![0.0; targets::CHANNELS * 6];
        labels[..6].copy_from_slice(&[1.0, 1.0, 1.0, -1.0, 0.0, 0.0]);
        labels[6..9].copy_from_slice(&[1.0, 1.0, 26.0]);
        labels[12..15].copy_from_slice(&[0.5, 0.5, 1.0]);
        labels[18..21].copy_from_slice(&[0.4, -2.0, 1.5]);
        (output, labels)
    }

    #[test]
    fn the_gradient_is_the_slope_of_the_loss() {
        let (output, labels) = example();
        let judged = judge(&output, &labels);
        for index in 0..output.len() {
            let moved = |step: f32| {
                let mut output = output.clone();
                output[index] += step;
                judge(&output, &labels).loss
            };
            let slope = (moved(1e-2) - moved(-1e-2)) / 2e-2;
            let given = f64::from(judged.gradient[index]);
            assert!((slope - given).abs() < 2e-3, "output {index}: {given} instead of {slope}");
        }
    }

    #[test]
    fn the_differentiated_tensor_has_this_value_and_gradient() {
        let (output, labels) = example();
        let judged = judge(&output, &labels);
        let device = Default::default();
        let tensor = |values: Vec<f32>, channels| {
            Tensor::<Autodiff<Flex>, 5>::from_data(TensorData::new(values, [1, channels, 1, 2, 3]), &device)
        };
        let x = tensor(output, output::CHANNELS).require_grad();
        let loss = spine_loss(x.clone(), tensor(labels, targets::CHANNELS));
        assert!((f64::from(loss.clone().into_scalar()) - judged.loss).abs() < 1e-5);
        let gradient = x.grad(&loss.backward()).map(|values| values.into_data().to_vec::<f32>().unwrap());
        let gradient = gradient.unwrap_or_default();
        assert!(gradient.iter().zip(&judged.gradient).all(|(a, b)| (a - b).abs() < 1e-6));
    }

    #[test]
    fn a_perfect_answer_costs_next_to_nothing_but_the_smoothing() {
        let (_, labels) = example();
        let mut output = vec![0.0; output::CHANNELS * 6];
        for voxel in 0..6 {
            output[voxel] = if labels[voxel] > 0.0 { 20.0 } else { -20.0 };
            for level in 0..LEVELS {
                let off = (level as f32 - (labels[6 + voxel] - 1.0)).abs();
                output[(1 + level) * 6 + voxel] = if off < 1.5 { off * NEIGHBOUR.ln() } else { -20.0 };
            }
            for axis in 0..3 {
                output[(output::OFFSETS.start + axis) * 6 + voxel] = labels[(3 + axis) * 6 + voxel];
            }
        }
        let judged = judge(&output, &labels);
        assert!(judged.level == 1.0 && judged.offset < 1e-6 && judged.dice > 0.999, "{}", judged.dice);
        assert!(judged.loss < 0.4, "{}", judged.loss);
    }
}
