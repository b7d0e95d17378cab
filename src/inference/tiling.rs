//! How a volume is cut into the tiles that the detection network sees.

use std::ops::Range;

use anyhow::{Result, ensure};
use ndarray::Array3;

use super::extent;
use crate::network::Predictor;
use crate::progress::Stage;

/// What is brighter than this holds more than air, in Hounsfield units.
pub(crate) const AIR: f64 = -500.0;
/// Voxels of context around what is kept of a wide tile, where it does not end at the scan's edge.
const CONTEXT: usize = 12;
/// Parts an axis is cut into at most.
const PARTS: usize = 64;
/// The smallest tile that is asked of a network, however little memory there is: the original's.
const LEAST: usize = 64 * 64 * 80;

/// Overlapping tiles of which only the middle is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tiling {
    /// What the network sees, in voxels.
    pub patch: [usize; 3],
    /// What is kept of its output, in the middle.
    pub centre: [usize; 3],
}

impl Tiling {
    /// The original's patches.
    pub const ORIGINAL: Tiling = Tiling { patch: [64, 64, 80], centre: [32, 32, 40] };

    /// The tiling with another patch; half of it is kept along each axis.
    pub fn of(patch: [usize; 3], granularity: [usize; 3]) -> Result<Tiling> {
        for axis in 0..3 {
            ensure!(
                patch[axis] > 0 && patch[axis].is_multiple_of(granularity[axis].max(4)),
                "a patch of {} voxels cannot be pooled four times; use multiples of {}",
                patch.map(|size| size.to_string()).join(" x "),
                granularity[axis].max(4)
            );
        }
        Ok(Tiling { patch, centre: patch.map(|size| size / 2) })
    }

    /// What an observer is told of detection with these tiles.
    pub fn stage(&self, shape: [usize; 3]) -> Stage {
        Stage::Detection { patch: self.patch, kept: self.centre, shape, padded: self.padded(shape) }
    }

    /// The cheapest tiles of at most `voxels` for a region of this size: each axis is cut into equal
    /// parts, and a part that is not the whole axis sees its neighbours' edges. To compute a voxel
    /// costs about as much as to use its memory for the first time, so the price of a tiling is that
    /// of all its tiles and of one more.
    fn cheapest(size: [usize; 3], voxels: usize, granularity: [usize; 3]) -> Tiling {
        let options: [Vec<(usize, Tiled)>; 3] = std::array::from_fn(|axis| {
            let most = size[axis].div_ceil(granularity[axis]).min(PARTS);
            (1..=most).map(|parts| (parts, Tiled::of(size[axis], parts, granularity[axis]))).collect()
        });
        let mut best: Option<((usize, usize), [Tiled; 3])> = None;
        for (x, a) in &options[0] {
            for (y, b) in &options[1] {
                for (z, c) in &options[2] {
                    let tile = a.patch * b.patch * c.patch;
                    let all = tile * x * y * z;
                    // Tiles that are too large are taken where there are no others.
                    let price = (tile.saturating_sub(voxels), all + tile);
                    if best.is_none_or(|(least, _)| price < least) {
                        best = Some((price, [*a, *b, *c]));
                    }
                }
            }
        }
        let axes = best.map_or([Tiled { patch: 16, centre: 16 }; 3], |(_, axes)| axes);
        Tiling { patch: axes.map(|axis| axis.patch), centre: axes.map(|axis| axis.centre) }
    }

    /// Voxels of a patch before its centre begins.
    pub(super) fn border(&self) -> [usize; 3] {
        std::array::from_fn(|axis| (self.patch[axis] - self.centre[axis]) / 2)
    }

    /// The size the original pads a volume to, as it prints it.
    pub fn padded(&self, shape: [usize; 3]) -> [usize; 3] {
        let border = self.border();
        std::array::from_fn(|axis| (shape[axis] + 2 * border[axis] + self.centre[axis]).saturating_sub(3))
    }
}

/// One axis of a tile.
#[derive(Clone, Copy, Debug)]
struct Tiled {
    patch: usize,
    centre: usize,
}

impl Tiled {
    fn of(size: usize, parts: usize, granularity: usize) -> Tiled {
        let centre = size.div_ceil(parts);
        let context = if parts > 1 { 2 * CONTEXT } else { 0 };
        let patch = (centre + context).div_ceil(granularity) * granularity;
        // What rounding added is kept: fewer parts may then be needed.
        Tiled { patch, centre: patch - context }
    }
}

/// The tiles of one volume.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Size of the tiles.
    pub tiling: Tiling,
    /// The part of the volume that they cover, voxels of each axis.
    pub region: [Range<usize>; 3],
    /// Tiles with no voxel above this are not computed.
    pub air: Option<f32>,
}

impl Plan {
    /// The original's way: the whole volume in patches of one size.
    pub fn exact(tiling: Tiling, shape: [usize; 3]) -> Plan {
        Plan { tiling, region: shape.map(|size| 0..size), air: None }
    }

    /// As few and large tiles as `bytes` of memory allow, over the part of the volume that is not
    /// air, which is anything up to `air`.
    pub fn wide(volume: &Array3<f32>, air: f32, network: &dyn Predictor, bytes: usize) -> Plan {
        let region = std::array::from_fn(|axis| extent(volume, axis, |&value| value > air).unwrap_or(0..1));
        let size = [0, 1, 2].map(|axis: usize| -> usize { Range::len(&region[axis]) });
        let voxels = (bytes / network.bytes_per_voxel()).max(LEAST);
        let tiling = Tiling::cheapest(size, voxels, network.architecture().granularity());
        Plan { tiling, region, air: Some(air) }
    }

    /// First kept voxel of every tile; together the kept parts cover the region. (The original
    /// leaves out the last one or two voxels of some sizes.)
    pub(super) fn positions(&self) -> Vec<[usize; 3]> {
        let along = |axis: usize| self.region[axis].clone().step_by(self.tiling.centre[axis]);
        along(0).flat_map(|x| along(1).flat_map(move |y| along(2).map(move |z| [x, y, z]))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_padded_size_is_the_one_the_original_prints() {
        assert_eq!(Tiling::ORIGINAL.padded([140, 140, 312]), [201, 201, 389]);
    }

    #[test]
    fn a_patch_that_cannot_be_pooled_is_refused() {
        let error = Tiling::of([64, 60, 80], [16; 3]).unwrap_err().to_string();
        assert!(error.contains("64 x 60 x 80") && error.contains("multiples of 16"), "{error}");
    }

    #[test]
    fn wide_tiles_fit_their_memory_and_compute_little_twice() {
        for size in [[144, 172, 400], [512, 512, 600], [170, 170, 258], [40, 30, 20]] {
            for voxels in [LEAST, 3_000_000, 12_000_000] {
                let tiling = Tiling::cheapest(size, voxels, [16; 3]);
                let tile: usize = tiling.patch.iter().product();
                assert!(tile <= voxels, "{size:?} in {tiling:?}");
                assert!(tiling.patch.iter().all(|size| size.is_multiple_of(16)));
                let tiles: usize =
                    (0..3).map(|axis| usize::div_ceil(size[axis], tiling.centre[axis])).product();
                let (computed, needed) = (tiles * tile, size.iter().product::<usize>());
                if voxels > LEAST && needed > 1_000_000 {
                    assert!(computed < needed * 19 / 10, "{size:?} in {tiling:?}: {computed} for {needed}");
                }
            }
        }
    }
}
