//! What the networks are computed with: their operations as one trait over the backends, burn's own
//! versions for every device, and ours for the CPU.

mod amx;
mod autodiff;
mod backend;
pub mod destination;
pub mod direct;
mod flex;
mod folding;
mod generic;
pub mod isa;
pub mod joined;
pub mod kernel_gradient;
pub mod normalisation;
mod operations;
pub mod packed;
pub(crate) mod pairs;
pub mod planes;
pub(crate) mod pooling;
#[cfg(test)]
mod reference;
pub mod simd;

#[cfg(test)]
pub(crate) use reference::noise;

pub use backend::{AdamStep, Frozen, KernelBackend, Normalised};
pub use operations::{
    convolve, convolve_joined, flat, fold, from_flat, normalise, pool, probability, rescale,
};
