//! The original's reduction: the median position of all voxels of a label (docs/original.md §8.3).

use ndarray::Array3;

use crate::anatomy::Level;
use crate::annotation::Centroid;
use crate::scan::Grid;

/// A vertebra found in a scan.
#[derive(Clone, Debug, PartialEq)]
pub struct Vertebra {
    /// Which one.
    pub level: Level,
    /// Centre in mm from the first voxel of the analysed volume.
    pub mm: [f64; 3],
    /// Voxels that carry its label.
    pub voxels: usize,
}

impl Vertebra {
    /// The vertebra without its voxels.
    pub fn centroid(&self) -> Centroid {
        Centroid { level: self.level, mm: self.mm }
    }
}

/// How many voxels a label needs to count as a vertebra.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Thresholds {
    /// Share of the cube of the level's diameter.
    pub diameter_share: f64,
    /// At least this many mm³ (voxels at 1 mm).
    pub least: f64,
}

impl Default for Thresholds {
    fn default() -> Self {
        Thresholds { diameter_share: 0.4, least: 3000.0 }
    }
}

impl Thresholds {
    /// Whether so many voxels of `spacing` mm are enough.
    fn keep(&self, level: Level, voxels: usize, spacing: f64) -> bool {
        let volume = voxels as f64 * spacing.powi(3);
        volume > (self.diameter_share * level.diameter().powi(3)).max(self.least)
    }
}

/// The kept levels from the head down: the median per axis of their voxels, to 0.01 mm.
///
/// `levels` holds label values on a grid; positions are what the grid counts from.
pub fn by_median(levels: &Array3<u8>, grid: &Grid, thresholds: &Thresholds) -> Vec<Vertebra> {
    // Per label and axis: how many voxels lie at each index. A median needs no more.
    let shape = levels.shape();
    let longest = shape.iter().copied().max().unwrap_or(0);
    let mut counts =
        vec![[vec![0usize; longest], vec![0; longest], vec![0; longest]]; Level::MAX_VALUE as usize + 1];
    for ((x, y, z), &value) in levels.indexed_iter() {
        if (1..=Level::MAX_VALUE).contains(&value) {
            let axes = &mut counts[value as usize];
            for (axis, index) in [x, y, z].into_iter().enumerate() {
                axes[axis][index] += 1;
            }
        }
    }
    Level::all()
        .filter_map(|level| {
            let axes = &counts[level.value() as usize];
            let voxels: usize = axes[0].iter().sum();
            let middle = || std::array::from_fn(|axis| median(&axes[axis], voxels));
            thresholds.keep(level, voxels, grid.spacing).then(|| Vertebra {
                level,
                mm: grid.mm(middle()).map(hundredth),
                voxels,
            })
        })
        .collect()
}

/// Median of positions given by how often each occurs; the mean of the middle two if even.
fn median(counts: &[usize], total: usize) -> f64 {
    let at = |rank: usize| {
        let mut seen = 0;
        counts.iter().position(|count| {
            seen += count;
            seen > rank
        })
    };
    let (low, high) = (at((total - 1) / 2).unwrap_or(0), at(total / 2).unwrap_or(0));
    (low + high) as f64 / 2.0
}

/// Rounds to two decimals, halves to even, as the original does.
pub fn hundredth(value: f64) -> f64 {
    (value * 100.0).round_ties_even() / 100.0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grid(levels: &Array3<u8>, spacing: f64) -> Grid {
        Grid { shape: levels.dim().into(), spacing, origin: [0.0; 3] }
    }

    const ALL: Thresholds = Thresholds { diameter_share: 0.0, least: 0.0 };

    #[test]
    fn the_median_is_taken_per_axis() {
        let mut levels = Array3::zeros((6, 6, 6));
        for index in [[0, 0, 1], [1, 5, 1], [5, 1, 2], [2, 2, 2]] {
            levels[index] = 20;
        }
        let vertebrae = by_median(&levels, &grid(&levels, 1.0), &ALL);
        assert_eq!(vertebrae.len(), 1);
        assert_eq!((vertebrae[0].level.name(), vertebrae[0].voxels), ("L1", 4));
        assert_eq!(vertebrae[0].mm, [1.5, 1.5, 1.5]);
        let coarse = Grid { origin: [0.0, -1.0, 0.5], ..grid(&levels, 2.0) };
        assert_eq!(by_median(&levels, &coarse, &ALL)[0].mm, [3.0, 2.0, 3.5]);
    }

    #[test]
    fn a_label_needs_more_voxels_than_its_threshold() {
        let mut levels = Array3::zeros((20, 20, 20));
        levels.slice_mut(ndarray::s![..10, ..10, ..10]).fill(3);
        let fine = grid(&levels, 1.0);
        let keep = |least| by_median(&levels, &fine, &Thresholds { diameter_share: 0.0, least }).len();
        assert_eq!((keep(999.0), keep(1000.0)), (1, 0));
        // C3: 0.4 · 16.5³ = 1796.85; at 2 mm the same voxels make eight times the volume.
        let thresholds = Thresholds { diameter_share: 0.4, least: 0.0 };
        assert_eq!(by_median(&levels, &fine, &thresholds).len(), 0);
        assert_eq!(by_median(&levels, &grid(&levels, 2.0), &thresholds).len(), 1);
    }

    #[test]
    fn values_that_name_no_level_are_passed_over() {
        let levels = Array3::from_elem((9, 9, 9), 27);
        assert!(by_median(&levels, &grid(&levels, 1.0), &ALL).is_empty());
    }
}
