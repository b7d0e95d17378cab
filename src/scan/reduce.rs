//! Resampling to voxels of another size without aliasing.

use std::ops::Range;

use ndarray::{Array3, ArrayView3, Axis, Zip, parallel::prelude::*, s};

use super::{Volume, resampled_shape};

/// An isotropic grid that shares its centre with a volume's own.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Grid {
    /// Number of voxels along each axis.
    pub shape: [usize; 3],
    /// Distance of neighbouring voxels in mm.
    pub spacing: f64,
    /// The first voxel, in mm from the volume's first voxel.
    pub origin: [f64; 3],
}

impl Grid {
    /// The grid of `spacing` mm over a volume.
    pub fn over(volume: &Volume, spacing: f64) -> Grid {
        let from = &volume.geometry;
        let shape = resampled_shape(from.shape, from.spacing, spacing);
        let extent = from.extent();
        let origin = std::array::from_fn(|axis| (extent[axis] - (shape[axis] as f64 - 1.0) * spacing) / 2.0);
        Grid { shape, spacing, origin }
    }

    /// Voxel index of a point in mm from the volume's first voxel.
    pub fn index(&self, mm: [f64; 3]) -> [f64; 3] {
        std::array::from_fn(|axis| (mm[axis] - self.origin[axis]) / self.spacing)
    }

    /// Millimetres from the volume's first voxel of a voxel index.
    pub fn mm(&self, index: [f64; 3]) -> [f64; 3] {
        std::array::from_fn(|axis| self.origin[axis] + index[axis] * self.spacing)
    }
}

/// Hounsfield units below which nothing is measured: scanners fill what they have not seen with
/// -2000 or -3024, which must not darken the means beside it.
const AIR: f32 = -1024.0;

/// The voxels that one output position takes, and how much of each.
struct Taps {
    first: usize,
    weights: Vec<f32>,
}

/// A tent over each output position, as wide as the coarser of the two grids.
fn taps(size_in: usize, size_out: usize, step: f64, start: f64) -> Vec<Taps> {
    let half = step.max(1.0);
    let last = size_in as f64 - 1.0;
    (0..size_out)
        .map(|i| {
            let position = (start + i as f64 * step).clamp(0.0, last);
            let first = (position - half).floor().max(0.0) as usize;
            let end = (position + half).ceil().min(last) as usize;
            let weight = |index: usize| (1.0 - (index as f64 - position).abs() / half).max(0.0);
            let sum: f64 = (first..=end).map(weight).sum();
            Taps { first, weights: (first..=end).map(|index| (weight(index) / sum) as f32).collect() }
        })
        .collect()
}

/// The volume's voxels on an isotropic grid of `spacing` mm: means weighted by a tent where the grid
/// is coarser than the volume, linear interpolation where it is finer. Nothing is darker than air.
pub fn reduce(volume: &Volume, spacing: f64) -> (Array3<f32>, Grid) {
    reduce_part(volume, &volume.geometry.shape.map(|size| 0..size), spacing)
}

/// The same of some of the volume's voxels; the grid still counts from the volume's first one.
pub fn reduce_part(volume: &Volume, part: &[Range<usize>; 3], spacing: f64) -> (Array3<f32>, Grid) {
    let from = volume.geometry.spacing;
    let size: [usize; 3] = std::array::from_fn(|axis| part[axis].len());
    let shape = resampled_shape(size, from, spacing);
    // Of the grid's first voxel from the part's, in mm.
    let start: [f64; 3] = std::array::from_fn(|axis| {
        (size[axis].saturating_sub(1) as f64 * from[axis] - (shape[axis] as f64 - 1.0) * spacing) / 2.0
    });
    let origin = std::array::from_fn(|axis| start[axis] + part[axis].start as f64 * from[axis]);
    let grid = Grid { shape, spacing, origin };
    let along = |axis: usize| taps(size[axis], shape[axis], spacing / from[axis], start[axis] / from[axis]);
    let [a, b, c] = part.clone();
    // Whole planes first: every pass leaves less to the next.
    let x = planes(volume.voxels.slice(s![a, b, c]), &along(0));
    let turned = x.view().permuted_axes([1, 0, 2]);
    let y = planes(turned, &along(1));
    drop(x);
    let turned = y.view().permuted_axes([2, 0, 1]);
    let z = planes(turned, &along(2));
    // [z, y, x] → [x, y, z].
    (z.permuted_axes([2, 1, 0]).as_standard_layout().into_owned(), grid)
}

/// Weighted sums of planes along the first axis.
fn planes(voxels: ArrayView3<f32>, taps: &[Taps]) -> Array3<f32> {
    let (_, rows, columns) = voxels.dim();
    let mut output = Array3::zeros((taps.len(), rows, columns));
    output.axis_iter_mut(Axis(0)).into_par_iter().zip(taps).for_each(|(mut plane, taps)| {
        for (offset, &weight) in taps.weights.iter().enumerate() {
            let source = voxels.index_axis(Axis(0), taps.first + offset);
            Zip::from(&mut plane).and(&source).for_each(|sum, &value| *sum += weight * value.max(AIR));
        }
    });
    output
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scan::Geometry;

    fn ramp(shape: [usize; 3], spacing: [f64; 3]) -> Volume {
        let voxels = Array3::from_shape_fn(shape, |(x, y, z)| {
            (x as f64 * spacing[0] + 10.0 * y as f64 * spacing[1] + 100.0 * z as f64 * spacing[2]) as f32
        });
        Volume { voxels, geometry: Geometry { shape, spacing, affine: [[0.0; 4]; 3] }, warnings: vec![] }
    }

    #[test]
    fn a_ramp_stays_a_ramp_coarser_and_finer() {
        let volume = ramp([41, 23, 30], [0.7, 2.0, 1.3]);
        for spacing in [4.0, 1.0] {
            let (reduced, grid) = reduce(&volume, spacing);
            let [a, b, c] = grid.shape.map(|size| size / 2);
            let [x, y, z] = grid.mm([a as f64, b as f64, c as f64]);
            let expected = x + 10.0 * y + 100.0 * z;
            let value = f64::from(reduced[[a, b, c]]);
            assert!((value - expected).abs() < 0.02 * expected, "{value} instead of {expected}");
            assert_eq!(grid.index(grid.mm([3.0, 1.0, 2.5])), [3.0, 1.0, 2.5]);
        }
    }

    #[test]
    fn a_part_lies_where_it_lies_in_the_whole() {
        let volume = ramp([41, 23, 30], [0.7, 2.0, 1.3]);
        let (reduced, grid) = reduce_part(&volume, &[10..40, 4..20, 3..30], 1.5);
        let [x, y, z] = grid.mm([5.0, 4.0, 9.0]);
        let expected = x + 10.0 * y + 100.0 * z;
        let value = f64::from(reduced[[5, 4, 9]]);
        assert!((value - expected).abs() < 0.01 * expected, "{value} instead of {expected}");
    }

    #[test]
    fn padding_counts_as_air() {
        let mut volume = ramp([8, 8, 8], [1.0; 3]);
        volume.voxels.fill(-3024.0);
        assert!(reduce(&volume, 4.0).0.iter().all(|&value| (value + 1024.0).abs() < 1e-3));
    }

    #[test]
    fn noise_is_averaged_and_not_picked() {
        let mut volume = ramp([64, 64, 64], [1.0; 3]);
        volume.voxels =
            Array3::from_shape_fn((64, 64, 64), |(x, y, z)| if (x + y + z) % 2 == 0 { 9.0 } else { -9.0 });
        let (reduced, _) = reduce(&volume, 4.0);
        assert!(reduced.iter().all(|value| value.abs() < 1.0));
    }
}
