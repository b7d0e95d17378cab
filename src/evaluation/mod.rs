//! How well found vertebrae agree with annotated ones (docs/original.md §8.4).

pub mod accuracy;
pub mod calibration;
mod summary;

pub use summary::{Summary, Tally, numpy_mean};

use crate::anatomy::Level;
use crate::annotation::Centroid;
use crate::scan::distance;

/// Default reach of the identification rate in mm.
pub const REACH: f64 = 20.0;

/// An annotated vertebra and the found one nearest to it.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize)]
pub struct Match {
    /// What the annotation says.
    pub annotated: Level,
    /// The nearest found vertebra within reach.
    pub closest: Option<Level>,
}

impl Match {
    /// Whether the nearest vertebra carries the right label.
    pub fn correct(&self) -> bool {
        self.closest == Some(self.annotated)
    }
}

/// A found vertebra that is annotated too, with the distance of the two in mm.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize)]
pub struct Offset {
    /// Which vertebra.
    pub level: Level,
    /// Annotated position in mm.
    pub annotated: [f64; 3],
    /// Found position in mm.
    pub found: [f64; 3],
    /// Distance in mm.
    pub distance: f64,
}

/// One scan compared with its annotation.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct Comparison {
    /// One entry an annotated vertebra, in the annotation's order.
    pub matches: Vec<Match>,
    /// One entry a vertebra that is found and annotated, from the head down; however far apart.
    pub offsets: Vec<Offset>,
}

/// Compares found with annotated vertebrae, both in mm of one frame.
pub fn compare(annotated: &[Centroid], found: &[Centroid], reach: f64) -> Comparison {
    let matches = annotated
        .iter()
        .map(|vertebra| {
            let mut nearest = (reach, None);
            for candidate in found {
                let distance = distance(vertebra.mm, candidate.mm);
                // Later ones win ties.
                if distance <= nearest.0 {
                    nearest = (distance, Some(candidate.level));
                }
            }
            Match { annotated: vertebra.level, closest: nearest.1 }
        })
        .collect();
    let offsets = found
        .iter()
        .filter_map(|vertebra| {
            let annotation = annotated.iter().find(|known| known.level == vertebra.level)?;
            Some(Offset {
                level: vertebra.level,
                annotated: annotation.mm,
                found: vertebra.mm,
                distance: distance(annotation.mm, vertebra.mm),
            })
        })
        .collect();
    Comparison { matches, offsets }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(name: &str, z: f64) -> Centroid {
        Centroid { level: name.parse().unwrap(), mm: [0.0, 0.0, z] }
    }

    #[test]
    fn the_nearest_within_reach_counts_and_later_ones_win_ties() {
        let comparison = compare(
            &[at("T1", 0.0), at("T2", 50.0), at("T3", 100.0)],
            &[at("T1", 10.0), at("C7", -10.0), at("T2", 70.0), at("T4", 121.0)],
            REACH,
        );
        let closest: Vec<Option<&str>> =
            comparison.matches.iter().map(|entry| entry.closest.map(Level::name)).collect();
        assert_eq!(closest, [Some("C7"), Some("T2"), None]);
        assert!(comparison.matches[1].correct() && !comparison.matches[0].correct());
    }

    #[test]
    fn distances_are_those_of_equal_labels_however_far() {
        let comparison = compare(&[at("T1", 0.0), at("T2", 50.0)], &[at("T2", 90.0), at("L1", 0.0)], REACH);
        assert_eq!(comparison.offsets.len(), 1);
        assert_eq!((comparison.offsets[0].level.name(), comparison.offsets[0].distance), ("T2", 40.0));
    }
}
