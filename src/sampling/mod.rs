//! From annotated scans to training samples: dense labellings, patches and slabs.

mod deformation;
pub mod labelling;
pub mod npy;
mod padding;
pub mod patches;
pub mod random;
pub mod slabs;

pub use deformation::Deformation;
pub use padding::padded;
