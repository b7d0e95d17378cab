//! From labelled voxels or candidate bodies to vertebrae.

pub mod bodies;
mod median;
pub mod sequence;

pub use median::{Thresholds, Vertebra, by_median, hundredth};
