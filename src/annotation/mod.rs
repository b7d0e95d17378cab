//! Vertebra centroids on disk and in memory.

mod annotated;
mod fiducials;
pub mod landmark;
pub mod lml;
pub mod markups;
pub mod prediction;
mod table;
pub mod verse;

pub use self::annotated::Annotated;

use crate::anatomy::Level;

/// The centre of a vertebral body.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize)]
pub struct Centroid {
    /// Which vertebra.
    pub level: Level,
    /// Millimetres from the first voxel along the axes of the volume it belongs to.
    pub mm: [f64; 3],
}
