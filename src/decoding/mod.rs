//! From labelled voxels or candidate bodies to vertebrae.

pub mod bodies;
pub mod candidate;
mod median;
pub mod runs;
pub mod sequence;

pub use median::{Thresholds, Vertebra, by_median, hundredth};
