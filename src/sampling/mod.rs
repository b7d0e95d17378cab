//! From annotated scans to training samples: dense labellings, patches and slabs.

pub(crate) mod augmentation;
mod deformation;
pub mod labelling;
pub mod npy;
mod padding;
pub mod patches;
pub mod record;
pub mod slabs;
pub mod targets;

pub use deformation::Deformation;
pub use padding::padded;
