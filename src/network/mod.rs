//! The U-Nets, their weights and the files these live in (SPEC §6, §10).

mod architecture;
mod blocks;
mod cpu;
mod input;
pub mod output;
mod predictor;
mod unet;
pub mod weights;

pub use architecture::{Architecture, Kind, LayerShape};
pub use cpu::CpuPredictor;
pub use input::Input;
pub use predictor::{BurnPredictor, Predictor};
pub use unet::Unet;
pub use weights::Weights;
