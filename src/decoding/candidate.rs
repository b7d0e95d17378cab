//! A body cut out of a scan, with what its own voxels say of its level.

use super::sequence::body::Body;
use super::sequence::chain::Judged;
use super::sequence::prices::{LEVELS, Prices};
use super::sequence::{self, Named};
use crate::anatomy::Level;

/// A level is never thought less likely than this: what a network has never seen it may still meet.
const LEAST: f64 = 1e-6;

/// A body that may be a vertebra.
#[derive(Clone, Debug, PartialEq)]
pub struct Candidate {
    /// Centre in mm from the scan's first voxel, LPS order.
    pub mm: [f64; 3],
    /// How likely it is each level value, C1 first, S2 last.
    pub levels: [f64; Level::MAX_VALUE as usize],
    /// Its voxels in mm³.
    pub volume: f64,
    /// How likely it is a body at all.
    pub presence: f64,
}

impl Candidate {
    fn judged(&self) -> Judged {
        let chance = |index: usize| {
            // T13 shares the value of T12, L6 that of L5.
            let value = Level::at(index).map_or(0, Level::value);
            self.levels.get(usize::from(value).wrapping_sub(1)).map_or(LEAST, |chance| chance.max(LEAST))
        };
        let present = self.presence.clamp(LEAST, 1.0 - LEAST);
        let levels: [f64; LEVELS] = std::array::from_fn(|index| (chance(index) * present).ln());
        Judged { levels, none: (1.0 - present).ln() }
    }
}

/// Names the candidates, which it sorts from the head down, as the most likely sequence of levels.
pub fn name(candidates: &mut [Candidate]) -> Vec<Named> {
    candidates.sort_by(|a, b| b.mm[2].total_cmp(&a.mm[2]));
    let bodies: Vec<Body> = candidates
        .iter()
        .map(|candidate| Body { mm: candidate.mm, segments: [0.0; 3], pedicles: [None; 2], seen: true })
        .collect();
    let judged: Vec<Judged> = candidates.iter().map(Candidate::judged).collect();
    sequence::name(&bodies, &judged, &Prices::VOLUMES)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A body 30 mm below the one before that looks like a level value.
    fn candidate(number: usize, value: usize) -> Candidate {
        let levels = std::array::from_fn(|index| if index + 1 == value { 0.9 } else { 0.004 });
        Candidate { mm: [0.0, 0.0, -30.0 * number as f64], levels, volume: 5000.0, presence: 0.95 }
    }

    fn names(values: &[usize]) -> Vec<&'static str> {
        let mut candidates: Vec<Candidate> =
            values.iter().enumerate().map(|(number, &value)| candidate(number, value)).rev().collect();
        name(&mut candidates).iter().map(|named| named.level.name()).collect()
    }

    #[test]
    fn one_label_that_stands_twice_is_put_right() {
        assert_eq!(names(&[17, 18, 18, 20, 21]), ["T10", "T11", "T12", "L1", "L2"]);
    }

    #[test]
    fn two_sacral_bodies_are_named_below_the_last_lumbar_one() {
        assert_eq!(names(&[23, 24, 25, 26]), ["L4", "L5", "S1", "S2"]);
    }
}
