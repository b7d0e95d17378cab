//! Intensities of a volume: what is not finite, and normalisation.

use anyhow::{Result, ensure};
use ndarray::{Array3, Axis, parallel::prelude::*};

/// Replaces NaN and ±Inf by the smallest finite voxel and returns how many there were.
pub fn replace_non_finite(voxels: &mut Array3<f32>) -> Result<usize> {
    let planes = voxels.axis_iter(Axis(2)).into_par_iter();
    let bad: usize =
        planes.map(|plane| plane.fold(0, |count, value| count + usize::from(!value.is_finite()))).sum();
    if bad == 0 {
        return Ok(0);
    }
    ensure!(bad < voxels.len(), "every voxel is NaN or infinite; export the scan again");
    let smallest = voxels.iter().copied().filter(|value| value.is_finite()).fold(f32::INFINITY, f32::min);
    voxels.par_mapv_inplace(|value| if value.is_finite() { value } else { smallest });
    Ok(bad)
}

/// The same; says so in the warnings where there were any.
pub(super) fn make_finite(voxels: &mut Array3<f32>, warnings: &mut Vec<String>) -> Result<()> {
    let replaced = replace_non_finite(voxels)?;
    if replaced > 0 {
        warnings.push(format!("{replaced} voxels are NaN or infinite and were taken as air"));
    }
    Ok(())
}

/// What intensities were normalised with.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Scale {
    /// What became 0.
    pub mean: f64,
    /// What became 1 above it; 1 for a constant volume.
    pub deviation: f64,
}

impl Scale {
    /// What an intensity was normalised to.
    pub fn of(&self, intensity: f64) -> f32 {
        ((intensity - self.mean) / self.deviation) as f32
    }
}

/// Subtracts the mean and divides by the population standard deviation over the whole volume; a
/// constant volume becomes 0 (docs/original.md §1).
pub fn normalise(voxels: &mut Array3<f32>) -> Scale {
    // Sums per plane keep the result independent of the number of threads.
    let sum = |term: &(dyn Fn(f64) -> f64 + Sync)| -> f64 {
        let planes: Vec<f64> = voxels
            .axis_iter(Axis(0))
            .into_par_iter()
            .map(|plane| plane.iter().map(|&value| term(f64::from(value))).sum())
            .collect();
        planes.iter().sum::<f64>() / voxels.len() as f64
    };
    let mean = sum(&|value| value);
    let deviation = sum(&|value| (value - mean) * (value - mean)).sqrt();
    let deviation = if deviation > 0.0 { deviation } else { 1.0 };
    let scale = 1.0 / deviation;
    voxels.par_mapv_inplace(|value| ((f64::from(value) - mean) * scale) as f32);
    Scale { mean, deviation }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::array;

    #[test]
    fn normalised_voxels_have_mean_zero_and_deviation_one() {
        let mut voxels = array![[[1.0, 3.0]], [[5.0, 7.0]]];
        normalise(&mut voxels);
        let deviation = 5f32.sqrt();
        let expected = [-3.0, -1.0, 1.0, 3.0].map(|value| value / deviation);
        assert!(voxels.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-6));
    }

    #[test]
    fn a_constant_volume_becomes_zero() {
        let mut voxels = Array3::from_elem((2, 2, 2), -1024.0);
        normalise(&mut voxels);
        assert!(voxels.iter().all(|&value| value == 0.0));
    }

    #[test]
    fn voxels_that_are_not_finite_become_the_smallest_that_is() {
        let mut voxels = array![[[f32::NAN, 3.0], [f32::INFINITY, -7.0]]];
        assert_eq!(replace_non_finite(&mut voxels).unwrap(), 2);
        assert_eq!(voxels, array![[[-7.0, 3.0], [-7.0, -7.0]]]);
        let mut voxels = Array3::from_elem((1, 1, 2), f32::NAN);
        assert!(replace_non_finite(&mut voxels).is_err());
    }
}
