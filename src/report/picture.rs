//! A scan with its vertebrae: the sagittal slice through the spine, annotated and found centroids.

use std::path::Path;

use anyhow::Result;
use ndarray::{Array2, Array3, Axis};

use super::canvas::{Anchor, Canvas, Rgb};
use crate::annotation::Centroid;

/// Annotated centroids and what is found.
const ANNOTATED: Rgb = [90, 220, 120];
const FOUND: Rgb = [255, 170, 40];
/// Height the picture aims at, in pixels, and the margin on either side for names.
const HEIGHT: f32 = 900.0;
const MARGIN: usize = 70;
const FOOT: usize = 34;
/// Slices averaged into the picture, in voxels on either side of the spine.
const THICKNESS: usize = 2;

/// Saves the mid-sagittal view: anterior left, head up.
///
/// `volume` is `[x, y, z]` in LPS order on a grid of `spacing` mm; centroids are in mm on it. Each
/// row of the picture shows the slice on which the spine lies at that height.
pub fn sagittal(
    path: &Path,
    volume: &Array3<f32>,
    spacing: f64,
    annotated: &[Centroid],
    found: &[Centroid],
) -> Result<()> {
    let plane = curved_plane(volume, spacing, if annotated.is_empty() { found } else { annotated });
    let (ny, nz) = plane.dim();
    let scale = (HEIGHT / nz as f32).clamp(0.5, 8.0);
    let size = [(ny as f32 * scale) as usize + 2 * MARGIN, (nz as f32 * scale) as usize + FOOT];
    let mut canvas = Canvas::new(size[0], size[1], [0, 0, 0])?;
    let window = window(&plane);
    for py in 0..size[1] - FOOT {
        for px in 0..size[0] - 2 * MARGIN {
            let y = ((px as f32 + 0.5) / scale - 0.5).clamp(0.0, ny as f32 - 1.0);
            let z = (nz as f32 - 0.5 - (py as f32 + 0.5) / scale).clamp(0.0, nz as f32 - 1.0);
            let value = (bilinear(&plane, y, z) - window[0]) / (window[1] - window[0]) * 255.0;
            canvas.grey(px + MARGIN, py, value.clamp(0.0, 255.0) as u8);
        }
    }
    let place = |mm: [f64; 3]| {
        let (y, z) = ((mm[1] / spacing) as f32, (mm[2] / spacing) as f32);
        [MARGIN as f32 + (y + 0.5) * scale, (nz as f32 - 0.5 - z) * scale]
    };
    for centroid in annotated {
        let [x, y] = place(centroid.mm);
        canvas.circle([x, y], 6.0, 2.0, ANNOTATED);
        canvas.label([MARGIN as f32 - 8.0, y], centroid.level.name(), 17.0, Anchor::Right, ANNOTATED);
        canvas.line([MARGIN as f32 - 4.0, y], [x - 7.0, y], 0.5, ANNOTATED);
    }
    let right = (size[0] - MARGIN) as f32;
    for centroid in found {
        let [x, y] = place(centroid.mm);
        canvas.line([x - 5.0, y - 5.0], [x + 5.0, y + 5.0], 2.0, FOUND);
        canvas.line([x - 5.0, y + 5.0], [x + 5.0, y - 5.0], 2.0, FOUND);
        canvas.label([right + 8.0, y], centroid.level.name(), 17.0, Anchor::Left, FOUND);
        canvas.line([x + 7.0, y], [right + 4.0, y], 0.5, FOUND);
    }
    let foot = size[1] as f32 - FOOT as f32 / 2.0;
    if !annotated.is_empty() {
        canvas.label([8.0, foot], "o annotated", 15.0, Anchor::Left, ANNOTATED);
    }
    canvas.label([size[0] as f32 - 8.0, foot], "x found", 15.0, Anchor::Right, FOUND);
    canvas.save(path)
}

/// The y–z plane in which each height takes the slices around the spine at that height.
fn curved_plane(volume: &Array3<f32>, spacing: f64, spine: &[Centroid]) -> Array2<f32> {
    let (nx, ny, nz) = volume.dim();
    let mut points: Vec<[f64; 2]> = spine.iter().map(|c| [c.mm[2] / spacing, c.mm[0] / spacing]).collect();
    points.sort_by(|a, b| a[0].total_cmp(&b[0]));
    let mut plane = Array2::zeros((ny, nz));
    for z in 0..nz {
        let x = interpolate(&points, z as f64).unwrap_or(nx as f64 / 2.0).round().clamp(0.0, nx as f64 - 1.0);
        let (low, high) = ((x as usize).saturating_sub(THICKNESS), (x as usize + THICKNESS).min(nx - 1));
        let slab = volume.slice(ndarray::s![low..=high, .., z]);
        if let Some(mean) = slab.mean_axis(Axis(0)) {
            plane.column_mut(z).assign(&mean);
        }
    }
    plane
}

/// Linear between sorted points `[position, value]`, constant beyond them.
fn interpolate(points: &[[f64; 2]], position: f64) -> Option<f64> {
    let after = points.iter().position(|point| point[0] >= position);
    match after {
        Some(0) => Some(points[0][1]),
        None => points.last().map(|point| point[1]),
        Some(index) => {
            let ([a, va], [b, vb]) = (points[index - 1], points[index]);
            Some(va + (vb - va) * (position - a) / (b - a).max(1e-9))
        }
    }
}

fn bilinear(plane: &Array2<f32>, y: f32, z: f32) -> f32 {
    let (ny, nz) = plane.dim();
    let (y0, z0) = (y as usize, z as usize);
    let (y1, z1) = ((y0 + 1).min(ny - 1), (z0 + 1).min(nz - 1));
    let (fy, fz) = (y - y0 as f32, z - z0 as f32);
    let row = |y: usize| plane[[y, z0]] * (1.0 - fz) + plane[[y, z1]] * fz;
    row(y0) * (1.0 - fy) + row(y1) * fy
}

/// Intensities shown as black and white: the darkest tenth and the brightest 0.2 % are cut off.
fn window(plane: &Array2<f32>) -> [f32; 2] {
    let mut values: Vec<f32> = plane.iter().copied().collect();
    values.sort_by(f32::total_cmp);
    let at = |share: f64| values[((values.len() - 1) as f64 * share) as usize];
    let (low, high) = (at(0.1), at(0.998));
    if high > low { [low, high] } else { [low - 1.0, low + 1.0] }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_picture_is_saved_even_of_a_tiny_constant_volume() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tiny.png");
        sagittal(&path, &Array3::zeros((1, 1, 1)), 1.0, &[], &[]).unwrap();
        assert!(std::fs::read(&path).unwrap().starts_with(b"\x89PNG"));
    }

    #[test]
    fn the_plane_follows_the_spine() {
        let volume = Array3::from_shape_fn((40, 2, 30), |(x, _, _)| x as f32);
        let at = |mm: [f64; 3]| Centroid { level: "L1".parse().unwrap(), mm };
        let plane = curved_plane(&volume, 1.0, &[at([30.0, 0.0, 20.0]), at([10.0, 0.0, 10.0])]);
        assert_eq!([plane[[0, 0]], plane[[0, 15]], plane[[0, 29]]], [10.0, 20.0, 30.0]);
    }
}
