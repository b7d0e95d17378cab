//! The density of a body's spongy bone.

use serde::{Deserialize, Serialize};

use super::outline::Outline;
use crate::scan::Volume;

/// The region: an elliptical cylinder in the front two thirds of the body, of these shares of its width, depth and middle
/// height, around a centre at this share of the depth behind the front wall. It keeps away from the cortex, from both end
/// plates, and from the vein that leaves the body in the middle of its back wall.
const WIDTH: f64 = 0.6;
const DEPTH: f64 = 0.5;
const HEIGHT: f64 = 0.5;
const CENTRE: f64 = 0.42;
/// A region that keeps less than this from the edges of the body is none, in mm, with half a voxel.
const AWAY: f64 = 2.0;
/// Fewer voxels say nothing.
const LEAST: usize = 20;
/// Hounsfield units of metal, which no bone reaches, and the voxels that make it.
const METAL: f32 = 2000.0;
const METAL_VOXELS: usize = 10;

/// Hounsfield units in a region.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Density {
    /// Their mean.
    pub mean: f64,
    /// Their median.
    pub median: f64,
    /// Their standard deviation, the scan's noise included.
    pub deviation: f64,
    /// Number of voxels.
    pub voxels: usize,
}

/// What a body holds.
pub(crate) struct Content {
    /// `None` where the body is too small for the scan's voxels.
    pub density: Option<Density>,
    pub metal: bool,
}

/// Reads the voxels of an outlined body.
pub(crate) fn content(volume: &Volume, outline: &Outline) -> Content {
    let Outline { site, upper, lower, walls, heights, width, .. } = outline;
    let depth = walls[1] - walls[0];
    let centre = walls[0] + CENTRE * depth;
    let [middle, _] = outline.middle();
    let radii = [WIDTH * width / 2.0, DEPTH * depth / 2.0];
    let half = HEIGHT * heights[1] / 2.0;
    // Half a voxel along the body's height: it must not reach into a plate.
    let geometry = &volume.geometry;
    let voxel: f64 =
        (0..3).map(|axis| (site.axes[2][axis] * geometry.spacing[axis]).abs()).sum::<f64>() / 2.0;
    let room = heights[1] / 2.0 - half - voxel;
    // A box along the patient's axes that holds the body's own.
    let sizes = [width / 2.0 + middle.abs(), depth, heights[1]];
    let range = |axis: usize| {
        let reach: f64 = (0..3).map(|own| (site.axes[own][axis] * sizes[own]).abs()).sum();
        let index = |mm: f64| (mm / geometry.spacing[axis]).clamp(0.0, geometry.shape[axis] as f64) as usize;
        index(site.centre[axis] - reach)..(index(site.centre[axis] + reach) + 1).min(geometry.shape[axis])
    };
    let mut values: Vec<f32> = Vec::new();
    let mut metal = 0;
    for x in range(0) {
        for y in range(1) {
            for z in range(2) {
                let index = [x, y, z];
                let mm = std::array::from_fn(|axis| index[axis] as f64 * geometry.spacing[axis]);
                let [left, back, up] = site.local(mm);
                if !outline.holds([left, back, up]) {
                    continue;
                }
                let value = volume.voxels[index];
                metal += usize::from(value >= METAL);
                let (low, high) = (lower.at(left, back), upper.at(left, back));
                let away = ((left - middle) / radii[0]).powi(2) + ((back - centre) / radii[1]).powi(2);
                if away <= 1.0 && (up - (low + high) / 2.0).abs() <= half {
                    values.push(value);
                }
            }
        }
    }
    let usable = values.len() >= LEAST && room >= AWAY.min(0.15 * heights[1]);
    Content { density: usable.then(|| of(&mut values)), metal: metal >= METAL_VOXELS }
}

fn of(values: &mut [f32]) -> Density {
    values.sort_by(f32::total_cmp);
    let count = values.len() as f64;
    let mean = values.iter().map(|&value| f64::from(value)).sum::<f64>() / count;
    let variance = values.iter().map(|&value| (f64::from(value) - mean).powi(2)).sum::<f64>() / count;
    let half = values.len() / 2;
    let median =
        if values.len().is_multiple_of(2) { (values[half - 1] + values[half]) / 2.0 } else { values[half] };
    Density { mean, median: f64::from(median), deviation: variance.sqrt(), voxels: values.len() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_of_a_region_are_those_of_its_voxels() {
        let density = of(&mut [4.0, 1.0, 3.0, 2.0]);
        assert_eq!((density.mean, density.median, density.voxels), (2.5, 2.5, 4));
        assert!((density.deviation - 1.25f64.sqrt()).abs() < 1e-9);
        assert_eq!(of(&mut [9.0, 1.0, 2.0]).median, 2.0);
    }
}
