//! The best anatomically possible sequence of levels over some bodies.
//!
//! A chain goes through the bodies from the head down; each has a level below the one before. What
//! a body looks like, how far it is from the one before, and what is left out all have their price,
//! and the cheapest chain is found by dynamic programming (Viterbi, 1967). How sure a label is comes
//! from the sum over all chains (forward and backward).

use super::body::Body;
use super::prices::{L1, L4, L6, LEVELS, Prices, S1, Step, T11, T13, TO_NEXT, below, steps};
use crate::scan::distance;

/// Bodies that may be left out between two of a chain.
const LEFT_OUT: usize = 3;
/// Spread of the logarithm of a distance between people.
const SPREAD: f64 = 0.12;
/// A deviation costs no more than this.
const FAR_OFF: f64 = 30.0;

/// What is known of a body on its own: logarithms of how likely it is each level, and none.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Judged {
    /// By index of the level.
    pub levels: [f64; LEVELS],
    /// That it is no vertebra.
    pub none: f64,
}

/// A body with its level.
#[derive(Clone, Debug, PartialEq)]
pub struct Link {
    /// Which of the bodies.
    pub body: usize,
    /// Index of its level.
    pub level: usize,
    /// How likely it has this level, over all chains.
    pub confidence: f64,
    /// How likely it has each level, over all chains.
    pub chances: [f64; LEVELS],
    /// Other levels it may have, the likeliest first, each above 2 %.
    pub alternatives: Vec<(usize, f64)>,
    /// Whether the chain says that this spine has one thoracic or lumbar vertebra more or less than usual.
    pub transitional: bool,
    /// How likely it has, over all chains.
    pub unusual: f64,
}

/// What a chain may do: the value of every body at every level, of leaving bodies out, of every
/// step.
struct Lattice<'a> {
    bodies: &'a [Body],
    judged: &'a [Judged],
    prices: &'a Prices,
    /// Value of leaving out all bodies before one.
    before: Vec<f64>,
    steps: Vec<Step>,
    /// Weight of distances, and the logarithm of how much larger than usual this person is.
    geometry: f64,
    size: f64,
    temperature: f64,
}

impl<'a> Lattice<'a> {
    fn new(bodies: &'a [Body], judged: &'a [Judged], prices: &'a Prices) -> Self {
        let mut before = vec![0.0];
        let [factor, offset] = prices.leave_out;
        for body in judged {
            let sum = before[before.len() - 1] + (body.none.max(prices.floor) * factor + offset).min(0.0);
            before.push(sum);
        }
        let (steps, geometry) = (steps(prices), prices.geometry);
        Lattice { bodies, judged, prices, before, steps, geometry, size: 0.0, temperature: 1.0 }
    }

    /// The size of a person whose bodies have these levels, as the logarithm of its ratio to the usual one;
    /// few distances tell less of it.
    fn size(&self, chain: &[(usize, usize)]) -> f64 {
        let ratio = |pair: &[(usize, usize)]| {
            let ((i, from), (j, to)) = (pair[0], pair[1]);
            let next = below(from) == Some(to) && to < S1;
            let apart = distance(self.bodies[i].mm, self.bodies[j].mm).max(1.0);
            next.then(|| apart.ln() - TO_NEXT[from].ln())
        };
        let ratios: Vec<f64> = chain.windows(2).filter_map(ratio).collect();
        ratios.iter().sum::<f64>() / (ratios.len() as f64 + 1.0)
    }

    /// Whether a chain has a vertebra more or less than usual. An S1 that is as far below an L4 as two bodies
    /// are apart tells of a missed L5.
    fn transitional(&self, chain: &[(usize, usize)]) -> bool {
        let less = |pair: &[(usize, usize)]| {
            let ((i, from), (j, to)) = (pair[0], pair[1]);
            let next = distance(self.bodies[i].mm, self.bodies[j].mm) < 1.5 * TO_NEXT[from];
            matches!((from, to), (T11, L1) | (L4, S1)) && next
        };
        chain.iter().any(|&(_, level)| matches!(level, T13 | L6)) || chain.windows(2).any(less)
    }

    fn value(&self, body: usize, level: usize) -> f64 {
        self.judged[body].levels[level].max(self.prices.floor) / self.temperature
    }

    /// Leaving out the bodies of a range.
    fn without(&self, range: std::ops::Range<usize>) -> f64 {
        (self.before[range.end] - self.before[range.start]) / self.temperature
    }

    /// The value of every step from body i to body j, the value of j included.
    fn between(&self, i: usize, j: usize) -> impl Iterator<Item = (&Step, f64)> {
        let apart = distance(self.bodies[i].mm, self.bodies[j].mm).max(1.0).ln() - self.size;
        let left_out = self.without(i + 1..j);
        self.steps.iter().map(move |step| {
            let off = (apart - step.distance) / SPREAD;
            let price = (step.price - self.geometry * (0.5 * off * off).min(FAR_OFF)) / self.temperature;
            (step, price + left_out + self.value(j, step.to))
        })
    }

    /// The value of beginning a chain with each body at each level. A T13 is one because of the twelve above.
    fn starts(&self) -> Vec<[f64; LEVELS]> {
        let value = |j: usize, b: usize| if b == T13 { f64::NEG_INFINITY } else { self.value(j, b) };
        let start = |j: usize| std::array::from_fn(|b| self.without(0..j) + value(j, b));
        (0..self.bodies.len()).map(start).collect()
    }

    /// Every body at every level.
    fn places(&self) -> impl Iterator<Item = (usize, usize)> {
        (0..self.bodies.len()).flat_map(|j| (0..LEVELS).map(move |b| (j, b)))
    }

    /// Pairs of bodies that may follow each other in a chain, the later one with its forerunners.
    fn pairs(&self) -> impl DoubleEndedIterator<Item = (usize, usize)> {
        (0..self.bodies.len()).flat_map(|j| (j.saturating_sub(LEFT_OUT + 1)..j).map(move |i| (i, j)))
    }

    /// The most valuable chain: bodies with their levels.
    fn best(&self) -> Vec<(usize, usize)> {
        let count = self.bodies.len();
        let mut value = self.starts();
        let mut origin = vec![[None; LEVELS]; count];
        for (i, j) in self.pairs() {
            for (step, worth) in self.between(i, j) {
                let sum = value[i][step.from] + worth;
                if sum > value[j][step.to] {
                    value[j][step.to] = sum;
                    origin[j][step.to] = Some((i, step.from));
                }
            }
        }
        let total = |&(j, b): &(usize, usize)| value[j][b] + self.without(j + 1..count);
        let mut at = self.places().max_by(|x, y| total(x).total_cmp(&total(y)));
        let mut chain = Vec::new();
        while let Some((j, b)) = at {
            chain.push((j, b));
            at = origin[j][b];
        }
        chain.reverse();
        chain
    }

    /// Logarithm of the summed value of all chains.
    fn total(&self) -> f64 {
        let count = self.bodies.len();
        let mut forward = self.starts();
        for (i, j) in self.pairs() {
            for (step, worth) in self.between(i, j) {
                forward[j][step.to] = add(forward[j][step.to], forward[i][step.from] + worth);
            }
        }
        let end = |j: usize| self.without(j + 1..count);
        self.places().map(|(j, b)| forward[j][b] + end(j)).fold(f64::NEG_INFINITY, add)
    }

    /// How likely a chain has a vertebra more or less than usual.
    fn unusual(&mut self) -> f64 {
        let all = self.total();
        let steps = std::mem::take(&mut self.steps);
        self.steps = steps.iter().filter(|step| !step.unusual).copied().collect();
        let usual = self.total();
        self.steps = steps;
        1.0 - (usual - all).exp().min(1.0)
    }

    /// How likely each body has each level, over all chains.
    fn marginals(&self) -> Vec<[f64; LEVELS]> {
        let count = self.bodies.len();
        let mut forward = self.starts();
        for (i, j) in self.pairs() {
            for (step, worth) in self.between(i, j) {
                forward[j][step.to] = add(forward[j][step.to], forward[i][step.from] + worth);
            }
        }
        let end = |j: usize| [self.without(j + 1..count); LEVELS];
        let mut backward: Vec<[f64; LEVELS]> = (0..count).map(end).collect();
        // A body's ways on are complete before those of the bodies above it are.
        for i in (0..count).rev() {
            for j in i + 1..count.min(i + LEFT_OUT + 2) {
                for (step, worth) in self.between(i, j) {
                    backward[i][step.from] = add(backward[i][step.from], backward[j][step.to] + worth);
                }
            }
        }
        let all = self.places().map(|(j, b)| forward[j][b] + end(j)[b]).fold(f64::NEG_INFINITY, add);
        (0..count).map(|j| std::array::from_fn(|b| (forward[j][b] + backward[j][b] - all).exp())).collect()
    }
}

/// log(exp a + exp b).
fn add(a: f64, b: f64) -> f64 {
    let (low, high) = if a < b { (a, b) } else { (b, a) };
    if high == f64::NEG_INFINITY { high } else { high + (low - high).exp().ln_1p() }
}

/// The most valuable chain, and the lattice set to tell how likely it is.
fn solved<'a>(
    bodies: &'a [Body],
    judged: &'a [Judged],
    prices: &'a Prices,
) -> (Lattice<'a>, Vec<(usize, usize)>) {
    let mut lattice = Lattice::new(bodies, judged, prices);
    let mut chain = lattice.best();
    if let Some(geometry) = prices.geometry_of_size {
        lattice.size = lattice.size(&chain);
        lattice.geometry = geometry;
        chain = lattice.best();
    }
    lattice.temperature = prices.temperature;
    (lattice, chain)
}

/// How likely each body has each level, over all chains.
pub(crate) fn chances(bodies: &[Body], judged: &[Judged], prices: &Prices) -> Vec<[f64; LEVELS]> {
    solved(bodies, judged, prices).0.marginals()
}

/// The best sequence of levels over `bodies`, which stand from the head down; `judged` says what
/// each looks like.
///
/// Levels never repeat and never stand out of order, whatever the evidence.
pub fn link(bodies: &[Body], judged: &[Judged], prices: &Prices) -> Vec<Link> {
    let (mut lattice, chain) = solved(bodies, judged, prices);
    let marginals = lattice.marginals();
    let transitional = lattice.transitional(&chain);
    let unusual = if chain.is_empty() { 0.0 } else { lattice.unusual() };
    chain
        .into_iter()
        .map(|(body, level)| {
            let likely = |&other: &usize| other != level && marginals[body][other] > 0.02;
            let mut alternatives: Vec<(usize, f64)> =
                (0..LEVELS).filter(likely).map(|other| (other, marginals[body][other])).collect();
            alternatives.sort_by(|a, b| b.1.total_cmp(&a.1));
            let confidence = marginals[body][level].min(1.0);
            Link { body, level, confidence, chances: marginals[body], alternatives, transitional, unusual }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::prices::{L5, S2, T12};
    use super::*;
    use proptest::prelude::*;

    fn body(z: f64) -> Body {
        Body { mm: [0.0, 0.0, z], segments: [0.3; 3], pedicles: [None; 2], seen: true }
    }

    /// Evidence that gives a level almost everything.
    fn sure(level: usize) -> Judged {
        let levels = std::array::from_fn(|other| if other == level { -0.05 } else { -6.0 });
        Judged { levels, none: -6.0 }
    }

    /// Bodies at the usual distances.
    fn column(levels: &[usize]) -> Vec<Body> {
        let mut z = 0.0;
        let mut next = |&level: &usize| {
            let here = body(z);
            z -= TO_NEXT[level.min(LEVELS - 2)];
            here
        };
        levels.iter().map(&mut next).collect()
    }

    fn names(links: &[Link]) -> Vec<usize> {
        links.iter().map(|link| link.level).collect()
    }

    #[test]
    fn one_body_that_looks_wrong_is_put_right_by_its_neighbours() {
        let levels = [T11, T12, L1, L1 + 1, L1 + 2, L4, L5];
        let mut judged = levels.map(sure);
        judged[3] = sure(L4);
        let links = link(&column(&levels), &judged, &Prices::WINDOWS);
        assert_eq!(names(&links), levels);
    }

    #[test]
    fn one_vertebra_more_or_less_is_told_from_its_neighbours_evidence() {
        // What a body looks like is seldom as sure as that of a spine that is as usual; a T13 looks like a T12.
        let usual = [T11 - 2, T11 - 1, T11, T12, L1, L1 + 1, L1 + 2, L4, L5, S1];
        let thirteen = [T11 - 1, T11, T12, T13, L1, L1 + 1, L1 + 2];
        let eleven = [T11 - 2, T11 - 1, T11, L1, L1 + 1, L1 + 2];
        let four = [T12, L1, L1 + 1, L1 + 2, L4, S1, S2];
        let six = [L1, L1 + 1, L1 + 2, L4, L5, L6, S1];
        let rare: [&[usize]; 4] = [&thirteen, &eleven, &four, &six];
        for (levels, transitional) in rare.iter().map(|rare| (*rare, true)).chain([(&usual[..], false)]) {
            let judge = |&level: &usize| {
                let mut judged = sure(if level == T13 { T12 } else { level });
                judged.levels[T13] = judged.levels[T12];
                judged
            };
            let judged: Vec<Judged> = levels.iter().map(judge).collect();
            for prices in [Prices::WINDOWS, Prices { floor: -6.0, ..Prices::VOLUMES }] {
                let links = link(&column(levels), &judged, &prices);
                assert_eq!(names(&links), levels, "{prices:?}");
                assert!(links.iter().all(|link| link.transitional == transitional), "{levels:?}");
            }
        }
    }

    #[test]
    fn a_gap_of_two_distances_is_a_missed_level_and_a_stray_body_is_left_out() {
        let bodies = [0.0, -35.0, -45.0, -107.0].map(body);
        let mut nothing = sure(5);
        nothing.none = -0.01;
        let judged = [sure(L1), sure(L1 + 1), nothing, sure(L4)];
        let links = link(&bodies, &judged, &Prices::WINDOWS);
        let found: Vec<(usize, usize)> = links.iter().map(|link| (link.body, link.level)).collect();
        assert_eq!(found, [(0, L1), (1, L1 + 1), (3, L4)]);
        assert!(links.iter().all(|link| link.confidence > 0.5 && !link.transitional), "{links:?}");
    }

    #[test]
    fn a_persons_size_decides_where_a_missed_level_and_a_long_step_look_alike() {
        // A person a quarter larger than usual, and a last step that is a quarter longer still: for a usual
        // person it would be nearer to two steps than to one.
        let steps = [0.0, 1.25 * 24.4, 1.25 * 25.8, 1.25 * 27.4, 1.25 * 1.25 * 29.7];
        let mut z = 0.0;
        let bodies = steps.map(|step| {
            z -= step;
            body(z)
        });
        // The last body could be T12 or, after a missed one, L1.
        let unlike = |level: usize| {
            let mut judged = sure(level);
            judged.levels.iter_mut().filter(|chance| **chance < -1.0).for_each(|chance| *chance = -14.0);
            judged
        };
        let mut judged: Vec<Judged> = (14..=T12).map(unlike).collect();
        judged[4].levels[L1] = judged[4].levels[T12];
        let last = |geometry_of_size| {
            let prices = Prices { miss: -2.0, geometry_of_size, ..Prices::WINDOWS };
            link(&bodies, &judged, &prices).last().map(|link| link.level)
        };
        assert_eq!([last(None), last(Some(4.0))], [Some(L1), Some(T12)]);
    }

    #[test]
    fn nothing_found_is_an_empty_sequence() {
        assert!(link(&[], &[], &Prices::WINDOWS).is_empty());
    }

    proptest! {
        #[test]
        fn no_level_stands_twice_or_out_of_order_on_anything(
            heights in proptest::collection::vec(-600.0f64..600.0, 0..25),
            seed in 0u32..10_000,
        ) {
            let mut heights = heights;
            heights.sort_by(|a, b| b.total_cmp(a));
            let bodies: Vec<Body> = heights.into_iter().map(body).collect();
            let mut random = crate::random::Legacy::seeded(seed);
            let mut draw = || 12.0 * (random.uniform() - 1.0);
            let judged: Vec<Judged> = bodies
                .iter()
                .map(|_| Judged { levels: std::array::from_fn(|_| draw()), none: draw() })
                .collect();
            for prices in [Prices::WINDOWS, Prices::VOLUMES] {
                let links = link(&bodies, &judged, &prices);
                let ordered = |pair: &[Link]| pair[0].level < pair[1].level && pair[0].body < pair[1].body;
                prop_assert!(links.windows(2).all(ordered));
                for link in &links {
                    prop_assert!((0.0..=1.0).contains(&link.confidence));
                    let sum: f64 = link.alternatives.iter().map(|(_, share)| share).sum();
                    prop_assert!(sum + link.confidence <= 1.0 + 1e-6);
                }
            }
        }
    }
}
