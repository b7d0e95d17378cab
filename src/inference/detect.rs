//! Where vertebral bodies are: overlapping patches of which only the centre is kept (SPEC §8.1).

use anyhow::{Result, ensure};
use ndarray::{Array3, Array5, s};

use crate::network::Predictor;
use crate::progress::Progress;

/// Size of the patches and of the part of each that is kept.
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

    /// Voxels of a patch before its centre begins.
    fn border(&self) -> [usize; 3] {
        std::array::from_fn(|axis| (self.patch[axis] - self.centre[axis]) / 2)
    }

    /// The size the original pads a volume to, as it prints it.
    pub fn padded(&self, shape: [usize; 3]) -> [usize; 3] {
        let border = self.border();
        std::array::from_fn(|axis| (shape[axis] + 2 * border[axis] + self.centre[axis]).saturating_sub(3))
    }

    /// First kept voxel of every patch; together the kept parts cover `shape`. (The original
    /// leaves out the last one or two voxels of some sizes.)
    fn positions(&self, shape: [usize; 3]) -> Vec<[usize; 3]> {
        let along = |axis: usize| (0..shape[axis]).step_by(self.centre[axis]);
        along(0).flat_map(|x| along(1).flat_map(move |y| along(2).map(move |z| [x, y, z]))).collect()
    }
}

/// Marks the voxels of vertebral bodies with 1. `volume` is normalised, `[x, y, z]`.
pub fn detect(
    volume: &Array3<f32>,
    network: &dyn Predictor,
    tiling: &Tiling,
    progress: &Progress,
) -> Result<Array3<u8>> {
    let shape: [usize; 3] = volume.dim().into();
    let border = tiling.border();
    let positions = tiling.positions(shape);
    let mut mask = Array3::zeros(shape);
    progress.start(positions.len(), "detection");
    for position in positions {
        let probabilities = network.predict(patch(volume, position, tiling))?;
        let kept: [usize; 3] =
            std::array::from_fn(|axis| tiling.centre[axis].min(shape[axis] - position[axis]));
        let [x, y, z] = position;
        let mut target = mask.slice_mut(s![x..x + kept[0], y..y + kept[1], z..z + kept[2]]);
        for ([i, j, k], value) in target.indexed_iter_mut().map(|((i, j, k), value)| ([i, j, k], value)) {
            let at = |class| probabilities[[0, class, i + border[0], j + border[1], k + border[2]]];
            *value = u8::from(at(1) > at(0));
        }
        progress.advance(1);
    }
    Ok(mask)
}

/// The patch whose kept part starts at `position`, `[1, 1, x, y, z]`, zeros outside the volume.
fn patch(volume: &Array3<f32>, position: [usize; 3], tiling: &Tiling) -> Array5<f32> {
    let [a, b, c] = tiling.patch;
    let border = tiling.border();
    let mut patch = Array5::zeros((1, 1, a, b, c));
    // Along each axis: where the patch starts in the volume, where the volume starts in the patch.
    let span: [(usize, usize, usize); 3] = std::array::from_fn(|axis| {
        let inside = border[axis].saturating_sub(position[axis]);
        let start = (position[axis] + inside) - border[axis];
        let length = (tiling.patch[axis] - inside).min(volume.shape()[axis] - start);
        (start, inside, length)
    });
    let source = span.map(|(start, _, length)| start..start + length);
    let target = span.map(|(_, inside, length)| inside..inside + length);
    let [sx, sy, sz] = source;
    let [tx, ty, tz] = target;
    patch.slice_mut(s![0, 0, tx, ty, tz]).assign(&volume.slice(s![sx, sy, sz]));
    patch
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::{Architecture, Kind};

    /// Calls a voxel vertebra when its own intensity is positive, so that any slip in cutting or
    /// putting together shows.
    struct Sign;

    impl Predictor for Sign {
        fn architecture(&self) -> Architecture {
            Architecture { kind: Kind::Detection, filters: 1 }
        }

        fn predict(&self, input: Array5<f32>) -> Result<Array5<f32>> {
            let mut output = Array5::zeros((1, 2, input.shape()[2], input.shape()[3], input.shape()[4]));
            output.slice_mut(s![.., 1..2, .., .., ..]).assign(&input);
            Ok(output)
        }
    }

    #[test]
    fn every_voxel_is_visited_once_whatever_the_size() {
        let tiling = Tiling::of([16, 16, 32], [16; 3]).unwrap();
        for shape in [[1, 1, 1], [8, 9, 17], [10, 23, 40], [33, 16, 31]] {
            let volume =
                Array3::from_shape_fn(shape, |(x, y, z)| ((x * 7 + y * 5 + z * 3) % 11) as f32 - 5.0);
            let mask = detect(&volume, &Sign, &tiling, &Progress::silent()).unwrap();
            assert_eq!(mask, volume.mapv(|value| u8::from(value > 0.0)));
        }
    }

    #[test]
    fn the_padded_size_is_the_one_the_original_prints() {
        assert_eq!(Tiling::ORIGINAL.padded([140, 140, 312]), [201, 201, 389]);
    }

    #[test]
    fn a_patch_that_cannot_be_pooled_is_refused() {
        let error = Tiling::of([64, 60, 80], [16; 3]).unwrap_err().to_string();
        assert!(error.contains("64 x 60 x 80") && error.contains("multiples of 16"), "{error}");
    }
}
