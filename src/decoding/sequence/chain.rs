//! The best anatomically possible sequence of levels over some bodies.
//!
//! A chain goes through the bodies from the head down; each has a level below the one before. What
//! a body looks like, how far it is from the one before, and what is left out all have their price,
//! and the cheapest chain is found by dynamic programming (Viterbi, 1967). How sure a label is comes
//! from the sum over all chains (forward and backward).

use super::body::{Body, distance};

/// Levels that are told apart, C1 to L6, S1 and S2, in order.
pub const LEVELS: usize = 27;
/// Bodies that may be left out between two of a chain.
const LEFT_OUT: usize = 3;
/// Levels that may be missed between two of a chain.
const MISSED: usize = 2;
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

/// What a chain pays for beside the evidence; it depends on where that comes from.
#[derive(Clone, Copy, Debug)]
pub struct Prices {
    /// A body's evidence is never taken as surer than this: its source can err.
    pub floor: f64,
    /// A missed level.
    pub miss: f64,
    /// A spine with eleven thoracic vertebrae.
    pub eleven: f64,
    /// A spine with six lumbar vertebrae.
    pub six: f64,
    /// Weight of a distance's deviation from the usual one.
    pub geometry: f64,
    /// The same from the usual one of a person of this size, for a second chain: the first tells the size.
    pub geometry_of_size: Option<f64>,
    /// Factor of the evidence against a body that is left out, and what is added.
    pub leave_out: [f64; 2],
    /// What is known of neighbouring bodies tells the same thing several times; probabilities are
    /// softened by as much.
    pub temperature: f64,
}

impl Prices {
    /// For windows of neighbouring candidates, fitted to the VID data set with the network. To leave
    /// out a body costs more than its evidence says: to name one too many does less harm.
    pub const WINDOWS: Prices = Prices {
        floor: -14.0,
        miss: -14.0,
        eleven: -5.0,
        six: 3.0,
        geometry: 2.0,
        geometry_of_size: Some(4.0),
        leave_out: [2.8, -10.0],
        temperature: 5.5,
    };

    /// For bodies cut out of an identified volume.
    pub const VOLUMES: Prices = Prices {
        floor: -3.0,
        miss: -5.0,
        eleven: -6.0,
        six: -6.0,
        geometry: 0.5,
        geometry_of_size: None,
        leave_out: [1.0, -3.0],
        temperature: 1.0,
    };
}

const T11: usize = 17;
const L1: usize = 19;
const L5: usize = 23;
const L6: usize = 24;
const S1: usize = 25;
const S2: usize = 26;
/// Mean distance in mm from each level to the next, centre to centre (1,947 CTs of the VID data set;
/// ImFusion with Bürgin et al., MICCAI 2023).
const TO_NEXT: [f64; LEVELS - 1] = [
    17.5, 22.9, 17.9, 17.1, 17.0, 18.0, 19.8, 20.8, 21.2, 21.1, 21.7, 22.2, 22.8, 23.6, 24.4, 25.8, 27.4,
    29.7, 32.3, 34.5, 35.8, 36.5, 36.2, 36.3, 36.0, 29.7,
];

/// A body with its level.
#[derive(Clone, Debug, PartialEq)]
pub struct Link {
    /// Which of the bodies.
    pub body: usize,
    /// Index of its level.
    pub level: usize,
    /// How likely it has this level, over all chains.
    pub confidence: f64,
    /// Other levels it may have, the likeliest first, each above 2 %.
    pub alternatives: Vec<(usize, f64)>,
    /// Whether the chain says that this spine has six lumbar or eleven thoracic vertebrae.
    pub transitional: bool,
}

/// The level below one in a usual spine.
fn below(level: usize) -> Option<usize> {
    match level {
        S2.. => None,
        L5 | L6 => Some(S1),
        _ => Some(level + 1),
    }
}

/// A way from one level of a chain to the next.
#[derive(Clone, Copy, Debug)]
struct Step {
    from: usize,
    to: usize,
    price: f64,
    /// Logarithm of the usual distance.
    distance: f64,
}

fn steps(prices: &Prices) -> Vec<Step> {
    let mut steps = Vec::new();
    for from in 0..LEVELS {
        let (mut to, mut length) = (from, 0.0);
        for missed in 0..=MISSED {
            let Some(next) = below(to) else { break };
            length += TO_NEXT[to];
            to = next;
            steps.push(Step { from, to, price: prices.miss * missed as f64, distance: length.ln() });
        }
    }
    steps.push(Step { from: L5, to: L6, price: prices.six, distance: TO_NEXT[L5].ln() });
    steps.push(Step { from: T11, to: L1, price: prices.eleven, distance: TO_NEXT[T11].ln() });
    steps
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

    /// The value of beginning a chain with each body at each level.
    fn starts(&self) -> Vec<[f64; LEVELS]> {
        let start = |j: usize| std::array::from_fn(|b| self.without(0..j) + self.value(j, b));
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

/// The best sequence of levels over `bodies`, which stand from the head down; `judged` says what
/// each looks like.
///
/// Levels never repeat and never stand out of order, whatever the evidence.
pub fn link(bodies: &[Body], judged: &[Judged], prices: &Prices) -> Vec<Link> {
    let mut lattice = Lattice::new(bodies, judged, prices);
    let mut chain = lattice.best();
    if let Some(geometry) = prices.geometry_of_size {
        lattice.size = lattice.size(&chain);
        lattice.geometry = geometry;
        chain = lattice.best();
    }
    lattice.temperature = prices.temperature;
    let marginals = lattice.marginals();
    let eleven = chain.windows(2).any(|pair| pair[0].1 == T11 && pair[1].1 == L1);
    let six = chain.iter().any(|&(_, level)| level == L6);
    chain
        .into_iter()
        .map(|(body, level)| {
            let likely = |&other: &usize| other != level && marginals[body][other] > 0.02;
            let mut alternatives: Vec<(usize, f64)> =
                (0..LEVELS).filter(likely).map(|other| (other, marginals[body][other])).collect();
            alternatives.sort_by(|a, b| b.1.total_cmp(&a.1));
            let confidence = marginals[body][level].min(1.0);
            Link { body, level, confidence, alternatives, transitional: eleven || six }
        })
        .collect()
}

#[cfg(test)]
mod tests {
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

    #[test]
    fn one_body_that_looks_wrong_is_put_right_by_its_neighbours() {
        let mut z = 0.0;
        let bodies: Vec<Body> = (17..24)
            .map(|level| {
                let here = body(z);
                z -= TO_NEXT[level];
                here
            })
            .collect();
        let mut judged: Vec<_> = (17..24).map(sure).collect();
        judged[3] = sure(22);
        let levels: Vec<usize> =
            link(&bodies, &judged, &Prices::WINDOWS).iter().map(|link| link.level).collect();
        assert_eq!(levels, [17, 18, 19, 20, 21, 22, 23]);
    }

    #[test]
    fn a_gap_of_two_distances_is_a_missed_level_and_a_stray_body_is_left_out() {
        let bodies = [0.0, -35.0, -45.0, -107.0].map(body);
        let mut nothing = sure(5);
        nothing.none = -0.01;
        let judged = [sure(19), sure(20), nothing, sure(22)];
        let links = link(&bodies, &judged, &Prices::WINDOWS);
        let found: Vec<(usize, usize)> = links.iter().map(|link| (link.body, link.level)).collect();
        assert_eq!(found, [(0, 19), (1, 20), (3, 22)]);
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
        let mut judged: Vec<Judged> = (14..19).map(unlike).collect();
        judged[4].levels[19] = judged[4].levels[18];
        let last = |geometry_of_size| {
            let prices = Prices { miss: -2.0, geometry_of_size, ..Prices::WINDOWS };
            link(&bodies, &judged, &prices).last().map(|link| link.level)
        };
        assert_eq!([last(None), last(Some(4.0))], [Some(19), Some(18)]);
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
            let mut random = crate::sampling::random::Legacy::seeded(seed);
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
