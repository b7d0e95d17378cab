//! Linear resampling to an isotropic grid (docs/original.md §1).

use ndarray::{Array3, Axis, parallel::prelude::*};

use super::Volume;

/// Number of voxels per axis after resampling to `spacing` mm; halves round to even, at least 1.
pub fn resampled_shape(shape: [usize; 3], from: [f64; 3], spacing: f64) -> [usize; 3] {
    std::array::from_fn(|axis| {
        ((shape[axis] as f64 * from[axis] / spacing).round_ties_even() as usize).max(1)
    })
}

/// One output position on one axis: its two neighbours and the weight of the upper one.
#[derive(Clone, Copy)]
struct Tap {
    lower: usize,
    upper: usize,
    weight: f64,
}

/// The taps of an axis; `None` where the output point lies outside the volume.
fn taps(size_in: usize, size_out: usize, step: f64) -> Vec<Option<Tap>> {
    let last = size_in as f64 - 1.0;
    (0..size_out)
        .map(|i| {
            // Both grids share the same centre.
            let position = (i as f64 - (size_out as f64 - 1.0) / 2.0) * step + last / 2.0;
            if !(-0.5..=size_in as f64 - 0.5).contains(&position) {
                return None;
            }
            let position = position.clamp(0.0, last);
            let lower = position.floor() as usize;
            Some(Tap { lower, upper: (lower + 1).min(size_in - 1), weight: position - lower as f64 })
        })
        .collect()
}

/// The volume's voxels on an isotropic grid of `spacing` mm with the same centre, interpolated
/// linearly; points outside the volume are 0 (docs/original.md §1).
pub fn resample(volume: &Volume, spacing: f64) -> Array3<f32> {
    let from = &volume.geometry;
    let shape = resampled_shape(from.shape, from.spacing, spacing);
    let [tx, ty, tz]: [Vec<Option<Tap>>; 3] =
        std::array::from_fn(|axis| taps(from.shape[axis], shape[axis], spacing / from.spacing[axis]));
    let voxels = &volume.voxels;
    let mut output = Array3::zeros(shape);
    output.axis_iter_mut(Axis(0)).into_par_iter().zip(tx.par_iter()).for_each(|(mut plane, x)| {
        let Some(x) = x else { return };
        for (mut row, y) in plane.rows_mut().into_iter().zip(&ty) {
            let Some(y) = y else { continue };
            let corner = |i, j| voxels.slice(ndarray::s![i, j, ..]);
            let rows = [
                corner(x.lower, y.lower),
                corner(x.lower, y.upper),
                corner(x.upper, y.lower),
                corner(x.upper, y.upper),
            ];
            let weights = [
                (1.0 - x.weight) * (1.0 - y.weight),
                (1.0 - x.weight) * y.weight,
                x.weight * (1.0 - y.weight),
                x.weight * y.weight,
            ];
            for (value, z) in row.iter_mut().zip(&tz) {
                let Some(z) = z else { continue };
                let mut sum = 0.0;
                for (source, weight) in rows.iter().zip(weights) {
                    let (lower, upper) = (f64::from(source[z.lower]), f64::from(source[z.upper]));
                    sum += weight * (lower + (upper - lower) * z.weight);
                }
                *value = sum as f32;
            }
        }
    });
    output
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scan::Geometry;

    fn ramp(shape: [usize; 3], spacing: [f64; 3]) -> Volume {
        let voxels = Array3::from_shape_fn(shape, |(x, y, z)| (x + 10 * y + 100 * z) as f32);
        Volume { voxels, geometry: Geometry { shape, spacing, affine: [[0.0; 4]; 3] }, warnings: vec![] }
    }

    #[test]
    fn the_same_spacing_changes_nothing() {
        let volume = ramp([3, 4, 5], [1.0; 3]);
        assert_eq!(resample(&volume, 1.0), volume.voxels);
    }

    #[test]
    fn a_ramp_stays_a_ramp_inside_and_is_clamped_at_the_edge() {
        let volume = ramp([4, 1, 1], [2.0, 1.0, 1.0]);
        let output = resample(&volume, 1.0);
        assert_eq!(
            output.iter().copied().collect::<Vec<_>>(),
            [0.0, 0.25, 0.75, 1.25, 1.75, 2.25, 2.75, 3.0]
        );
    }

    #[test]
    fn points_beyond_the_volume_are_zero() {
        // 3 voxels of 1.5 mm make round(4.5) = 4 voxels of 1 mm, all inside; 5 of 0.5 mm make 2.
        assert_eq!(resampled_shape([3, 5, 1], [1.5, 0.5, 0.1], 1.0), [4, 2, 1]);
        let mut volume = ramp([1, 1, 1], [0.6, 1.0, 1.0]);
        volume.voxels[[0, 0, 0]] = 7.0;
        // One voxel of 0.6 mm on a 0.3 mm grid: both output points are within half a voxel.
        assert_eq!(resample(&volume, 0.3)[[0, 1, 1]], 7.0);
        volume.geometry.spacing = [0.9, 1.0, 1.0];
        let output = resample(&volume, 0.6);
        assert_eq!(output.shape(), [2, 2, 2]);
        assert_eq!(output[[0, 0, 0]], 7.0);
    }
}
