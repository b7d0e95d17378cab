//! A trained pair of networks applied to a whole volume: mask, then levels.

use std::ops::Range;

use ndarray::{Array3, Axis};

pub mod cutting;
pub mod detect;
pub mod identify;
pub mod network;
pub mod tiling;
pub mod volume;

/// From the first to the last index along an axis where `holds` is true of some voxel; `None` where
/// it is true of none.
fn extent<T>(volume: &Array3<T>, axis: usize, holds: impl Fn(&T) -> bool) -> Option<Range<usize>> {
    let holds = |index: &usize| volume.index_axis(Axis(axis), *index).iter().any(&holds);
    let mut indices = 0..volume.len_of(Axis(axis));
    let first = indices.find(holds)?;
    Some(first..indices.rfind(holds).unwrap_or(first) + 1)
}
