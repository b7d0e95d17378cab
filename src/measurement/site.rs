//! Where a vertebral body stands, and the scan around it along its own axes.

use std::ops::Range;

use ndarray::Array2;

use super::edge::Way;
use crate::scan::{Geometry, Volume, cross};

/// Millimetres between the samples of a picture: finer than most voxels, so that edges are found between them.
pub(crate) const PITCH: f64 = 0.75;

/// A point with axes: to the patient's left, to the back and to the head, each of length 1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Site {
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

/// The direction with length 1; `None` of one without a length.
pub(crate) fn unit(a: [f64; 3]) -> Option<[f64; 3]> {
    let length = a.iter().map(|part| part * part).sum::<f64>().sqrt();
    (length > 1e-6 && length.is_finite()).then(|| a.map(|part| part / length))
}

/// The box around a site that pictures are made of.
pub(crate) struct Window<'a> {
    probe: Probe<'a>,
    site: Site,
    /// Samples along each of the site's axes, and where the first lies, in mm from the site.
    count: [usize; 3],
    first: [f64; 3],
    /// The scan's voxels along each of the site's axes, in mm.
    pub voxel: [f64; 3],
}

/// Millimetres between the samples across a slab, whose mean is taken.
const ACROSS: f64 = 1.5;

impl<'a> Window<'a> {
    /// From `low` to `high`, in mm from the site along its axes.
    pub fn around(volume: &'a Volume, site: &Site, low: [f64; 3], high: [f64; 3]) -> Window<'a> {
        let count =
            std::array::from_fn(|axis| ((high[axis] - low[axis]) / PITCH).max(1.0).floor() as usize + 1);
        let voxel = site.axes.map(|axis| {
            (0..3).map(|part| (axis[part] * volume.geometry.spacing[part]).powi(2)).sum::<f64>().sqrt()
        });
        Window { probe: Probe::of(volume), site: *site, count, first: low, voxel }
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
    pub fn range(&self, axis: usize, low: f64, high: f64) -> Range<usize> {
        let size = self.count[axis];
        let start = (self.index(axis, low).ceil().max(0.0) as usize).min(size);
        let end = (self.index(axis, high).floor().max(-1.0) + 1.0) as usize;
        start..end.clamp(start, size.max(start))
    }

    /// How an edge across an axis may run.
    pub fn way(&self, axis: usize, stiffness: f32) -> Way {
        Way { stiffness, voxel: self.voxel[axis] }
    }

    /// Whether a box from `low` to `high` mm lies within the scan.
    pub fn sees(&self, low: [f64; 3], high: [f64; 3]) -> bool {
        (0..8).all(|corner| {
            let local =
                std::array::from_fn(|axis| if corner >> axis & 1 == 0 { low[axis] } else { high[axis] });
            self.probe.holds(self.site.point(local))
        })
    }

    /// The mean of Hounsfield units, each at least `least`, over a slab across `axis` from `low` to `high` mm; the other two axes stay
    /// in order. NaN where half of it is outside the scan.
    pub fn slab(&self, axis: usize, low: f64, high: f64, least: f32) -> Array2<f32> {
        let layers = ((high - low) / ACROSS).ceil().max(1.0) as usize + 1;
        let step = (high - low) / (layers - 1) as f64;
        let [rows, columns] = [[1, 2], [0, 2], [0, 1]][axis];
        let index = |mm: [f64; 3]| self.probe.index(mm);
        let mut corner = self.first;
        corner[axis] = low;
        let origin = index(self.site.point(corner));
        let stride = |other: usize, mm: f64| index(self.site.axes[other].map(|part| part * mm));
        let (across, down, along) = (stride(axis, step), stride(rows, PITCH), stride(columns, PITCH));
        Array2::from_shape_fn((self.count[rows], self.count[columns]), |(row, column)| {
            let (mut sum, mut seen) = (0.0, 0);
            for layer in 0..layers {
                let value = self.probe.at(std::array::from_fn(|part| {
                    origin[part]
                        + row as f32 * down[part]
                        + column as f32 * along[part]
                        + layer as f32 * across[part]
                }));
                if !value.is_nan() {
                    sum += value.max(least);
                    seen += 1;
                }
            }
            if 2 * seen > layers { sum / seen as f32 } else { f32::NAN }
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

    /// A place or a way in mm as one in voxels.
    fn index(&self, mm: [f64; 3]) -> [f32; 3] {
        self.volume.geometry.index(mm).map(|part| part as f32)
    }

    /// Whether a point in mm lies within the scan.
    fn holds(&self, mm: [f64; 3]) -> bool {
        let index = self.index(mm);
        (0..3).all(|axis| (0.0..=self.last[axis]).contains(&index[axis]))
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
    use ndarray::Array3;

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
    fn a_slab_shows_the_mean_of_what_lies_along_the_axes_and_nothing_outside() {
        let geometry = Geometry { shape: [20, 20, 20], spacing: [1.0, 1.0, 2.0], affine: [[0.0; 4]; 3] };
        let voxels = Array3::from_shape_fn((20, 20, 20), |(x, y, z)| (x + 10 * y + 100 * z) as f32);
        let volume = Volume { voxels, geometry, warnings: Vec::new() };
        let site = Site::standing([9.0, 9.0, 20.0], [0.0, 0.0, 1.0]).unwrap();
        let window = Window::around(&volume, &site, [-3.0, 0.0, -30.0], [3.0, 3.0, 6.0]);
        assert_eq!(window.range(2, 0.0, 1.5), 40..43);
        let slab = window.slab(0, -1.5, 1.5, 0.0);
        assert_eq!(slab.dim(), (5, 49));
        assert!((slab[[1, 44]] - (9.0 + 97.5 + 1150.0)).abs() < 1e-2 && slab[[0, 0]].is_nan());
        // Across the height, darker than allowed.
        let slab = window.slab(2, 0.0, 2.0, 1200.0);
        assert!((slab[[0, 0]] - 1200.0).abs() < 1e-2 && slab.dim() == (9, 5));
        assert!(
            window.sees([-3.0, 0.0, -20.0], [3.0, 3.0, 6.0])
                && !window.sees([-3.0, 0.0, -21.0], [3.0, 3.0, 6.0])
        );
    }
}
