//! A volume on an isotropic grid, in whole Hounsfield units.

use ndarray::Array3;

use std::ops::Range;

use crate::scan::{Grid, Volume, reduce_part};

/// Intensity of what no scanner has seen, in Hounsfield units: the darkest air.
pub const UNSEEN: f32 = -1024.0;

/// Hounsfield units on an isotropic grid, `[x, y, z]` in LPS order.
#[derive(Clone, Debug)]
pub struct Even {
    /// Whole Hounsfield units, from air to metal.
    pub voxels: Array3<i16>,
    /// Where the voxels lie, in mm from the first voxel of the volume they were made of.
    pub grid: Grid,
}

impl Even {
    /// A volume resampled to `spacing` mm, finer voxels averaged.
    pub fn of(volume: &Volume, spacing: f64) -> Even {
        Even::part(volume, &volume.geometry.shape.map(|size| 0..size), spacing)
    }

    /// The same of some of its voxels; nothing is seen elsewhere.
    pub fn part(volume: &Volume, part: &[Range<usize>; 3], spacing: f64) -> Even {
        let (voxels, grid) = reduce_part(volume, part, spacing);
        Even { voxels: voxels.mapv(|value| value.round().clamp(UNSEEN, 4095.0) as i16), grid }
    }

    /// The volume turned over along some axes, as if its header said the opposite.
    pub(crate) fn flipped(&self, axes: [bool; 3]) -> Even {
        let mut view = self.voxels.view();
        for (axis, _) in axes.iter().enumerate().filter(|(_, flipped)| **flipped) {
            view.invert_axis(ndarray::Axis(axis));
        }
        Even { voxels: view.as_standard_layout().into_owned(), grid: self.grid }
    }

    /// Where a point in mm lies after [`Even::flipped`].
    pub(crate) fn flip(&self, axes: [bool; 3], mm: [f64; 3]) -> [f64; 3] {
        std::array::from_fn(|axis| {
            let last = (self.grid.shape[axis] as f64 - 1.0) * self.grid.spacing;
            if axes[axis] { 2.0 * self.grid.origin[axis] + last - mm[axis] } else { mm[axis] }
        })
    }

    /// The intensity at a voxel index, linear between voxels; [`UNSEEN`] outside.
    #[inline]
    pub fn at(&self, index: [f32; 3]) -> f32 {
        let shape = self.grid.shape;
        let mut low = [0usize; 3];
        let mut part = [0f32; 3];
        for axis in 0..3 {
            let value = index[axis];
            // Not-a-number fails both.
            if !(value >= 0.0 && value <= (shape[axis] - 1) as f32) {
                return UNSEEN;
            }
            low[axis] = (value as usize).min(shape[axis].saturating_sub(2));
            part[axis] = value - low[axis] as f32;
        }
        let (rows, columns) = (shape[1] * shape[2], shape[2]);
        let Some(voxels) = self.voxels.as_slice() else { return UNSEEN };
        let first = low[0] * rows + low[1] * columns + low[2];
        let step = |axis: usize, stride: usize| if shape[axis] > 1 { stride } else { 0 };
        let (dx, dy, dz) = (step(0, rows), step(1, columns), step(2, 1));
        let along = |start: usize| {
            let (a, b) = (f32::from(voxels[start]), f32::from(voxels[start + dz]));
            a + (b - a) * part[2]
        };
        let plane = |start: usize| {
            let (a, b) = (along(start), along(start + dy));
            a + (b - a) * part[1]
        };
        let (a, b) = (plane(first), plane(first + dx));
        a + (b - a) * part[0]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn between_voxels_intensities_are_linear_and_outside_nothing_is_seen() {
        let voxels = Array3::from_shape_fn((3, 4, 1), |(x, y, _)| (10 * x + 100 * y) as i16);
        let grid = Grid { shape: [3, 4, 1], spacing: 1.0, origin: [0.0; 3] };
        let even = Even { voxels, grid };
        assert_eq!(even.at([1.5, 0.25, 0.0]), 40.0);
        let over = even.flipped([true, false, false]);
        assert_eq!(
            (over.at([0.5, 0.25, 0.0]), even.flip([true, false, false], [1.5, 0.25, 0.0])),
            (40.0, [0.5, 0.25, 0.0])
        );
        assert_eq!(even.at([2.0, 3.0, 0.0]), 320.0);
        for outside in [[-0.1, 0.0, 0.0], [0.0, 3.1, 0.0], [0.0, 0.0, 0.5], [f32::NAN, 0.0, 0.0]] {
            assert_eq!(even.at(outside), UNSEEN);
        }
    }
}
