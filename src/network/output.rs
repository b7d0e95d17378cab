//! The channels that a network of whole volumes answers with, and what logits mean.

use std::ops::Range;

use crate::anatomy::Level;

/// Logit of belonging to a vertebral body.
pub(crate) const BODY: usize = 0;
/// Logits of the level values 1 … 26, given a body.
pub const LEVELS: Range<usize> = 1..1 + Level::MAX_VALUE as usize;
/// The way to the body's centre along x, y, z, in voxels.
pub(crate) const OFFSETS: Range<usize> = LEVELS.end..LEVELS.end + 3;
/// All of them.
pub(crate) const CHANNELS: usize = OFFSETS.end;

/// Probability of a logit.
pub(crate) fn sigmoid(logit: f32) -> f32 {
    1.0 / (1.0 + (-logit).exp())
}

/// Logits → probabilities, in place.
pub(crate) fn softmax(values: &mut [f32]) {
    let largest = values.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    values.iter_mut().for_each(|value| *value = (*value - largest).exp());
    let sum: f32 = values.iter().sum();
    values.iter_mut().for_each(|value| *value /= sum);
}
