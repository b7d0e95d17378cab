//! A volume that stands askew resampled along the patient's axes.

use ndarray::{Array3, Axis, parallel::prelude::*};

use super::{Geometry, Orientation, Volume};

/// Hounsfield units of what the scanner has not seen.
const OUTSIDE: f32 = -1024.0;
/// The resampled volume has at most so many times the voxels of the stored one, else coarser ones.
const MOST: f64 = 3.0;

/// Largest angle in degrees by which two axes miss being at right angles.
pub fn shear(geometry: &Geometry) -> f64 {
    let Some(directions) = geometry.directions() else { return 0.0 };
    let off = |a: usize, b: usize| {
        let dot: f64 = (0..3).map(|row| directions[a][row] * directions[b][row]).sum();
        dot.abs().min(1.0).asin().to_degrees()
    };
    off(0, 1).max(off(0, 2)).max(off(1, 2))
}

/// The grid along the patient's axes (LPS) that holds all of a stored one, with the spacings of the stored axes
/// that `orientation` takes for the patient's.
pub fn grid(stored: &Geometry, orientation: &Orientation) -> Geometry {
    let last = stored.shape.map(|size| size.saturating_sub(1) as f64);
    let corners = (0..8usize).map(|corner| {
        let index = std::array::from_fn(|axis| if corner >> axis & 1 == 1 { last[axis] } else { 0.0 });
        let [x, y, z] = stored.world(index);
        [-x, -y, z]
    });
    let (mut low, mut high) = ([f64::INFINITY; 3], [f64::NEG_INFINITY; 3]);
    for corner in corners {
        for axis in 0..3 {
            low[axis] = low[axis].min(corner[axis]);
            high[axis] = high[axis].max(corner[axis]);
        }
    }
    let mut spacing = orientation.axes.map(|axis| stored.spacing[axis]);
    let count = |spacing: &[f64; 3]| -> [usize; 3] {
        std::array::from_fn(|axis| ((high[axis] - low[axis]) / spacing[axis]).ceil().max(0.0) as usize + 1)
    };
    let voxels = |shape: [usize; 3]| shape.iter().map(|&size| size as f64).product::<f64>();
    let excess = voxels(count(&spacing)) / (MOST * voxels(stored.shape));
    if excess > 1.0 {
        spacing = spacing.map(|mm| mm * excess.cbrt());
    }
    let [x, y, z] = spacing;
    Geometry {
        shape: count(&spacing),
        spacing,
        affine: [[-x, 0.0, 0.0, -low[0]], [0.0, -y, 0.0, -low[1]], [0.0, 0.0, z, low[2]]],
    }
}

/// The stored volume on another grid, linear between voxels, air outside.
pub fn resampled(stored: &Volume, grid: &Geometry) -> Option<Volume> {
    // Stored index = matrix · index + offset.
    let at = |index: [f64; 3]| stored.geometry.unworld(grid.world(index));
    let offset = at([0.0; 3])?;
    let unit = |axis: usize| std::array::from_fn(|i| f64::from(u8::from(i == axis)));
    let steps = [at(unit(0))?, at(unit(1))?, at(unit(2))?];
    let matrix: [[f64; 3]; 3] =
        std::array::from_fn(|row| std::array::from_fn(|axis| steps[axis][row] - offset[row]));
    let mut voxels = Array3::zeros(grid.shape);
    voxels.axis_iter_mut(Axis(0)).into_par_iter().enumerate().for_each(|(x, mut plane)| {
        for ((y, z), value) in plane.indexed_iter_mut() {
            let index = [x as f64, y as f64, z as f64];
            let place = std::array::from_fn(|row| {
                offset[row] + (0..3).map(|axis| matrix[row][axis] * index[axis]).sum::<f64>()
            });
            *value = interpolated(&stored.voxels, place);
        }
    });
    Some(Volume { voxels, geometry: grid.clone(), warnings: stored.warnings.clone() })
}

fn interpolated(voxels: &Array3<f32>, at: [f64; 3]) -> f32 {
    let size: [usize; 3] = voxels.dim().into();
    let mut low = [0; 3];
    let mut part = [0f32; 3];
    for axis in 0..3 {
        let last = size[axis] as f64 - 1.0;
        // Half a voxel beyond the middle of the last one still belongs to it.
        if !(-0.5..=last + 0.5).contains(&at[axis]) {
            return OUTSIDE;
        }
        let place = at[axis].clamp(0.0, last);
        low[axis] = (place as usize).min(size[axis].saturating_sub(2));
        part[axis] = (place - low[axis] as f64) as f32;
    }
    let mut sum = 0.0;
    for corner in 0..8usize {
        let up = [corner & 1, corner >> 1 & 1, corner >> 2];
        let weight: f32 =
            (0..3).map(|axis| if up[axis] == 1 { part[axis] } else { 1.0 - part[axis] }).product();
        if weight > 0.0 {
            sum += weight * voxels[[low[0] + up[0], low[1] + up[1], low[2] + up[2]]];
        }
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A volume whose intensities say where in the patient a voxel lies: x + 10 y + 100 z in LPS.
    fn ramp(affine: [[f64; 4]; 3], spacing: [f64; 3], shape: [usize; 3]) -> Volume {
        let geometry = Geometry { shape, spacing, affine };
        let voxels = Array3::from_shape_fn(shape, |(i, j, k)| {
            let [x, y, z] = geometry.world([i as f64, j as f64, k as f64]);
            (-x - 10.0 * y + 100.0 * z) as f32
        });
        Volume { voxels, geometry, warnings: vec![] }
    }

    #[test]
    fn what_lies_where_in_the_patient_stays_there() {
        let (sin, cos) = 35f64.to_radians().sin_cos();
        let turned =
            [[-2.0, 0.0, 0.0, 30.0], [0.0, -2.0 * cos, -3.0 * sin, 5.0], [0.0, -2.0 * sin, 3.0 * cos, 9.0]];
        let sheared = [[-2.0, 0.0, 0.0, 30.0], [0.0, -2.0, -0.8, 5.0], [0.0, 0.0, 2.891, 9.0]];
        for (affine, askew) in [(turned, 0.0), (sheared, 15.5)] {
            let stored = ramp(affine, [2.0, 2.0, 3.0], [12, 20, 16]);
            assert!((shear(&stored.geometry) - askew).abs() < 0.5, "{}", shear(&stored.geometry));
            let orientation = Orientation::to_lps(&stored.geometry).unwrap();
            let grid = grid(&stored.geometry, &orientation);
            let upright = resampled(&stored, &grid).unwrap();
            let mut inside = 0;
            for ((x, y, z), &value) in upright.voxels.indexed_iter().filter(|(_, value)| **value != OUTSIDE) {
                let world = grid.world([x as f64, y as f64, z as f64]);
                let index = stored.geometry.unworld(world).unwrap();
                // At the very edge the nearest voxel stands in.
                if (0..3)
                    .all(|axis| index[axis] >= 0.0 && index[axis] <= stored.geometry.shape[axis] as f64 - 1.0)
                {
                    let expected = (-world[0] - 10.0 * world[1] + 100.0 * world[2]) as f32;
                    assert!((value - expected).abs() < 0.5, "{value} instead of {expected}");
                    inside += 1;
                }
            }
            assert!(inside > 12 * 20 * 16 / 2, "{inside}");
        }
    }

    #[test]
    fn a_needle_that_stands_askew_does_not_become_a_block() {
        let affine = [[-0.5, 0.0, 0.35, 0.0], [0.0, -0.5, 0.0, 0.0], [0.0, 0.0, 0.35, 0.0]];
        let stored = Geometry { shape: [4, 4, 2000], spacing: [0.5; 3], affine };
        let grid = grid(&stored, &Orientation::IDENTITY);
        let voxels: usize = grid.shape.iter().product();
        assert!(voxels < 8 * 32_000, "{voxels}");
    }
}
