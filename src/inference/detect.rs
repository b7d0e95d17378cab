//! Where vertebral bodies are: overlapping patches of which only the centre is kept (docs/original.md §8.1).

use anyhow::Result;
use ndarray::{Array3, Array5, s};

use super::tiling::{Plan, Tiling};
use crate::network::Predictor;
use crate::progress::Observer;

/// Marks the voxels of vertebral bodies with 1. `volume` is normalised, `[x, y, z]`.
pub fn detect(
    volume: &Array3<f32>,
    network: &dyn Predictor,
    plan: &Plan,
    observer: &mut dyn Observer,
) -> Result<Array3<u8>> {
    let tiling = &plan.tiling;
    let border = tiling.border();
    let positions = plan.positions();
    let mut mask = Array3::zeros(volume.dim());
    observer.begins(tiling.stage(volume.dim().into()), positions.len())?;
    for position in positions {
        let patch = patch(volume, position, tiling);
        if plan.air.is_some_and(|air| patch.iter().all(|&value| value <= air)) {
            observer.advances(1);
            continue;
        }
        let probabilities = network.predict(patch)?;
        let end: [usize; 3] =
            std::array::from_fn(|axis| (position[axis] + tiling.centre[axis]).min(plan.region[axis].end));
        let [x, y, z] = position;
        let mut target = mask.slice_mut(s![x..end[0], y..end[1], z..end[2]]);
        for ([i, j, k], value) in target.indexed_iter_mut().map(|((i, j, k), value)| ([i, j, k], value)) {
            let at = |class| probabilities[[0, class, i + border[0], j + border[1], k + border[2]]];
            *value = u8::from(at(1) > at(0));
        }
        observer.advances(1);
    }
    network.rest();
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

    fn noise(shape: [usize; 3]) -> Array3<f32> {
        Array3::from_shape_fn(shape, |(x, y, z)| ((x * 7 + y * 5 + z * 3) % 11) as f32 - 5.0)
    }

    #[test]
    fn every_voxel_is_visited_once_whatever_the_size() {
        let tiling = Tiling::of([16, 16, 32], [16; 3]).unwrap();
        for shape in [[1, 1, 1], [8, 9, 17], [10, 23, 40], [33, 16, 31]] {
            let volume = noise(shape);
            let plan = Plan::exact(tiling, shape);
            let mask = detect(&volume, &Sign, &plan, &mut ()).unwrap();
            assert_eq!(mask, volume.mapv(|value| u8::from(value > 0.0)));
        }
    }

    #[test]
    fn wide_tiles_cover_all_that_is_not_air() {
        for shape in [[1, 1, 1], [33, 16, 31], [150, 130, 140]] {
            let mut volume = Array3::from_elem(shape, -9.0f32);
            let mut body = volume.slice_mut(s![..shape[0].div_ceil(2), .., shape[2] / 3..]);
            let inside = noise(body.dim().into());
            body.assign(&inside);
            let plan = Plan::wide(&volume, -8.0, &Sign, 0);
            assert!(shape[0] == 1 || plan.region[0].end < shape[0]);
            let mask = detect(&volume, &Sign, &plan, &mut ()).unwrap();
            assert_eq!(mask, volume.mapv(|value| u8::from(value > 0.0)));
        }
    }
}
