//! A body's outline: its end plates and walls, found as the outer edges of bone around its centre.
//!
//! Heights are read as on a midsagittal slice: a slab of a few mm through the middle of the body, along its own axes. The
//! outer edge of the cortex is where intensities fall steepest; of all curves that cross a picture the one is taken that
//! has the best edge and bends least. The body is outlined twice, the second time standing on what the first has found.

use std::ops::Range;

use ndarray::Array2;

use super::edge::{Curve, SOFT, STIFF, curve, smoothed};
use super::fit::{Line, Parabola};
use super::site::{Site, Window};
use crate::scan::Volume;

/// What is expected of a body before it is seen, in mm.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Expected {
    /// From its centre to the next above and below.
    pub next: [f64; 2],
    pub depth: f64,
    pub width: f64,
    /// Whether its plates are hollow, as below the neck.
    pub hollow: bool,
}

/// Where a plate can be, as a share of the way to the next centre, and where it is expected: a body's height is some four
/// fifths of the distance of centres, and a crushed one's less.
const PLATE: [f64; 2] = [0.15, 0.57];
const USUAL: f64 = 0.4;
/// Where a wall can be, as a share of the expected depth or width.
const WALL: [f64; 2] = [0.24, 0.85];
/// Half of the columns that a plate is first looked for in, as a share of the depth or width.
const CENTRAL: f64 = 0.36;
/// Half the slab that heights are read in, as a share of the width.
const SLAB: f64 = 0.15;
/// The share of the depth at either wall that says nothing of a plate's height.
const RIMS: f64 = 0.05;
/// The share of a wall that lies within its corners.
const CORNER: f64 = 0.9;
/// Curves that bend least are flatter than the plates they follow: what heights differ by is so many times as much, on phantoms
/// with bodies that have lost 12 to 50 % of their height, in voxels of 1 to 2 mm.
const FLATTER: f64 = 1.08;
/// Rows nearer to a plate than this show no wall, in mm.
const RIM: f64 = 2.0;
/// A cortex thinner than a voxel is seen as a ridge, which falls steepest outside of it: by this share of a voxel on phantoms
/// with shells of 0.8 to 2.4 mm and voxels of 1 to 2 mm.
const BLUR: f64 = 0.2;
/// Power of a body's section: 2 is an ellipse, more is nearer to a box.
const SQUARE: f64 = 2.5;
/// From flesh to lung intensities fall further than from bone to flesh: what is less than water counts as water, in HU.
const WATER: f32 = 0.0;
/// Edges of less strength are none: the image does not show them.
const CLEAR: f64 = 0.25;

/// Why a body has no outline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Missing {
    /// The scan ends within it.
    Partial,
    /// Its edges are not seen.
    Unclear,
}

/// An end plate in the frame of its body: a curve along the midline, tilted sideways.
#[derive(Clone, Debug)]
pub(crate) struct Plate {
    /// `(back, up)` in mm, from the front wall to the back wall.
    pub profile: Vec<(f64, f64)>,
    /// The plane: its height at the body's middle and its rise to the back and to the left.
    pub height: f64,
    pub slopes: [f64; 2],
}

impl Plate {
    /// How high it lies at so many mm to the left and to the back.
    pub fn at(&self, left: f64, back: f64) -> f64 {
        let after = self.profile.partition_point(|&(at, _)| at < back);
        let along = match (after.checked_sub(1).map(|before| self.profile[before]), self.profile.get(after)) {
            (Some((a, low)), Some(&(b, high))) => low + (high - low) * (back - a) / (b - a).max(1e-9),
            (Some((_, end)), None) => end,
            (None, Some(&(_, end))) => end,
            (None, None) => self.height,
        };
        along + self.slopes[1] * left
    }

    /// The direction at right angles to the plane, up.
    pub fn normal(&self) -> [f64; 3] {
        [-self.slopes[1], -self.slopes[0], 1.0]
    }
}

/// A body outlined, in mm along the axes of its site.
#[derive(Clone, Debug)]
pub(crate) struct Outline {
    pub site: Site,
    pub upper: Plate,
    pub lower: Plate,
    /// Front and back wall, on average.
    pub walls: [f64; 2],
    /// Right and left wall at the middle of the height.
    pub sides: Option<[f64; 2]>,
    /// From one to the other, or what is expected where they are not seen.
    pub width: f64,
    /// At the front wall, in the middle and at the back wall.
    pub heights: [f64; 3],
    pub depth: f64,
    /// The scan's voxels along its height, in mm.
    pub voxel: f64,
    /// How good its edges are, from 0 to 1.
    pub quality: f64,
}

impl Outline {
    /// Outlines the body around a site.
    pub fn of(volume: &Volume, site: Site, expected: &Expected) -> Result<Outline, Missing> {
        let first = trace(volume, site, expected)?;
        let second = first.standing().ok_or(Missing::Unclear)?;
        let outline = trace(volume, second, expected)?;
        if outline.quality < CLEAR { Err(Missing::Unclear) } else { Ok(outline) }
    }

    /// Its middle, to the left and to the back.
    pub fn middle(&self) -> [f64; 2] {
        [self.sides.map_or(0.0, |[right, left]| (right + left) / 2.0), (self.walls[0] + self.walls[1]) / 2.0]
    }

    /// Whether a point along the axes of its site lies within the body: between its plates, and in a section between an
    /// ellipse and the box around it.
    pub fn holds(&self, [left, back, up]: [f64; 3]) -> bool {
        let middle = self.middle();
        let radii = [self.width / 2.0, (self.walls[1] - self.walls[0]) / 2.0];
        let share = |at: f64, axis: usize| (at - middle[axis]).abs() / radii[axis];
        let [aside, across] = [share(left, 0), share(back, 1)];
        // Powers take longer than all the rest.
        aside <= 1.0
            && across <= 1.0
            && aside.powf(SQUARE) + across.powf(SQUARE) <= 1.0
            && (self.lower.at(left, back)..=self.upper.at(left, back)).contains(&up)
    }

    /// The site in the middle of the outline, upright between both plates.
    fn standing(&self) -> Option<Site> {
        let up: [f64; 3] = std::array::from_fn(|axis| self.upper.normal()[axis] + self.lower.normal()[axis]);
        let [left, back] = self.middle();
        let middle = [left, back, (self.upper.height + self.lower.height) / 2.0];
        Site::standing(self.site.point(middle), self.site.direction(up))
    }
}

/// The upper plate of a body whose lower one is not asked for, such as the sacrum's.
pub(crate) fn upper_plate(volume: &Volume, site: Site, expected: &Expected) -> Result<Plate, Missing> {
    let window = window(volume, &site, expected);
    let picture = smoothed(midsagittal(&window, expected.width).view());
    let walls = [-0.4 * expected.depth, 0.4 * expected.depth];
    let columns = central(&window, 1, expected.depth);
    let found = plate_curve(&window, &picture, columns, expected.next[0], 1.0);
    let found =
        found.and_then(|found| Some((found.strength(), plate(&window, found, 1.0, walls, expected)?)));
    let (strength, plate) = found.ok_or_else(|| why(&window, expected))?;
    if strength < CLEAR { Err(Missing::Unclear) } else { Ok(plate) }
}

fn window<'a>(volume: &'a Volume, site: &Site, expected: &Expected) -> Window<'a> {
    let Expected { next: [above, below], depth, width, .. } = *expected;
    Window::around(
        volume,
        site,
        [-0.9 * width, -0.95 * depth, -(0.62 * below + 3.0)],
        [0.9 * width, 0.95 * depth, 0.62 * above + 3.0],
    )
}

fn midsagittal(window: &Window, width: f64) -> Array2<f32> {
    window.slab(0, -SLAB * width, SLAB * width, WATER)
}

/// Whether a body is cut by the scan's end, or only not seen.
fn why(window: &Window, expected: &Expected) -> Missing {
    let Expected { next: [above, below], depth, width, .. } = *expected;
    let (low, high) = ([-0.4 * width, -0.45 * depth, -0.5 * below], [0.4 * width, 0.45 * depth, 0.5 * above]);
    if window.sees(low, high) { Missing::Unclear } else { Missing::Partial }
}

/// The edge of the plate on the `side` (1 above, -1 below) in a picture `[back, up]`.
fn plate_curve(
    window: &Window,
    picture: &Array2<f32>,
    columns: Range<usize>,
    next: f64,
    side: f64,
) -> Option<Curve> {
    let (places, expected) = expected_places(window, 2, side * next, PLATE, USUAL);
    curve(picture.view(), side as f32, columns, places, expected, window.way(2, SOFT))
}

/// Where an edge along an axis can be and where it is expected, in samples: shares of a size, which is less than 0 on the
/// other side.
fn expected_places(
    window: &Window,
    axis: usize,
    size: f64,
    can: [f64; 2],
    usual: f64,
) -> (Range<usize>, f64) {
    let [near, far] = can.map(|share| share * size);
    (window.range(axis, near.min(far), near.max(far)), window.index(axis, usual * size))
}

/// Columns over the middle of a size, away from the rim.
fn central(window: &Window, axis: usize, size: f64) -> Range<usize> {
    window.range(axis, -CENTRAL * size, CENTRAL * size)
}

/// The place in mm of an edge that looks to the `side`, 1 or -1.
fn edge(window: &Window, axis: usize, place: f64, side: f64) -> f64 {
    window.mm(axis, place) - side * BLUR * window.voxel[axis]
}

/// A plate from its midsagittal curve, with how it is tilted sideways.
fn plate(window: &Window, found: Curve, side: f64, walls: [f64; 2], expected: &Expected) -> Option<Plate> {
    // In mm along an axis, and up.
    let points = |curve: &Curve, axis: usize| -> Vec<(f64, f64)> {
        let places = curve.columns.clone().zip(&curve.places);
        places
            .map(|(column, &place)| (window.mm(axis, column as f64), edge(window, 2, place, side)))
            .collect()
    };
    let profile = points(&found, 1);
    let sagittal = Line::through(&profile)?;
    let middle = (walls[0] + walls[1]) / 2.0;
    let third = 0.2 * (walls[1] - walls[0]);
    let picture = smoothed(window.slab(1, middle - third, middle + third, WATER).view());
    let columns = central(window, 0, expected.width);
    // The midline's height is known; a plate tilts by a few mm to either side.
    let height = sagittal.at(middle);
    let reach = 0.16 * expected.width + 2.0;
    let places = window.range(2, height - reach, height + reach);
    let coronal =
        curve(picture.view(), side as f32, columns, places, window.index(2, height), window.way(2, STIFF))?;
    let across = Line::through(&points(&coronal, 0))?;
    Some(Plate { profile, height, slopes: [sagittal.slope, across.slope] })
}

/// One pass around a site.
fn trace(volume: &Volume, site: Site, expected: &Expected) -> Result<Outline, Missing> {
    let window = window(volume, &site, expected);
    trace_in(&window, site, expected).ok_or_else(|| why(&window, expected))
}

fn trace_in(window: &Window, site: Site, expected: &Expected) -> Option<Outline> {
    let Expected { next: [above, below], depth, width, .. } = *expected;
    let slice = midsagittal(window, width);
    let picture = smoothed(slice.view());
    let plates = |columns: Range<usize>| {
        let upper = plate_curve(window, &picture, columns.clone(), above, 1.0)?;
        Some([upper, plate_curve(window, &picture, columns, below, -1.0)?])
    };
    let rough = plates(central(window, 1, depth))?;
    let [top, bottom] = rough.each_ref().map(|curve| window.mm(2, curve.mean()));
    let rows = window.range(2, bottom + RIM, top - RIM);
    let picture_of_walls = smoothed(slice.t());
    let wall = |side: f64| {
        let (places, expected) = expected_places(window, 1, side * depth, WALL, 0.5);
        curve(picture_of_walls.view(), side as f32, rows.clone(), places, expected, window.way(1, SOFT))
    };
    let (front, back) = (wall(-1.0)?, wall(1.0)?);
    let walls = [edge(window, 1, front.median(), -1.0), edge(window, 1, back.median(), 1.0)];

    let [upper, lower] = plates(window.range(1, walls[0] + 1.0, walls[1] - 1.0))?;
    let quality = upper.strength().min(lower.strength());
    let upper = plate(window, upper, 1.0, walls, expected)?;
    let lower = plate(window, lower, -1.0, walls, expected)?;
    // A body is slimmest at its waist; its corners, where heights are read, are where its walls reach furthest.
    let corners =
        [edge(window, 1, front.quantile(1.0 - CORNER), -1.0), edge(window, 1, back.quantile(CORNER), 1.0)];
    let heights = heights(&upper, &lower, corners, expected.hollow)?;

    // Depth and width at the middle half of the height, where the waist is.
    let quarter = (upper.height - lower.height) / 4.0;
    let waist = window.range(2, lower.height + quarter, upper.height - quarter);
    let at_waist = |curve: &Curve, side: f64| {
        let places: Vec<f64> = waist.clone().filter_map(|row| curve.at(row)).collect();
        let mean = places.iter().sum::<f64>() / places.len() as f64;
        (!places.is_empty()).then(|| edge(window, 1, mean, side))
    };
    let depth = at_waist(&back, 1.0)? - at_waist(&front, -1.0)?;
    let sides = sides(window, walls, waist, width);
    let width = sides.map_or(width, |[right, left]| left - right);
    Some(Outline { site, upper, lower, walls, sides, width, heights, depth, voxel: window.voxel[2], quality })
}

/// Heights at the front wall, in the middle and at the back wall. Corners are rounded or have spurs, so the first and the last are
/// those of a curve through all but the rims: a parabola where plates are hollow, and in the neck, whose bodies are too short for
/// one, lines through the nearer two fifths.
fn heights(upper: &Plate, lower: &Plate, walls: [f64; 2], hollow: bool) -> Option<[f64; 3]> {
    let share = |back: f64| (back - walls[0]) / (walls[1] - walls[0]);
    let pairs = upper.profile.iter().zip(&lower.profile);
    let tall: Vec<(f64, f64)> = pairs.map(|(&(back, high), &(_, low))| (back, high - low)).collect();
    let part = |low: f64, high: f64| -> Vec<(f64, f64)> {
        tall.iter().copied().filter(|&(back, _)| (low..=high).contains(&share(back))).collect()
    };
    if hollow {
        let height = Parabola::through(&part(RIMS, 1.0 - RIMS), walls)?;
        let found = [walls[0], (walls[0] + walls[1]) / 2.0, walls[1]].map(|back| height.at(back));
        let mean = found.iter().sum::<f64>() / 3.0;
        return Some(found.map(|height| mean + FLATTER * (height - mean)));
    }
    let middle = part(0.42, 0.58);
    Some([
        Line::through(&part(RIMS, 0.45))?.at(walls[0]),
        middle.iter().map(|point| point.1).sum::<f64>() / middle.len().max(1) as f64,
        Line::through(&part(0.55, 1.0 - RIMS))?.at(walls[1]),
    ])
}

/// The right and the left wall. The arch and the ribs begin behind the middle, so they are looked for in front of it.
fn sides(window: &Window, walls: [f64; 2], rows: Range<usize>, width: f64) -> Option<[f64; 2]> {
    let depth = walls[1] - walls[0];
    let slab = window.slab(1, walls[0] + 0.12 * depth, walls[0] + 0.5 * depth, WATER);
    let picture = smoothed(slab.t());
    let side = |side: f64| {
        let (places, expected) = expected_places(window, 0, side * width, WALL, 0.5);
        let found = curve(picture.view(), side as f32, rows.clone(), places, expected, window.way(0, SOFT))?;
        (found.strength() >= CLEAR).then(|| edge(window, 0, found.mean(), side))
    };
    Some([side(-1.0)?, side(1.0)?])
}
