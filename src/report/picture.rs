//! A scan with its vertebrae: slices through the spine with annotated and found centroids.

use std::path::Path;

use anyhow::Result;
use ndarray::{Array2, Array3, Axis};

use super::canvas::{Anchor, Canvas, Rgb};
use super::plates::{PLATE, Seen, lines};
use super::trust::Trust;
use crate::annotation::Centroid;
use crate::measurement::Measured;
use crate::scan::Grid;
use crate::spine::Vertebra;
use crate::straighten::Even;

/// Annotated centroids and what is found.
const ANNOTATED: Rgb = [90, 220, 120];
const FOUND: Rgb = [255, 170, 40];
/// Height a picture aims at, in pixels, and the margin on either side for names.
const HEIGHT: f32 = 900.0;
const MARGIN: usize = 70;
const FOOT: usize = 34;
/// Pixels a voxel takes at most: a scan of few slices stays small.
const LARGEST: f32 = 8.0;
/// What a preview shows of a wide scan: this much around the spine, in mm.
const AROUND: f64 = 110.0;
/// Slices averaged into the picture, in voxels on either side of the spine.
const THICKNESS: usize = 2;

/// Saves the mid-sagittal view: anterior left, head up.
///
/// `volume` is `[x, y, z]` in LPS order on a grid; centroids are in mm as the grid counts them. Each
/// row of the picture shows the slice on which the spine lies at that height.
pub fn sagittal(
    path: &Path,
    volume: &Array3<f32>,
    grid: &Grid,
    annotated: &[Centroid],
    found: &[Centroid],
) -> Result<()> {
    let [annotated, found] = [annotated, found].map(|centroids| on_grid(centroids, grid));
    let [annotated, found] = [&annotated[..], &found[..]];
    let spine = if annotated.is_empty() { found } else { annotated };
    let panel = Panel::new(volume, grid.spacing, spine, Seen::FromTheSide, f64::INFINITY, MARGIN);
    let [width, height] = panel.size();
    let mut canvas = Canvas::new(width + 2 * MARGIN, height + FOOT, [0, 0, 0])?;
    panel.paint(&mut canvas, None);
    for centroid in annotated {
        let [x, y] = panel.place(centroid.mm);
        canvas.circle([x, y], 6.0, 2.0, ANNOTATED);
        canvas.label([MARGIN as f32 - 8.0, y], centroid.level.name(), 17.0, Anchor::Right, ANNOTATED);
        canvas.line([MARGIN as f32 - 4.0, y], [x - 7.0, y], 0.5, ANNOTATED);
    }
    let right = (MARGIN + width) as f32;
    for centroid in found {
        let [x, y] = panel.cross(&mut canvas, centroid, FOUND);
        canvas.label([right + 8.0, y], centroid.level.name(), 17.0, Anchor::Left, FOUND);
        canvas.line([x + 7.0, y], [right + 4.0, y], 0.5, FOUND);
    }
    let foot = height as f32 + FOOT as f32 / 2.0;
    if !annotated.is_empty() {
        canvas.label([8.0, foot], "o annotated", 15.0, Anchor::Left, ANNOTATED);
    }
    canvas.label([right + MARGIN as f32 - 8.0, foot], "x found", 15.0, Anchor::Right, FOUND);
    canvas.save(path)
}

/// Saves what was found, in the colours of how sure it is, as seen from the side and from the front (the patient's right on the left), the names
/// between both, with measured end plates, where there are any; all in mm as the grid counts them.
///
/// `window` holds the intensities shown as black and white; without it each view has its own.
pub fn preview(
    path: &Path,
    even: &Even,
    vertebrae: &[Vertebra],
    measured: &[Measured],
    window: Option<[f32; 2]>,
) -> Result<()> {
    let volume = &even.voxels.mapv(f32::from);
    let spacing = even.grid.spacing;
    let found: Vec<Centroid> =
        vertebrae.iter().map(|found| Centroid { level: found.level, mm: found.mm }).collect();
    let found: &[Centroid] = &on_grid(&found, &even.grid);
    let side = Panel::new(volume, spacing, found, Seen::FromTheSide, AROUND, 0);
    let [width, height] = side.size();
    let front = Panel::new(volume, spacing, found, Seen::FromTheFront, AROUND, width + MARGIN);
    let mut canvas = Canvas::new(width + MARGIN + front.size()[0], height, [0, 0, 0])?;
    side.paint(&mut canvas, window);
    front.paint(&mut canvas, window);
    let pixels_per_mm = side.scale / spacing as f32;
    canvas.bearings([0, width], ["A", "P"], pixels_per_mm);
    canvas.bearings([width + MARGIN, width + MARGIN + front.size()[0]], ["R", "L"], pixels_per_mm);
    let (left, right) = (width as f32, (width + MARGIN) as f32);
    for body in measured {
        for (panel, seen) in [(&side, Seen::FromTheSide), (&front, Seen::FromTheFront)] {
            for ends in lines(body, seen) {
                let [from, to] = ends.map(|mm| panel.place(shifted(mm, &even.grid)));
                canvas.line(from, to, 1.2, PLATE);
            }
        }
    }
    for (centroid, vertebra) in found.iter().zip(vertebrae) {
        let colour = Trust::of(vertebra.confidence).colour();
        let [[from, _], [to, y]] = [&side, &front].map(|panel| panel.cross(&mut canvas, centroid, colour));
        canvas.label([(left + right) / 2.0, y], centroid.level.name(), 17.0, Anchor::Middle, colour);
        canvas.line([from + 7.0, y], [left + 12.0, y], 0.5, colour);
        canvas.line([right - 12.0, y], [to - 7.0, y], 0.5, colour);
    }
    canvas.save(path)
}

/// Centroids in mm from a grid's first voxel.
fn on_grid(centroids: &[Centroid], grid: &Grid) -> Vec<Centroid> {
    centroids.iter().map(|centroid| Centroid { mm: shifted(centroid.mm, grid), ..*centroid }).collect()
}

/// A point in mm from a grid's first voxel.
fn shifted(mm: [f64; 3], grid: &Grid) -> [f64; 3] {
    std::array::from_fn(|axis| mm[axis] - grid.origin[axis])
}

impl Seen {
    /// The axis a panel looks along and the one that runs to the right in it.
    fn axes(self) -> [usize; 2] {
        match self {
            Seen::FromTheSide => [0, 1],
            Seen::FromTheFront => [1, 0],
        }
    }
}

/// A curved plane through the spine, somewhere on a canvas.
struct Panel {
    /// `[across, z]`.
    plane: Array2<f32>,
    across: usize,
    /// Voxels that were cut off on its left.
    start: usize,
    spacing: f64,
    /// Pixels a voxel takes.
    scale: f32,
    /// Pixels to its left.
    left: usize,
}

impl Panel {
    /// What lies within `around` mm of the spine, `left` pixels from the canvas's edge.
    fn new(
        volume: &Array3<f32>,
        spacing: f64,
        spine: &[Centroid],
        seen: Seen,
        around: f64,
        left: usize,
    ) -> Panel {
        let [_, across] = seen.axes();
        let plane = curved_plane(volume, spacing, spine, seen);
        let places = || spine.iter().map(|centroid| centroid.mm[across]);
        let (low, high) =
            (places().fold(f64::INFINITY, f64::min), places().fold(f64::NEG_INFINITY, f64::max));
        let width = plane.dim().0;
        let (start, end) = if spine.is_empty() {
            (0, width)
        } else {
            let index = |mm: f64| (mm / spacing).clamp(0.0, width as f64 - 1.0) as usize;
            (index(low - around), index(high + around) + 1)
        };
        let plane = plane.slice(ndarray::s![start..end, ..]).to_owned();
        let scale = (HEIGHT / plane.dim().1 as f32).clamp(0.5, LARGEST);
        Panel { plane, across, start, spacing, scale, left }
    }

    /// Width and height in pixels.
    fn size(&self) -> [usize; 2] {
        let (across, high) = self.plane.dim();
        [across, high].map(|size| ((size as f32 * self.scale) as usize).max(1))
    }

    /// In the intensities of `window`, or in its own.
    fn paint(&self, canvas: &mut Canvas, window: Option<[f32; 2]>) {
        let (across, high) = self.plane.dim();
        let [width, height] = self.size();
        let [black, white] = window.unwrap_or_else(|| own_window(&self.plane));
        for py in 0..height {
            for px in 0..width {
                let a = ((px as f32 + 0.5) / self.scale - 0.5).clamp(0.0, across as f32 - 1.0);
                let z = (high as f32 - 0.5 - (py as f32 + 0.5) / self.scale).clamp(0.0, high as f32 - 1.0);
                let value = (bilinear(&self.plane, a, z) - black) / (white - black) * 255.0;
                canvas.grey(px + self.left, py, value.clamp(0.0, 255.0) as u8);
            }
        }
    }

    /// The pixel of a point in mm.
    fn place(&self, mm: [f64; 3]) -> [f32; 2] {
        let [a, z] = [mm[self.across], mm[2]].map(|mm| (mm / self.spacing) as f32);
        let high = self.plane.dim().1 as f32;
        [self.left as f32 + (a - self.start as f32 + 0.5) * self.scale, (high - 0.5 - z) * self.scale]
    }

    fn cross(&self, canvas: &mut Canvas, centroid: &Centroid, colour: Rgb) -> [f32; 2] {
        let [x, y] = self.place(centroid.mm);
        canvas.line([x - 5.0, y - 5.0], [x + 5.0, y + 5.0], 2.0, colour);
        canvas.line([x - 5.0, y + 5.0], [x + 5.0, y - 5.0], 2.0, colour);
        [x, y]
    }
}

/// The plane in which each height takes the slices around the spine at that height.
fn curved_plane(volume: &Array3<f32>, spacing: f64, spine: &[Centroid], seen: Seen) -> Array2<f32> {
    let [along, across] = seen.axes();
    let size: [usize; 3] = volume.dim().into();
    let mut points: Vec<[f64; 2]> =
        spine.iter().map(|c| [c.mm[2] / spacing, c.mm[along] / spacing]).collect();
    points.sort_by(|a, b| a[0].total_cmp(&b[0]));
    let mut plane = Array2::zeros((size[across], size[2]));
    let last = size[along] - 1;
    for z in 0..size[2] {
        let middle = interpolate(&points, z as f64).unwrap_or(size[along] as f64 / 2.0).round();
        let middle = middle.clamp(0.0, last as f64) as usize;
        let (low, high) = (middle.saturating_sub(THICKNESS), (middle + THICKNESS).min(last));
        let layer = volume.index_axis(Axis(2), z);
        if let Some(mean) = layer.slice_axis(Axis(along), (low..=high).into()).mean_axis(Axis(along)) {
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
fn own_window(plane: &Array2<f32>) -> [f32; 2] {
    let mut values: Vec<f32> = plane.iter().copied().collect();
    values.sort_by(f32::total_cmp);
    let at = |share: f64| values[((values.len() - 1) as f64 * share) as usize];
    let (low, high) = (at(0.1), at(0.998));
    if high > low { [low, high] } else { [low - 1.0, low + 1.0] }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn even(voxels: Array3<i16>) -> Even {
        let grid = Grid { shape: voxels.dim().into(), spacing: 1.0, origin: [0.0; 3] };
        Even { voxels, grid }
    }

    #[test]
    fn a_picture_is_saved_even_of_a_tiny_constant_volume() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tiny.png");
        for draw in [
            |path: &Path| {
                sagittal(path, &Array3::zeros((1, 1, 1)), &even(Array3::zeros((1, 1, 1))).grid, &[], &[])
            },
            |path: &Path| preview(path, &even(Array3::zeros((1, 1, 1))), &[], &[], None),
        ] {
            draw(&path).unwrap();
            let picture = tiny_skia::Pixmap::load_png(&path).unwrap();
            assert!(picture.pixels().iter().all(|pixel| pixel.alpha() == 255));
            let greys: std::collections::BTreeSet<u8> = picture
                .pixels()
                .iter()
                .filter(|pixel| pixel.red() == pixel.green() && pixel.green() == pixel.blue())
                .map(|pixel| pixel.red())
                .collect();
            // One voxel, one grey; black is what lies around it. A sentence may stand there in colour.
            assert!((1..=2).contains(&greys.len()), "{greys:?}");
            std::fs::remove_file(&path).unwrap();
        }
    }

    #[test]
    fn a_window_shows_an_intensity_in_the_same_grey_in_every_scan() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.png");
        for other in [30, 400] {
            let mut volume = Array3::from_elem((6, 6, 6), 30);
            volume.slice_mut(ndarray::s![.., .., 3..]).fill(other);
            preview(&path, &even(volume), &[], &[], Some([-10.0, 90.0])).unwrap();
            let picture = tiny_skia::Pixmap::load_png(&path).unwrap();
            let foot = picture.pixel(3, picture.height() - 1).unwrap();
            assert_eq!([foot.red(), foot.green(), foot.blue()], [102; 3]);
        }
    }

    #[test]
    fn a_wide_scan_is_cut_to_the_spine_and_points_stay_on_it() {
        let mut volume = Array3::zeros((200, 50, 100));
        volume[[150, 20, 40]] = 1.0;
        let spine = [Centroid { level: "L1".parse().unwrap(), mm: [300.0, 40.0, 80.0] }];
        let panel = Panel::new(&volume, 2.0, &spine, Seen::FromTheFront, 50.0, 7);
        assert_eq!((panel.start, panel.plane.dim()), (125, (51, 100)));
        assert!(panel.plane[[25, 40]] > 0.0);
        let [x, y] = panel.place(spine[0].mm);
        assert_eq!([x, y], [7.0 + 25.5 * panel.scale, 59.5 * panel.scale]);
    }

    #[test]
    fn the_planes_follow_the_spine() {
        let volume = Array3::from_shape_fn((40, 30, 30), |(x, y, _)| (100 * x + y) as f32);
        let at = |mm: [f64; 3]| Centroid { level: "L1".parse().unwrap(), mm };
        let spine = [at([30.0, 5.0, 20.0]), at([10.0, 15.0, 10.0])];
        let side = curved_plane(&volume, 1.0, &spine, Seen::FromTheSide);
        assert_eq!([side[[7, 0]], side[[7, 15]], side[[7, 29]]], [1007.0, 2007.0, 3007.0]);
        let front = curved_plane(&volume, 1.0, &spine, Seen::FromTheFront);
        assert_eq!([front[[7, 0]], front[[7, 15]], front[[7, 29]]], [715.0, 710.0, 705.0]);
    }
}
