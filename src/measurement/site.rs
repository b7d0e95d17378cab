//! Where a vertebral body stands, and the scan around it along its own axes.

use ndarray::{Array2, Array3, Axis};

use super::edge::Way;
use crate::scan::{Geometry, Volume};

/// Millimetres between the samples of a block: finer than most voxels, so that edges are found between them.
pub(crate) const PITCH: f64 = 0.75;

/// A point with axes: to the patient's left, to the back and to the head, each of length 1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Site {
    /// In mm from the volume's first voxel, LPS.
    pub centre: [f64; 3],
    /// Left, back, up.
    pub axes: [[f64; 3]; 3],
}

impl Site {
    /// A site whose `up` is the given one and whose `left` lies as near to the patient's as can be. `None` where that
    /// runs sideways: no vertebra stands so.
    pub fn standing(centre: [f64; 3], up: [f64; 3]) -> Option<Site> {
        let up = unit(up)?;
        let left = unit(std::array::from_fn(|axis| f64::from(axis == 0) - up[0] * up[axis]))?;
        Some(Site { centre, axes: [left, cross(up, left), up] })
    }

    /// The point at so many mm to the left, to the back and up.
    pub fn point(&self, local: [f64; 3]) -> [f64; 3] {
        std::array::from_fn(|part| {
            self.centre[part] + (0..3).map(|axis| local[axis] * self.axes[axis][part]).sum::<f64>()
        })
    }

    /// A direction's parts to the left, to the back and up as one of the patient.
    pub fn direction(&self, local: [f64; 3]) -> [f64; 3] {
        std::array::from_fn(|part| (0..3).map(|axis| local[axis] * self.axes[axis][part]).sum())
    }

    /// How far to the left, to the back and up a point lies.
    pub fn local(&self, point: [f64; 3]) -> [f64; 3] {
        let off: [f64; 3] = std::array::from_fn(|part| point[part] - self.centre[part]);
        self.axes.map(|axis| (0..3).map(|part| off[part] * axis[part]).sum())
    }
}

fn cross(a: [f64; 3], b: [f64; 3]) -> [f64; 3] {
    [a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]]
}

/// The direction with length 1; `None` of one without a length.
pub(crate) fn unit(a: [f64; 3]) -> Option<[f64; 3]> {
    let length = a.iter().map(|part| part * part).sum::<f64>().sqrt();
    (length > 1e-6 && length.is_finite()).then(|| a.map(|part| part / length))
}

/// Hounsfield units around a site, `[left, back, up]`; NaN outside the scan.
pub(crate) struct Block {
    pub values: Array3<f32>,
    /// Where the first sample lies, in mm from the site.
    pub first: [f64; 3],
    /// The scan's voxels along each of the site's axes, in mm.
    pub voxel: [f64; 3],
}

impl Block {
    /// Samples from `low` to `high`, in mm from the site along its axes.
    pub fn around(volume: &Volume, site: &Site, low: [f64; 3], high: [f64; 3]) -> Block {
        let count: [usize; 3] =
            std::array::from_fn(|axis| ((high[axis] - low[axis]) / PITCH).max(1.0).floor() as usize + 1);
        let index = |mm: [f64; 3]| volume.geometry.index(mm).map(|part| part as f32);
        let origin = index(site.point(low));
        let steps = site.axes.map(|axis| index(axis.map(|part| part * PITCH)));
        let probe = Probe::of(volume);
        let values = Array3::from_shape_fn(count, |(i, j, k)| {
            probe.at(std::array::from_fn(|axis| {
                origin[axis]
                    + i as f32 * steps[0][axis]
                    + j as f32 * steps[1][axis]
                    + k as f32 * steps[2][axis]
            }))
        });
        let voxel = site.axes.map(|axis| {
            (0..3).map(|part| (axis[part] * volume.geometry.spacing[part]).powi(2)).sum::<f64>().sqrt()
        });
        Block { values, first: low, voxel }
    }

    /// The sample at a place along an axis, in mm from the site, fractions kept.
    pub fn index(&self, axis: usize, mm: f64) -> f64 {
        (mm - self.first[axis]) / PITCH
    }

    /// The place of a sample along an axis, in mm from the site.
    pub fn mm(&self, axis: usize, index: f64) -> f64 {
        self.first[axis] + index * PITCH
    }

    /// Samples from `low` to `high` mm along an axis, as far as there are.
    pub fn range(&self, axis: usize, low: f64, high: f64) -> std::ops::Range<usize> {
        let size = self.values.len_of(Axis(axis));
        let start = self.index(axis, low).ceil().max(0.0) as usize;
        let end = (self.index(axis, high).floor().max(-1.0) + 1.0) as usize;
        start.min(size)..end.min(size).max(start.min(size))
    }

    /// How an edge across an axis may run.
    pub fn way(&self, axis: usize, stiffness: f32) -> Way {
        Way { stiffness, voxel: self.voxel[axis] }
    }

    /// The mean over a slab of samples across `axis`; the other two axes stay in order. NaN where half of it is not seen.
    pub fn slab(&self, axis: usize, range: std::ops::Range<usize>) -> Array2<f32> {
        let part = self.values.slice_axis(Axis(axis), range.into());
        part.map_axis(Axis(axis), |lane| {
            let seen = lane.iter().filter(|value| !value.is_nan()).count();
            let sum: f32 = lane.iter().filter(|value| !value.is_nan()).sum();
            if 2 * seen > lane.len() { sum / seen as f32 } else { f32::NAN }
        })
    }
}

/// Reads a volume between its voxels.
struct Probe<'a> {
    volume: &'a Volume,
    last: [f32; 3],
}

impl<'a> Probe<'a> {
    fn of(volume: &'a Volume) -> Probe<'a> {
        let Geometry { shape, .. } = volume.geometry;
        Probe { volume, last: shape.map(|size| size as f32 - 1.0) }
    }

    /// The intensity at a voxel index, linear between voxels; NaN outside.
    fn at(&self, index: [f32; 3]) -> f32 {
        let mut low = [0usize; 3];
        let mut part = [0f32; 3];
        for axis in 0..3 {
            // Not-a-number fails both.
            if !(index[axis] >= 0.0 && index[axis] <= self.last[axis]) {
                return f32::NAN;
            }
            low[axis] = index[axis] as usize;
            part[axis] = index[axis] - low[axis] as f32;
        }
        let next = |axis: usize| low[axis] + usize::from(part[axis] > 0.0);
        let [x, y, z] = low;
        let [nx, ny, nz] = [next(0), next(1), next(2)];
        let voxels = &self.volume.voxels;
        let row = |x: usize, y: usize| voxels[[x, y, z]] + (voxels[[x, y, nz]] - voxels[[x, y, z]]) * part[2];
        let plane = |x: usize| {
            let near = row(x, y);
            near + (row(x, ny) - near) * part[1]
        };
        let near = plane(x);
        near + (plane(nx) - near) * part[0]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_point_is_found_again_by_its_place_along_the_axes() {
        let site = Site::standing([10.0, 20.0, 30.0], [0.1, -0.3, 0.9]).unwrap();
        let there = site.point([3.0, -4.0, 5.0]);
        assert!(site.local(there).iter().zip([3.0, -4.0, 5.0]).all(|(a, b)| (a - b).abs() < 1e-9));
        assert!(site.axes[1][1] > 0.9 && site.axes[0][0] > 0.9);
        assert!(Site::standing([0.0; 3], [1.0, 0.0, 0.0]).is_none());
    }

    #[test]
    fn a_block_shows_what_lies_along_the_axes_and_nothing_outside() {
        let geometry = Geometry { shape: [20, 20, 20], spacing: [1.0, 1.0, 2.0], affine: [[0.0; 4]; 3] };
        let voxels = Array3::from_shape_fn((20, 20, 20), |(x, y, z)| (x + 10 * y + 100 * z) as f32);
        let volume = Volume { voxels, geometry, warnings: Vec::new() };
        let site = Site::standing([9.0, 9.0, 20.0], [0.0, 0.0, 1.0]).unwrap();
        let block = Block::around(&volume, &site, [-3.0, 0.0, -30.0], [3.0, 3.0, 6.0]);
        let at = |local: [f64; 3]| {
            let index: [usize; 3] =
                std::array::from_fn(|axis| block.index(axis, local[axis]).round() as usize);
            block.values[index]
        };
        assert!((at([1.5, 0.75, 3.0]) - (10.5 + 97.5 + 1150.0)).abs() < 1e-2);
        assert!(at([0.0, 0.0, -24.0]).is_nan());
        assert_eq!(block.range(2, 0.0, 1.5), 40..43);
        let slab = block.slab(0, block.range(0, -1.5, 1.5));
        assert!((slab[[0, 40]] - (9.0 + 90.0 + 1000.0)).abs() < 1e-2 && slab[[0, 0]].is_nan());
    }
}
