//! How large the pieces of a scan are that networks of patches and slabs see at once.

use ndarray::Array3;

use super::identify::Slices;
use super::tiling::{AIR, Plan, Tiling};
use crate::network::Predictor;
use crate::scan::Scale;

/// How scans are cut up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cutting {
    /// The original's overlapping patches and whole slices.
    Exact(Tiling),
    /// Tiles as large as so many bytes of memory allow, none of them air, and slices cropped to the
    /// spine.
    Wide(u64),
}

impl Cutting {
    /// The tiles of a normalised volume; the detector and the identifier are in memory beside it.
    pub fn plan(
        &self,
        volume: &Array3<f32>,
        scale: Scale,
        [detector, identifier]: [&dyn Predictor; 2],
    ) -> Plan {
        match *self {
            Cutting::Exact(tiling) => Plan::exact(tiling, volume.dim().into()),
            Cutting::Wide(memory) => {
                // The volume itself, its mask and its levels.
                let held = volume.len() * 6 + detector.bytes() + identifier.bytes();
                // A tenth is left to everything that nobody counts.
                let free = (memory as usize / 10 * 9).saturating_sub(held);
                Plan::wide(volume, scale.of(AIR), detector, free)
            }
        }
    }

    /// The slices of a volume with voxels of `spacing` mm.
    pub fn slices(&self, spacing: f64) -> Slices {
        match self {
            Cutting::Exact(_) => Slices::Whole,
            Cutting::Wide(_) => Slices::wide(spacing),
        }
    }
}
