//! The grid of a volume: every conversion between voxels, millimetres and the patient.

use std::ops::Range;

use anyhow::{Result, ensure};

/// Shape, spacing and position of a voxel grid.
#[derive(Clone, Debug, PartialEq)]
pub struct Geometry {
    /// Number of voxels along each axis.
    pub shape: [usize; 3],
    /// Distance of neighbouring voxels along each axis, in mm.
    pub spacing: [f64; 3],
    /// Voxel index → world position in mm, rows x (left→right), y (posterior→anterior),
    /// z (inferior→superior): NIfTI's RAS+ convention.
    pub affine: [[f64; 4]; 3],
}

/// Lengths of the steps along the axes of an affine.
pub(in crate::scan) fn lengths(affine: &[[f64; 4]; 3]) -> [f64; 3] {
    std::array::from_fn(|axis| affine.iter().map(|row| row[axis].powi(2)).sum::<f64>().sqrt())
}

impl Geometry {
    /// A grid by its affine alone, which says how far apart voxels are.
    pub fn of(shape: [usize; 3], affine: [[f64; 4]; 3]) -> Geometry {
        Geometry { shape, spacing: lengths(&affine), affine }
    }

    /// The same grid, if its voxels have a size.
    pub(in crate::scan) fn checked(self) -> Result<Geometry> {
        let spacing = self.spacing;
        ensure!(
            spacing.iter().all(|step| step.is_finite() && *step > 0.0),
            "its axes have steps of {spacing:?} mm; export it again"
        );
        Ok(self)
    }

    /// World position (RAS, mm) of a voxel index, fractions allowed.
    pub fn world(&self, index: [f64; 3]) -> [f64; 3] {
        self.affine.map(|row| row[0] * index[0] + row[1] * index[1] + row[2] * index[2] + row[3])
    }

    /// Voxel index of a world position (RAS, mm); `None` where the axes span no volume.
    pub fn unworld(&self, world: [f64; 3]) -> Option<[f64; 3]> {
        let m = &self.affine;
        let off: [f64; 3] = std::array::from_fn(|row| world[row] - m[row][3]);
        // Cramer's rule: the determinant with a column replaced, over the determinant.
        let determinant = |columns: [[f64; 3]; 3]| {
            let [a, b, c] = columns;
            a[0] * (b[1] * c[2] - b[2] * c[1]) - b[0] * (a[1] * c[2] - a[2] * c[1])
                + c[0] * (a[1] * b[2] - a[2] * b[1])
        };
        let columns: [[f64; 3]; 3] = std::array::from_fn(|axis| std::array::from_fn(|row| m[row][axis]));
        let whole = determinant(columns);
        let size: f64 =
            columns.iter().map(|c| c.iter().map(|part| part * part).sum::<f64>().sqrt()).product();
        if !whole.is_finite() || whole.abs() < 1e-9 * size || size == 0.0 {
            return None;
        }
        Some(std::array::from_fn(|axis| {
            let mut replaced = columns;
            replaced[axis] = off;
            determinant(replaced) / whole
        }))
    }

    /// Voxel index of a point given in mm from the first voxel along the axes.
    pub fn index(&self, mm: [f64; 3]) -> [f64; 3] {
        std::array::from_fn(|axis| mm[axis] / self.spacing[axis])
    }

    /// Distance in mm from the first to the last voxel centre along each axis.
    pub fn extent(&self) -> [f64; 3] {
        std::array::from_fn(|axis| (self.shape[axis] as f64 - 1.0) * self.spacing[axis])
    }

    /// Voxels within `margin` mm of some points, given in mm from the first voxel, to the sides, the front and the
    /// back, at least one along each axis; along the last axis all.
    pub fn around(&self, points: &[[f64; 3]], margin: f64) -> [Range<usize>; 3] {
        std::array::from_fn(|axis| {
            let size = self.shape[axis];
            if axis == 2 {
                return 0..size;
            }
            let places = || points.iter().map(|mm| mm[axis]);
            let index = |mm: f64| ((mm / self.spacing[axis]).max(0.0) as usize).min(size);
            let low = index(places().fold(f64::INFINITY, f64::min) - margin).min(size.saturating_sub(1));
            let high = index(places().fold(f64::NEG_INFINITY, f64::max) + margin) + 1;
            low..high.min(size).max(low + 1)
        })
    }

    /// The direction of each axis in the world, scaled to length 1; `None` when one has no length.
    pub(crate) fn directions(&self) -> Option<[[f64; 3]; 3]> {
        let mut directions = [[0.0; 3]; 3];
        for (axis, direction) in directions.iter_mut().enumerate() {
            let column: [f64; 3] = std::array::from_fn(|row| self.affine[row][axis]);
            let length = column.iter().map(|part| part * part).sum::<f64>().sqrt();
            if !length.is_finite() || length == 0.0 {
                return None;
            }
            *direction = column.map(|part| part / length);
        }
        Some(directions)
    }
}

/// The direction at right angles to two others, by the right hand.
pub(crate) fn cross(a: [f64; 3], b: [f64; 3]) -> [f64; 3] {
    [a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]]
}

/// Euclidean distance of two points.
pub fn distance(a: [f64; 3], b: [f64; 3]) -> f64 {
    (0..3).map(|axis| (a[axis] - b[axis]).powi(2)).sum::<f64>().sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn world_positions_follow_the_affine() {
        let geometry = Geometry {
            shape: [3, 4, 5],
            spacing: [2.0, 2.0, 3.0],
            affine: [[-2.0, 0.0, 0.0, 10.0], [0.0, -2.0, 0.0, 20.0], [0.0, 0.0, 3.0, 30.0]],
        };
        assert_eq!(geometry.world([1.0, 2.0, 0.5]), [8.0, 16.0, 31.5]);
        assert_eq!(geometry.unworld([8.0, 16.0, 31.5]), Some([1.0, 2.0, 0.5]));
        assert_eq!(geometry.index([4.0, 2.0, 4.5]), [2.0, 1.0, 1.5]);
        assert_eq!(geometry.extent(), [4.0, 6.0, 12.0]);
        assert_eq!(geometry.directions().unwrap()[0], [-1.0, 0.0, 0.0]);
    }

    #[test]
    fn what_is_around_points_lies_inside_the_volume() {
        let geometry = Geometry { shape: [200, 100, 50], spacing: [2.0, 2.0, 5.0], affine: [[0.0; 4]; 3] };
        assert_eq!(geometry.around(&[[190.0, 20.0, 20.0]], 50.0), [70..121, 0..36, 0..50]);
        assert_eq!(geometry.around(&[[-500.0, 900.0, 20.0]], 50.0), [0..1, 99..100, 0..50]);
    }
}
