//! The labelled spine: which vertebra each voxel of a scan belongs to.

use ndarray::{Array3, Axis, parallel::prelude::*};

use super::Vertebra;
use crate::anatomy::Level;
use crate::annotation::verse;
use crate::scan::{Frame, Grid};

/// A voxel is a vertebra's up to this share of its diameter from the centre.
const REACH: f64 = 0.75;
/// The number of S2, which has none of its own in VerSe: the sacrum's.
const SACRUM: u8 = 26;

/// Where bodies are: positive inside, on a grid in LPS order.
pub struct Inside {
    /// `[x, y, z]`.
    pub values: Array3<f32>,
    /// Where these voxels lie.
    pub grid: Grid,
}

/// VerSe's number of the nearest vertebra for every stored voxel inside a body, 0 elsewhere.
///
/// `found` is in mm from the first voxel in LPS order; the result has the shape and the order of the file.
pub fn labels(inside: &Inside, found: &[Vertebra], frame: &Frame) -> Array3<u8> {
    let mut labels = Array3::zeros(frame.stored.shape);
    let places = places(&inside.grid, frame);
    let [x, y, z] = frame.orientation.axes;
    labels.axis_iter_mut(Axis(0)).into_par_iter().enumerate().for_each(|(first, mut plane)| {
        for ((second, third), label) in plane.indexed_iter_mut() {
            let stored = [first, second, third];
            let at = [&places[0][stored[x]], &places[1][stored[y]], &places[2][stored[z]]];
            if interpolated(&inside.values, at.map(|place| place.index)) > 0.0 {
                *label = nearest(found, at.map(|place| place.mm));
            }
        }
    });
    labels
}

/// Where a stored index lies along an LPS axis.
struct Place {
    /// Millimetres from the first voxel in LPS order.
    mm: f64,
    /// The same as an index into the grid.
    index: f64,
}

fn places(grid: &Grid, frame: &Frame) -> [Vec<Place>; 3] {
    let stored = &frame.stored;
    std::array::from_fn(|axis| {
        let from = frame.orientation.axes[axis];
        let place = |index: usize| {
            let mut mm = [0.0; 3];
            mm[from] = index as f64 * stored.spacing[from];
            let mm = frame.from_stored(mm)[axis];
            Place { mm, index: (mm - grid.origin[axis]) / grid.spacing }
        };
        (0..stored.shape[from]).map(place).collect()
    })
}

/// Linear between voxels; outside is nothing.
fn interpolated(values: &Array3<f32>, at: [f64; 3]) -> f32 {
    let size: [usize; 3] = values.dim().into();
    let mut low = [0; 3];
    let mut share = [0.0; 3];
    for axis in 0..3 {
        // Half a voxel beyond the middle of the last one still belongs to it.
        if !(-0.5..=size[axis] as f64 - 0.5).contains(&at[axis]) {
            return -1.0;
        }
        let place = at[axis].clamp(0.0, size[axis] as f64 - 1.0);
        low[axis] = (place as usize).min(size[axis].saturating_sub(2));
        share[axis] = (place - low[axis] as f64) as f32;
    }
    let mut sum = 0.0;
    for corner in 0..8usize {
        let up = [corner & 1, corner >> 1 & 1, corner >> 2];
        let weight: f32 =
            (0..3).map(|axis| if up[axis] == 1 { share[axis] } else { 1.0 - share[axis] }).product();
        if weight > 0.0 {
            sum += weight * values[[low[0] + up[0], low[1] + up[1], low[2] + up[2]]];
        }
    }
    sum
}

fn nearest(found: &[Vertebra], mm: [f64; 3]) -> u8 {
    let distance = |vertebra: &Vertebra| -> f64 {
        (0..3).map(|axis| (vertebra.mm[axis] - mm[axis]).powi(2)).sum::<f64>().sqrt()
    };
    let nearest = found.iter().map(|vertebra| (distance(vertebra), vertebra.level));
    match nearest.min_by(|a, b| a.0.total_cmp(&b.0)) {
        Some((distance, level)) if distance <= REACH * level.diameter() => number(level),
        _ => 0,
    }
}

fn number(level: Level) -> u8 {
    verse::id(level).map_or(SACRUM, |id| id as u8)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scan::{Geometry, Orientation};

    #[test]
    fn bodies_are_labelled_where_they_lie_whatever_the_stored_order() {
        // Stored axes run up, to the right and to the front: every axis swapped, two of three flipped.
        let affine = [[0.0, 1.0, 0.0, 0.0], [0.0, 0.0, 2.0, 0.0], [4.0, 0.0, 0.0, 0.0]];
        let stored = Geometry { shape: [30, 60, 25], spacing: [4.0, 1.0, 2.0], affine };
        let frame = Frame { orientation: Orientation::to_lps(&stored).unwrap(), stored };
        assert_eq!(frame.orientation.axes, [1, 2, 0]);
        let found: Vec<Vertebra> = [("L1", [20.0, 15.0, 90.0]), ("L2", [30.0, 30.0, 30.0])]
            .map(|(name, mm)| Vertebra { level: name.parse().unwrap(), mm, voxels: 1 })
            .to_vec();
        let grid = Grid { shape: [11, 9, 21], spacing: 6.0, origin: [0.0, 0.0, -1.0] };
        let values = Array3::from_shape_fn(grid.shape, |(x, y, z)| {
            let mm = grid.mm([x as f64, y as f64, z as f64]);
            let near = |v: &Vertebra| (0..3).map(|a| (v.mm[a] - mm[a]).powi(2)).sum::<f64>().sqrt();
            10.0 - found.iter().map(near).fold(f64::INFINITY, f64::min) as f32
        });
        let labels = labels(&Inside { values, grid }, &found, &frame);
        assert_eq!(labels.shape(), [30, 60, 25]);
        for vertebra in &found {
            let index = frame.stored.index(frame.to_stored(vertebra.mm)).map(|part| part.round() as usize);
            assert_eq!(labels[index], number(vertebra.level));
            let count = labels.iter().filter(|&&label| label == number(vertebra.level)).count();
            // A ball of 10 mm in voxels of 8 mm³.
            assert!((count as f64 * 8.0 / 4189.0 - 1.0).abs() < 0.25, "{count}");
        }
        assert_eq!(labels[[0, 0, 0]], 0);
    }
}
