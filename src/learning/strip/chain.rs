//! Fitting the chain to spines that the networks have not learned from.
//!
//! A network's word on spines it has learned from says nothing about how far it is to be believed, so each fold of
//! scans is read by networks taught on the others. The chain's seven numbers are then those under which the true names are the
//! likeliest (maximum likelihood over all chains), which is what makes its confidence mean something.

use ndarray::Array2;
use rayon::prelude::*;

use crate::anatomy::Level;
use crate::annotation::Centroid;
use crate::decoding::sequence::Named;
use crate::scan::distance;
use crate::spine::Chain;

/// A body this far in mm from an annotated one is that one.
const SAME: f64 = 10.0;
/// Share of annotations that are taken as wrong, so that one of these does not decide.
const MISLABELLED: f64 = 0.002;
/// What a number has to gain, in logarithms of likelihood, to be another by a factor of e: some dozens of scans
/// should not move far what they tell little about. With 1 and with 4, what four folds say names fewer of the fifth right
/// than the usual chain does; with 16 as many, and their confidence says more (docs/accuracy.md).
const INERTIA: f64 = 16.0;
/// Steps of the search, as logarithms of factors, and how small they get.
const FIRST: f64 = 0.5;
const LAST: f64 = 0.01;
/// Share of right names that may be flagged, and what a runner-up has to reach at least and at most to be.
const FLAGGED: f64 = 0.06;
const AMBIGUOUS: [f64; 2] = [0.04, 0.25];
/// Where searches begin: the usual chain, and one that believes the network far less, since a wrong run that all but
/// cannot be says nothing of which way to go.
const STARTS: [[f64; 7]; 2] = [[0.0; 7], [1.5, 0.0, -1.2, -0.5, 0.0, 0.0, 0.0]];

/// A spine that was read by networks that have not learned from it.
#[derive(Clone, Debug)]
pub struct Read {
    /// Centres of all bodies that were found, in mm, from the head down.
    pub centres: Vec<[f64; 3]>,
    /// What each looks like, as [`crate::spine::names::together`] says.
    pub looks: Array2<f64>,
    /// What each is.
    pub truth: Vec<Truth>,
}

/// A name that can be judged.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Judged {
    /// How sure it was.
    pub confidence: f64,
    /// How likely the likeliest other level was.
    pub runner_up: f64,
    /// Whether it was flagged as possibly shifted or of a spine with another number of vertebrae.
    pub flagged: bool,
    /// Whether it was right.
    pub right: bool,
}

/// What a found body is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Truth {
    /// An annotated vertebra.
    Level(Level),
    /// None: it lies above C1, below S2, or between two annotated neighbours.
    None,
    /// It lies beyond what is annotated.
    Unknown,
}

impl Read {
    /// A spine with its annotation, in mm of one frame.
    pub fn of(centres: Vec<[f64; 3]>, looks: Array2<f64>, annotated: &[Centroid]) -> Read {
        let truth = truth(&centres, annotated);
        Read { centres, looks, truth }
    }

    /// What each of its names is worth: a spine's names are right or wrong together, so that twelve tell about as much as
    /// four.
    fn weight(&self) -> f64 {
        Chain::default().weight(self.truth.len() as f64)
    }

    /// Logarithm of how likely all its true names are.
    fn likelihood(&self, chain: &Chain) -> f64 {
        let chances = chain.chances(&self.centres, &self.looks);
        let doubted = |chance: f64| MISLABELLED + (1.0 - MISLABELLED) * chance.clamp(0.0, 1.0);
        let log = |(truth, chances): (&Truth, &[f64; 28])| match truth {
            Truth::Level(level) => doubted(chances[level.index()]).ln(),
            Truth::None => doubted(1.0 - chances.iter().sum::<f64>()).ln(),
            Truth::Unknown => 0.0,
        };
        self.truth.iter().zip(&chances).map(log).sum()
    }

    /// How sure the likeliest names are, and whether each is right, of the bodies that are annotated.
    pub fn names(&self, chain: &Chain) -> Vec<Judged> {
        let named = chain.name(&self.centres, &self.looks);
        let judge = |named: &Named| match self.truth[named.body] {
            Truth::Level(level) => Some(level == named.level),
            Truth::None => Some(false),
            Truth::Unknown => None,
        };
        let judged = |named: &Named| {
            Some(Judged {
                confidence: named.confidence,
                runner_up: named.alternatives.first().map_or(0.0, |(_, share)| *share),
                flagged: named.flags.iter().any(|flag| flag.doubts_level()),
                right: judge(named)?,
            })
        };
        named.iter().filter_map(judged).collect()
    }
}

fn truth(centres: &[[f64; 3]], annotated: &[Centroid]) -> Vec<Truth> {
    let height = |level: &str| -> Option<f64> {
        annotated.iter().find(|centroid| centroid.level.name() == level).map(|centroid| centroid.mm[2])
    };
    let (top, bottom) = (height("C1"), height("S2"));
    let heights = || annotated.iter().map(|centroid| centroid.mm[2]);
    let within = |z: f64| heights().any(|other| other > z) && heights().any(|other| other < z);
    let nearest = |mm: [f64; 3]| {
        let distances = annotated.iter().map(|other| (distance(other.mm, mm), other.level));
        distances.min_by(|a, b| a.0.total_cmp(&b.0))
    };
    let truth = |&mm: &[f64; 3]| match nearest(mm) {
        Some((off, level)) if off <= SAME => Truth::Level(level),
        _ if top.is_some_and(|top| mm[2] > top)
            || bottom.is_some_and(|bottom| mm[2] < bottom)
            || within(mm[2]) =>
        {
            Truth::None
        }
        _ => Truth::Unknown,
    };
    centres.iter().map(truth).collect()
}

/// Mean logarithm of the likelihood of the true names, a body.
pub fn likelihood(spines: &[&Read], chain: &Chain) -> f64 {
    let known = |read: &&Read| read.truth.iter().filter(|truth| **truth != Truth::Unknown).count();
    let count: usize = spines.iter().map(known).sum();
    spines.iter().map(|read| read.likelihood(chain)).sum::<f64>() / count.max(1) as f64
}

/// The numbers of a chain as logarithms of their ratio to the usual ones.
fn numbers(chain: &mut Chain) -> [&mut f64; 7] {
    let Chain { doubt, between, counted, power, miss, leave_out, geometry, ambiguous: _ } = chain;
    [doubt, between, counted, power, miss, leave_out, geometry]
}

/// The usual chain with its numbers changed by factors, within what they may be.
fn changed(logarithms: [f64; 7]) -> Chain {
    let mut chain = Chain::default();
    for (number, logarithm) in numbers(&mut chain).into_iter().zip(logarithms) {
        *number *= logarithm.exp();
    }
    Chain {
        doubt: chain.doubt.min(0.9),
        between: chain.between.min(1.0),
        counted: chain.counted.clamp(1.0, 40.0),
        power: chain.power.min(1.0),
        ..chain
    }
}

/// The chain under which the true names of these spines are the likeliest: one number after the other is moved while that
/// helps, by ever smaller steps (Hooke and Jeeves, 1961).
pub fn fit(spines: &[&Read]) -> Chain {
    let worth = |at: [f64; 7]| {
        let chain = changed(at);
        let likely: f64 = spines.par_iter().map(|read| read.weight() * read.likelihood(&chain)).sum();
        likely - INERTIA * at.iter().map(|logarithm| logarithm * logarithm).sum::<f64>()
    };
    let searches = STARTS.map(|start| search(start, &worth));
    let best =
        searches.into_iter().fold(searches[0], |best, other| if other.1 > best.1 { other } else { best });
    let chain = changed(best.0);
    let names: Vec<Judged> = spines.iter().flat_map(|read| read.names(&chain)).collect();
    Chain { ambiguous: ambiguous(&names), ..chain }
}

/// The least share of a runner-up above which few of the right names are: as many wrong ones as can be had are
/// flagged, and not so many right ones that nobody looks at flags.
fn ambiguous(names: &[Judged]) -> f64 {
    let mut right: Vec<f64> = names.iter().filter(|name| name.right).map(|name| name.runner_up).collect();
    right.sort_by(|a, b| b.total_cmp(a));
    let above = (FLAGGED * right.len() as f64) as usize;
    right.get(above).copied().unwrap_or(0.0).clamp(AMBIGUOUS[0], AMBIGUOUS[1])
}

/// The best place that a search from a start comes to, and what it is worth.
fn search(start: [f64; 7], worth: &impl Fn([f64; 7]) -> f64) -> ([f64; 7], f64) {
    let (mut at, mut step) = (start, FIRST);
    let mut best = worth(at);
    while step >= LAST {
        let before = best;
        for index in 0..at.len() {
            for direction in [step, -step] {
                let mut other = at;
                other[index] += direction;
                let value = worth(other);
                if value > best {
                    (at, best) = (other, value);
                    break;
                }
            }
        }
        if best == before {
            step /= 2.0;
        }
    }
    (at, best)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Legacy;
    use crate::spine::names::NONE;

    /// Spines T8 to L3 whose network is sure of a whole run, which is off by one in `wrong` of `count`.
    fn spines(count: usize, wrong: usize) -> Vec<Read> {
        let mut random = Legacy::seeded(4);
        let spine = |number: usize| {
            let shift = usize::from(number < wrong);
            let levels: Vec<Level> = (15..23).map(|value| Level::from_value(value).unwrap()).collect();
            let centres: Vec<[f64; 3]> = (0..8).map(|i| [0.0, 0.0, 300.0 - 28.0 * f64::from(i)]).collect();
            let looks = Array2::from_shape_fn((8, NONE + 1), |(body, k)| {
                if k == 14 + body + shift { 0.9 } else { 0.1 / NONE as f64 * (0.5 + random.uniform()) }
            });
            let annotated: Vec<Centroid> =
                levels.iter().zip(&centres).map(|(&level, &mm)| Centroid { level, mm }).collect();
            Read::of(centres, looks, &annotated)
        };
        (0..count).map(spine).collect()
    }

    fn confidence(read: &Read, chain: &Chain) -> f64 {
        let names = read.names(chain);
        names.iter().map(|name| name.confidence).sum::<f64>() / names.len() as f64
    }

    #[test]
    fn a_network_that_errs_is_believed_less_and_about_as_often_as_it_is_right() {
        // Many spines: some dozens hardly move the chain.
        let (good, bad) = (spines(480, 0), spines(480, 144));
        let fitted = |spines: &[Read]| fit(&spines.iter().collect::<Vec<_>>());
        let (of_good, of_bad) = (fitted(&good), fitted(&bad));
        let read = &good[479];
        assert!(confidence(read, &of_good) > 0.97, "{of_good:?} {}", confidence(read, &of_good));
        let doubted = confidence(read, &of_bad);
        assert!((0.55..0.89).contains(&doubted), "{of_bad:?} {doubted}");
        let all: Vec<&Read> = bad.iter().collect();
        assert!(likelihood(&all, &of_bad) > likelihood(&all, &Chain::default()));
    }

    #[test]
    fn a_body_is_the_annotated_one_or_none_or_beyond_what_is_known() {
        let at = |z: f64| [0.0, 0.0, z];
        let annotated: Vec<Centroid> = [("C1", 100.0), ("C2", 80.0), ("C3", 60.0)]
            .map(|(level, z)| Centroid { level: level.parse().unwrap(), mm: at(z) })
            .into();
        let truth = truth(&[at(125.0), at(97.0), at(69.9), at(45.0)], &annotated);
        assert_eq!(
            truth,
            [
                Truth::None,
                Truth::Level("C1".parse().unwrap()),
                Truth::Level("C3".parse().unwrap()),
                Truth::Unknown
            ]
        );
        let between = super::truth(&[[0.0, 40.0, 70.0]], &annotated);
        assert_eq!(between, [Truth::None]);
    }

    #[test]
    fn few_right_names_are_flagged_and_as_many_wrong_ones_as_that_allows() {
        let name =
            |runner_up: f64, right| Judged { confidence: 1.0 - runner_up, runner_up, flagged: false, right };
        let names: Vec<Judged> = (0..100).map(|index| name(0.0018 * f64::from(index), true)).collect();
        let threshold = ambiguous(&names);
        let flagged = names.iter().filter(|name| name.runner_up > threshold).count();
        assert_eq!((flagged, threshold), (6, 0.0018 * 93.0));
        // Nobody looks at what is all but sure, and what is not has to be flagged.
        assert_eq!(ambiguous(&[name(0.0, true), name(0.3, false)]), AMBIGUOUS[0]);
        assert_eq!(ambiguous(&[name(0.4, true), name(0.4, true)]), AMBIGUOUS[1]);
    }
}
