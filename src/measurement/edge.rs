//! The outer edge of bone in a picture: a curve that crosses every column once.

use std::ops::Range;

use ndarray::{Array2, ArrayView2};

use super::median;
use super::site::PITCH;

/// A fall of so many HU a mm is half as good an edge as the steepest one, where voxels are no larger than [`FINE`] mm; larger
/// ones make every fall gentler. Noise of 20 HU in a slab falls by some 5, a good cortex by 100 and more.
const HALF: f32 = 60.0;
const FINE: f64 = 1.5;
/// Price of a curve that moves by one sample from a column to the next; it grows with the square.
pub(crate) const SOFT: f32 = 0.03;
/// The same of a curve that is nearly straight.
pub(crate) const STIFF: f32 = 0.15;
/// Samples that it may move at most.
const REACH: usize = 4;
/// Price of each mm² that an edge lies off the place where it is expected.
const OFF: f32 = 0.002;
/// Standard deviation of the smoothing before the fall is taken, in mm: along the edge, and across it. A cortex thinner than
/// the blur seems to end further out, so there is little across.
const SMOOTH: [f64; 2] = [1.2, 0.4];

/// An edge, column by column.
#[derive(Clone, Debug)]
pub(crate) struct Curve {
    /// The columns of the picture that it crosses.
    pub columns: Range<usize>,
    /// Where it crosses each, as a fraction of samples.
    pub places: Vec<f64>,
    /// How good an edge it is there, from 0 to 1.
    pub strengths: Vec<f32>,
}

impl Curve {
    /// The mean strength.
    pub fn strength(&self) -> f64 {
        self.strengths.iter().map(|&strength| f64::from(strength)).sum::<f64>()
            / self.strengths.len().max(1) as f64
    }

    /// The mean place.
    pub fn mean(&self) -> f64 {
        self.places.iter().sum::<f64>() / self.places.len().max(1) as f64
    }

    /// The median place.
    pub fn median(&self) -> f64 {
        median(self.places.clone()).unwrap_or(f64::NAN)
    }

    /// The place that this share of all places does not exceed.
    pub fn quantile(&self, share: f64) -> f64 {
        let mut sorted = self.places.clone();
        sorted.sort_by(f64::total_cmp);
        let index = (share * sorted.len().saturating_sub(1) as f64).round() as usize;
        sorted.get(index).copied().unwrap_or(f64::NAN)
    }

    /// The place in a column.
    pub fn at(&self, column: usize) -> Option<f64> {
        self.places.get(column.checked_sub(self.columns.start)?).copied()
    }
}

/// A picture `[column, place]` smoothed, NaN where a neighbour is.
pub(crate) fn smoothed(picture: ArrayView2<f32>) -> Array2<f32> {
    let pass = |picture: ArrayView2<f32>, deviation: f64| {
        let deviation = deviation / PITCH;
        let reach = (2.5 * deviation).ceil() as isize;
        let weights: Vec<f32> =
            (-reach..=reach).map(|at| (-0.5 * (at as f64 / deviation).powi(2)).exp() as f32).collect();
        let (rows, columns) = picture.dim();
        // The result is turned over, so that two passes smooth both ways.
        Array2::from_shape_fn((columns, rows), |(column, row)| {
            let (mut sum, mut all) = (0.0, 0.0);
            for (weight, at) in weights.iter().zip(-reach..) {
                let at = column as isize + at;
                if (0..columns as isize).contains(&at) {
                    sum += weight * picture[[row, at as usize]];
                    all += weight;
                }
            }
            sum / all
        })
    };
    pass(pass(picture, SMOOTH[1]).view(), SMOOTH[0])
}

/// How a curve may run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Way {
    pub stiffness: f32,
    /// The scan's voxels across the edge, in mm.
    pub voxel: f64,
}

/// The best edge in a smoothed picture `[column, place]`: where intensities fall outwards, that is with rising places if
/// `outwards` is 1 and falling ones if -1. It is looked for among `places`, expected around `expected`. `None` where nothing
/// is seen.
pub(crate) fn curve(
    picture: ArrayView2<f32>,
    outwards: f32,
    columns: Range<usize>,
    places: Range<usize>,
    expected: f64,
    Way { stiffness, voxel }: Way,
) -> Option<Curve> {
    let last = picture.ncols().checked_sub(1)?;
    // A fall lies halfway between two samples.
    let places = places.start..places.end.min(last);
    if columns.is_empty() || columns.end > picture.nrows() || places.is_empty() {
        return None;
    }
    let places = seen(picture, &columns, places, expected)?;
    let fall = |column: usize, place: usize| {
        let slope = (picture[[column, place + 1]] - picture[[column, place]]) / PITCH as f32;
        // `max` would make a zero of not-a-number.
        if -outwards * slope < 0.0 { 0.0 } else { -outwards * slope }
    };
    let half = HALF * (FINE / voxel.max(FINE)) as f32;
    let strength = |column: usize, place: usize| {
        let fall = fall(column, place);
        fall / (fall + half)
    };
    let off = |place: usize| {
        let mm = ((place as f64 - expected) * PITCH) as f32;
        -OFF * mm * mm
    };
    // The best way to every place of a column, and where it came from.
    let count = places.len();
    let mut best: Vec<f32> = Vec::new();
    let mut ways: Vec<Vec<usize>> = Vec::new();
    for column in columns.clone() {
        let own: Vec<f32> = places.clone().map(|place| strength(column, place) + off(place)).collect();
        if own.iter().any(|value| value.is_nan()) {
            return None;
        }
        if best.is_empty() {
            best = own;
            continue;
        }
        let mut way = vec![0; count];
        let mut next = vec![f32::NEG_INFINITY; count];
        for place in 0..count {
            let near = place.saturating_sub(REACH)..(place + REACH + 1).min(count);
            for (from, before) in near.clone().zip(&best[near]) {
                let moved = place as f32 - from as f32;
                let worth = before - stiffness * moved * moved;
                if worth > next[place] {
                    (next[place], way[place]) = (worth, from);
                }
            }
            next[place] += own[place];
        }
        best = next;
        ways.push(way);
    }
    let mut at = (0..count).fold(0, |a, b| if best[b] > best[a] { b } else { a });
    let mut path = vec![at];
    for way in ways.iter().rev() {
        at = way[at];
        path.push(at);
    }
    path.reverse();
    let mut found = Curve { columns: columns.clone(), places: Vec::new(), strengths: Vec::new() };
    for (column, at) in columns.zip(path) {
        let place = places.start + at;
        found.places.push(place as f64 + 0.5 + between(fall, column, place, &places));
        found.strengths.push(strength(column, place));
    }
    Some(found)
}

/// The places around the expected one that are seen in all columns: a scan may end close behind an edge.
fn seen(
    picture: ArrayView2<f32>,
    columns: &Range<usize>,
    places: Range<usize>,
    expected: f64,
) -> Option<Range<usize>> {
    let dark = |place: usize| columns.clone().any(|column| picture[[column, place]].is_nan());
    let middle = expected.round().max(0.0) as usize;
    if !places.contains(&middle) || dark(middle) {
        return None;
    }
    let start =
        (places.start..middle).rev().find(|&place| dark(place)).map_or(places.start, |place| place + 1);
    // Each fall takes the place after it, too.
    let end = (middle + 1..places.end + 1).find(|&place| dark(place)).map_or(places.end, |place| place - 1);
    (start + 3 <= end).then_some(start..end)
}

/// The top of a parabola through the falls at a place and beside it, at most half a sample off.
fn between(fall: impl Fn(usize, usize) -> f32, column: usize, place: usize, places: &Range<usize>) -> f64 {
    if place <= places.start || place + 1 >= places.end {
        return 0.0;
    }
    let [before, here, after] = [place - 1, place, place + 1].map(|place| f64::from(fall(column, place)));
    let bend = before - 2.0 * here + after;
    if bend >= -1e-9 { 0.0 } else { (0.5 * (before - after) / bend).clamp(-0.5, 0.5) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOFT_WAY: Way = Way { stiffness: SOFT, voxel: 1.0 };

    #[test]
    fn a_slanted_edge_is_found_between_samples_past_a_weaker_one() {
        // Bone of 400 up to 20 + 0.2 columns, then 60; a fleck at 8.
        let edge = |column: usize| 20.3 + 0.2 * column as f64;
        let picture = Array2::from_shape_fn((30, 50), |(column, place)| {
            let inside = (edge(column) - place as f64 + 0.5).clamp(0.0, 1.0) as f32;
            60.0 + 340.0 * inside + if place == 8 { 60.0 } else { 0.0 }
        });
        let found = curve(smoothed(picture.view()).view(), 1.0, 2..28, 0..50, 18.0, SOFT_WAY).unwrap();
        for (column, place) in found.columns.clone().zip(&found.places) {
            assert!((place - edge(column)).abs() < 0.4, "{column}: {place}");
        }
        assert!(found.strength() > 0.5);
        // The other way nothing falls but the fleck.
        let wrong = curve(smoothed(picture.view()).view(), -1.0, 2..28, 0..50, 18.0, SOFT_WAY).unwrap();
        assert!(wrong.strength() < 0.5);
        assert!(curve(picture.view(), 1.0, 2..31, 0..50, 18.0, SOFT_WAY).is_none());
    }

    #[test]
    fn what_is_not_seen_has_no_edge() {
        let mut picture = Array2::from_elem((9, 20), 100.0);
        picture[[4, 10]] = f32::NAN;
        assert!(curve(picture.view(), 1.0, 0..9, 0..20, 10.0, SOFT_WAY).is_none());
    }
}
