//! A trained pair of networks applied to a whole volume: mask, then levels.

pub mod detect;
pub mod identify;
pub mod tiling;
