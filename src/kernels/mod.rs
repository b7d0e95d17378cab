//! Convolutions as one trait over the backends, so that the CPU may bring its own.

mod autodiff;
mod convolution;
pub mod direct;
pub mod kernel_gradient;
pub mod planes;
#[cfg(test)]
mod reference;
pub mod simd;

pub use convolution::{ConvBackend, convolve};
