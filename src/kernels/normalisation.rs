//! Batch normalisation with a ReLU, forward and backward, in as few passes as its sums allow.
//!
//! Values are `[image, channel, voxel]`. Sums run per image and channel, so that a result does not
//! depend on the number of threads.

use rayon::prelude::*;

/// Partial sums kept side by side, so that the compiler can use vectors.
const LANES: usize = 16;

/// Sum of `term` over `values` in double precision at the end of every short run.
fn sum(values: &[f32], term: impl Fn(f32) -> f32) -> f64 {
    const RUN: usize = 64 * LANES;
    values
        .chunks(RUN)
        .map(|run| {
            let mut lanes = [0.0f32; LANES];
            let chunks = run.chunks_exact(LANES);
            let rest: f32 = chunks.remainder().iter().map(|&value| term(value)).sum();
            for chunk in chunks {
                for (lane, &value) in lanes.iter_mut().zip(chunk) {
                    *lane += term(value);
                }
            }
            f64::from(lanes.iter().sum::<f32>() + rest)
        })
        .sum()
}

/// Adds up what `of` gives for every image and channel, per channel.
fn per_channel<const N: usize>(
    images: usize,
    channels: usize,
    of: impl Fn(usize, usize) -> [f64; N] + Sync,
) -> Vec<[f64; N]> {
    let parts: Vec<[f64; N]> =
        (0..images * channels).into_par_iter().map(|index| of(index, index % channels)).collect();
    (0..channels)
        .map(|channel| {
            let mut sums = [0.0; N];
            for image in 0..images {
                for (sum, part) in sums.iter_mut().zip(parts[image * channels + channel]) {
                    *sum += part;
                }
            }
            sums
        })
        .collect()
}

/// The sum of every channel.
pub(crate) fn channel_sums(values: &[f32], images: usize, channels: usize) -> Vec<f32> {
    let voxels = values.len() / (images * channels);
    per_channel(images, channels, |index, _| [sum(&values[index * voxels..][..voxels], |value| value)])
        .into_iter()
        .map(|[sum]| sum as f32)
        .collect()
}

/// Mean and population variance of every channel.
pub fn statistics(values: &[f32], images: usize, channels: usize) -> (Vec<f32>, Vec<f32>) {
    let voxels = values.len() / (images * channels);
    let count = (images * voxels) as f64;
    let part = |index: usize| &values[index * voxels..][..voxels];
    let mean: Vec<f32> = per_channel(images, channels, |index, _| [sum(part(index), |value| value)])
        .into_iter()
        .map(|[sum]| (sum / count) as f32)
        .collect();
    let variance = per_channel(images, channels, |index, channel| {
        let mean = mean[channel];
        [sum(part(index), |value| (value - mean) * (value - mean))]
    });
    let variance = variance.into_iter().map(|[sum]| (sum / count) as f32).collect();
    (mean, variance)
}

/// Factor and offset of every channel that normalise with the given statistics.
pub(crate) fn scales(
    gamma: &[f32],
    beta: &[f32],
    mean: &[f32],
    variance: &[f32],
    epsilon: f64,
) -> Vec<[f32; 2]> {
    (0..gamma.len())
        .map(|channel| {
            let factor = f64::from(gamma[channel]) / (f64::from(variance[channel]) + epsilon).sqrt();
            let offset = f64::from(beta[channel]) - f64::from(mean[channel]) * factor;
            [factor as f32, offset as f32]
        })
        .collect()
}

/// Every value times its channel's factor plus its offset, then a ReLU if `rectified`.
pub(crate) fn apply(values: &[f32], images: usize, scales: &[[f32; 2]], rectified: bool) -> Vec<f32> {
    let mut output = vec![0.0; values.len()];
    let floor = if rectified { 0.0 } else { f32::NEG_INFINITY };
    let voxels = values.len() / (images * scales.len());
    output.par_chunks_mut(voxels).zip(values.par_chunks(voxels)).enumerate().for_each(
        |(index, (output, values))| {
            let [factor, offset] = scales[index % scales.len()];
            for (output, value) in output.iter_mut().zip(values) {
                *output = (value * factor + offset).max(floor);
            }
        },
    );
    output
}

/// What the backward pass needs.
pub(crate) struct Backward<'a> {
    /// Input of the forward pass.
    pub x: &'a [f32],
    /// Gradient of its output.
    pub gradient: &'a [f32],
    /// Scale of each channel.
    pub gamma: &'a [f32],
    /// Offset of each channel.
    pub beta: &'a [f32],
    /// Mean of the batch.
    pub mean: &'a [f32],
    /// Variance of the batch.
    pub variance: &'a [f32],
    /// Images in the batch.
    pub images: usize,
    /// Added to the variance.
    pub epsilon: f64,
    /// Whether a ReLU followed.
    pub rectified: bool,
}

impl Backward<'_> {
    /// The gradients of input, gamma and beta.
    pub fn compute(&self) -> (Vec<f32>, Vec<f32>, Vec<f32>) {
        let channels = self.gamma.len();
        let voxels = self.x.len() / (self.images * channels);
        let count = (self.images * voxels) as f64;
        let scales = scales(self.gamma, self.beta, self.mean, self.variance, self.epsilon);
        let inverse: Vec<f32> =
            self.variance.iter().map(|&v| (1.0 / (f64::from(v) + self.epsilon).sqrt()) as f32).collect();
        // A rectified voxel that was cut off passes no gradient on.
        let floor = if self.rectified { 0.0 } else { f32::NEG_INFINITY };
        let sums = per_channel(self.images, channels, |index, channel| {
            let range = index * voxels..(index + 1) * voxels;
            let (x, gradient) = (&self.x[range.clone()], &self.gradient[range]);
            let ([factor, offset], mean) = (scales[channel], self.mean[channel]);
            let mut totals = [0.0f64; 2];
            for (x, gradient) in x.chunks(64 * LANES).zip(gradient.chunks(64 * LANES)) {
                let mut lanes = [[0.0f32; LANES]; 2];
                for (x, gradient) in x.chunks(LANES).zip(gradient.chunks(LANES)) {
                    for (lane, (&x, &gradient)) in x.iter().zip(gradient).enumerate() {
                        let passed = if x * factor + offset > floor { gradient } else { 0.0 };
                        lanes[0][lane] += passed;
                        lanes[1][lane] += passed * (x - mean);
                    }
                }
                for (total, lanes) in totals.iter_mut().zip(lanes) {
                    *total += f64::from(lanes.iter().sum::<f32>());
                }
            }
            [totals[0], totals[1] * f64::from(inverse[channel])]
        });
        let mut to_x = vec![0.0; self.x.len()];
        to_x.par_chunks_mut(voxels).enumerate().for_each(|(index, output)| {
            let channel = index % channels;
            let range = index * voxels..(index + 1) * voxels;
            let [to_beta, to_gamma] = sums[channel];
            let ([factor, offset], mean) = (scales[channel], self.mean[channel]);
            // dx = factor · (g − Σg / n − x̂ · Σ(g · x̂) / n), with x̂ = (x − mean) · inverse.
            let constant = (to_beta / count) as f32;
            let slope = (to_gamma / count * f64::from(inverse[channel])) as f32;
            let (x, gradient) = (&self.x[range.clone()], &self.gradient[range]);
            for ((output, &x), &gradient) in output.iter_mut().zip(x).zip(gradient) {
                let passed = if x * factor + offset > floor { gradient } else { 0.0 };
                *output = factor * (passed - constant - (x - mean) * slope);
            }
        });
        let to_gamma = sums.iter().map(|sums| sums[1] as f32).collect();
        let to_beta = sums.iter().map(|sums| sums[0] as f32).collect();
        (to_x, to_gamma, to_beta)
    }
}
