//! From labelled voxels to vertebrae.

mod median;

pub use median::{Thresholds, Vertebra, by_median, hundredth};
