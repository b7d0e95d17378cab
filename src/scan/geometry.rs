//! The grid of a volume: every conversion between voxels, millimetres and the patient.

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

impl Geometry {
    /// World position (RAS, mm) of a voxel index, fractions allowed.
    pub fn world(&self, index: [f64; 3]) -> [f64; 3] {
        self.affine.map(|row| row[0] * index[0] + row[1] * index[1] + row[2] * index[2] + row[3])
    }

    /// Voxel index of a point given in mm from the first voxel along the axes.
    pub fn index(&self, mm: [f64; 3]) -> [f64; 3] {
        std::array::from_fn(|axis| mm[axis] / self.spacing[axis])
    }

    /// Distance in mm from the first to the last voxel centre along each axis.
    pub fn extent(&self) -> [f64; 3] {
        std::array::from_fn(|axis| (self.shape[axis] as f64 - 1.0) * self.spacing[axis])
    }

    /// The direction of each axis in the world, scaled to length 1; `None` when one has no length.
    pub fn directions(&self) -> Option<[[f64; 3]; 3]> {
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
        assert_eq!(geometry.index([4.0, 2.0, 4.5]), [2.0, 1.0, 1.5]);
        assert_eq!(geometry.extent(), [4.0, 6.0, 12.0]);
        assert_eq!(geometry.directions().unwrap()[0], [-1.0, 0.0, 0.0]);
    }
}
