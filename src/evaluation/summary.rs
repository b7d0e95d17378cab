//! Rates and distances over many scans.

use super::{Comparison, Match, Offset};
use crate::anatomy::{Level, Region};

/// Identification rate and distances of some vertebrae.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize)]
pub struct Tally {
    /// Annotated vertebrae.
    pub annotated: usize,
    /// Those whose nearest found vertebra carries the right label.
    pub identified: usize,
    /// Share identified in percent; NaN when none are annotated.
    pub rate: f64,
    /// Mean distance in mm; NaN when there is none.
    pub mean: f64,
    /// Population standard deviation of the distances in mm.
    pub deviation: f64,
}

/// All comparisons of a run.
#[derive(Clone, Debug, Default)]
pub struct Summary {
    matches: Vec<Match>,
    offsets: Vec<Offset>,
}

impl Summary {
    /// Takes in one more scan.
    pub fn add(&mut self, comparison: &Comparison) {
        self.matches.extend(&comparison.matches);
        self.offsets.extend(&comparison.offsets);
    }

    /// Figures over every vertebra.
    pub fn all(&self) -> Tally {
        self.tally(|_| true)
    }

    /// Figures of one part of the spine.
    pub fn region(&self, region: Region) -> Tally {
        self.tally(|level| level.region() == region)
    }

    /// Distances in mm of each level that has any, from the head down.
    pub fn distances(&self) -> Vec<(Level, Vec<f64>)> {
        Level::every()
            .map(|level| {
                let of_level = self.offsets.iter().filter(|offset| offset.level == level);
                (level, of_level.map(|offset| offset.distance).collect::<Vec<f64>>())
            })
            .filter(|(_, distances)| !distances.is_empty())
            .collect()
    }

    fn tally(&self, counts: impl Fn(Level) -> bool) -> Tally {
        let matches: Vec<&Match> = self.matches.iter().filter(|entry| counts(entry.annotated)).collect();
        let identified = matches.iter().filter(|entry| entry.correct()).count();
        let distances: Vec<f64> =
            self.offsets.iter().filter(|offset| counts(offset.level)).map(|offset| offset.distance).collect();
        let mean = numpy_mean(&distances);
        let squares: Vec<f64> = distances.iter().map(|distance| (distance - mean).powi(2)).collect();
        Tally {
            annotated: matches.len(),
            identified,
            rate: identified as f64 / matches.len() as f64 * 100.0,
            mean,
            deviation: numpy_mean(&squares).sqrt(),
        }
    }
}

/// The mean with the order of additions that NumPy has, so that printed digits agree to the last.
/// NaN for an empty slice.
pub fn numpy_mean(values: &[f64]) -> f64 {
    pairwise_sum(values) / values.len() as f64
}

/// NumPy's pairwise summation: eight running sums up to 128 values, halves beyond.
fn pairwise_sum(values: &[f64]) -> f64 {
    const LANES: usize = 8;
    const BLOCK: usize = 128;
    if values.len() < LANES {
        return values.iter().sum();
    }
    if values.len() <= BLOCK {
        let chunks = values.chunks_exact(LANES);
        let rest = chunks.remainder();
        let mut lanes = [0.0; LANES];
        for chunk in chunks {
            for (lane, value) in lanes.iter_mut().zip(chunk) {
                *lane += value;
            }
        }
        let [a, b, c, d, e, f, g, h] = lanes;
        let sum = ((a + b) + (c + d)) + ((e + f) + (g + h));
        return rest.iter().fold(sum, |sum, value| sum + value);
    }
    let half = values.len() / 2 / LANES * LANES;
    pairwise_sum(&values[..half]) + pairwise_sum(&values[half..])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn summary() -> Summary {
        let level = |name: &str| name.parse::<Level>().unwrap();
        let mut summary = Summary::default();
        summary.add(&Comparison {
            matches: vec![
                Match { annotated: level("T1"), closest: Some(level("T1")) },
                Match { annotated: level("T2"), closest: None },
                Match { annotated: level("S1"), closest: Some(level("S1")) },
            ],
            offsets: [("T1", 3.0), ("S1", 5.0)]
                .map(|(name, distance)| Offset {
                    level: level(name),
                    annotated: [0.0; 3],
                    found: [0.0; 3],
                    distance,
                })
                .to_vec(),
        });
        summary
    }

    #[test]
    fn the_sacrum_counts_under_all_only() {
        let summary = summary();
        let all = summary.all();
        assert_eq!((all.annotated, all.identified, all.mean, all.deviation), (3, 2, 4.0, 1.0));
        assert_eq!(summary.region(Region::Thoracic).rate, 50.0);
    }

    #[test]
    fn a_region_without_vertebrae_has_no_rate() {
        let tally = summary().region(Region::Cervical);
        assert!(tally.rate.is_nan() && tally.mean.is_nan() && tally.deviation.is_nan());
    }

    #[test]
    fn sums_add_up_in_numpys_order() {
        // np.mean([0.1 * i for i in range(300)]) and of the first 13, as NumPy prints them.
        let values: Vec<f64> = (0..300).map(|i| 0.1 * f64::from(i)).collect();
        assert_eq!(numpy_mean(&values), 14.95);
        assert_eq!(numpy_mean(&values[..13]), 0.6000000000000001);
    }
}
