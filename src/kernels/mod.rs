//! Convolutions as one trait over the backends, so that the CPU may bring its own.

mod autodiff;
mod convolution;

pub use convolution::{ConvBackend, convolve};
