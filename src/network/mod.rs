//! The networks, their weights and the files these live in (docs/original.md §6, §10).

mod architecture;
mod blocks;
mod cpu;
mod input;
pub mod output;
mod predictor;
mod strip;
mod strip_predictor;
mod unet;
pub mod weights;

pub use architecture::{Architecture, Kind, LayerShape};
pub use cpu::CpuPredictor;
pub use input::{Input, Windows};
pub use predictor::{BurnPredictor, Predictor};
#[cfg(test)]
pub(crate) use strip::tests as strip_tests;
pub use strip::{Dropout, Reading, Strip, StripArchitecture, StripInput};
pub(crate) use strip_predictor::padded;
pub use strip_predictor::{BurnStrip, StripPredictor};
pub use unet::Unet;
pub use weights::{ModelError, StripWeights, Weights};
