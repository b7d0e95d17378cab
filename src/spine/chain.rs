//! From how likely each body is each level to the names of a spine.

use std::collections::BTreeMap;
use std::ops::Range;

use anyhow::{Context, Result, ensure};
use ndarray::{Array2, ArrayView1, s};
use serde::{Deserialize, Serialize};

use super::names::NONE;
use crate::anatomy::Level;
use crate::decoding::sequence::prices::Prices;
use crate::decoding::sequence::{self, Judged, Named, body};

/// The entry of a model's metadata that holds its chain as JSON.
pub const CHAIN: &str = "chain";
/// The levels that look alike, T3 to T9, by their value less one.
const ALIKE: Range<usize> = 9..16;
/// What a body that is left out counts as: about the evidence of one that looks like no level.
const LEFT_OUT: f64 = -2.0;

/// What is made of the network's word: how far it is believed, and what a spine may do at which price.
///
/// It belongs to the network of names, is stored in its file, and is fitted to scans that the network has not
/// learned from (`train-chain`). How often a spine has a vertebra more or less than usual cannot be learned from some dozens
/// of scans: those prices are set by hand.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Chain {
    /// The network's word is never taken as surer than this: its share that is spread over all answers.
    pub doubt: f64,
    /// What a body between T3 and T9 says weighs so much of what others say: those look alike, and what a network says of
    /// them it has counted from somewhere or guessed by where the organs lie, which is a level lower in one patient than in
    /// another. The first and last ribs, the neck and the sacrum are what names hang on.
    #[serde(default = "as_others")]
    pub between: f64,
    /// The evidence of a run counts as that of so many bodies at most …
    pub counted: f64,
    /// … to this power: neighbours tell the same thing several times.
    pub power: f64,
    /// Price of a missed level.
    pub miss: f64,
    /// Price of leaving out a body, beside what the network says of it.
    pub leave_out: f64,
    /// Weight of a distance's deviation from the usual one.
    pub geometry: f64,
    /// A name whose runner-up is likelier than this is flagged.
    pub ambiguous: f64,
}

/// What models say that were made before bodies were weighed.
fn as_others() -> f64 {
    1.0
}

/// What the network is taught with, and what serves until it is fitted.
impl Default for Chain {
    fn default() -> Chain {
        Chain {
            doubt: 0.04,
            between: 0.2,
            counted: 8.0,
            power: 0.85,
            miss: 4.0,
            leave_out: 2.0,
            geometry: 0.5,
            ambiguous: 0.25,
        }
    }
}

impl Chain {
    /// The chain that stands in a model's metadata, or the usual one.
    pub fn of(metadata: &BTreeMap<String, String>) -> Result<Chain> {
        let Some(text) = metadata.get(CHAIN) else { return Ok(Chain::default()) };
        let chain: Chain = serde_json::from_str(text).context("its chain cannot be read")?;
        let Chain { doubt, between, counted, power, miss, leave_out, geometry, ambiguous } = chain;
        let usual = [between, counted, power, miss, leave_out, geometry, ambiguous]
            .iter()
            .all(|part| (0.0..=100.0).contains(part));
        ensure!(usual && (1e-6..1.0).contains(&doubt) && counted >= 1.0, "its chain cannot be: {chain:?}");
        Ok(chain)
    }

    /// The weight of a body's evidence in a run of so many.
    pub fn weight(&self, bodies: f64) -> f64 {
        let bodies = bodies.max(f64::MIN_POSITIVE);
        bodies.min(self.counted).powf(self.power) / bodies
    }

    /// How many bodies each counts for: fewer than one if it is likely to lie where all look alike.
    fn counts(&self, probabilities: &Array2<f64>) -> Vec<f64> {
        let alike = |row: ArrayView1<f64>| row.slice(s![ALIKE]).iter().sum::<f64>();
        probabilities.outer_iter().map(|row| 1.0 - (1.0 - self.between) * alike(row)).collect()
    }

    /// What the decoder pays for.
    fn prices(&self) -> Prices {
        Prices {
            miss: -self.miss,
            leave_out: [1.0, -self.leave_out],
            geometry: self.geometry,
            ambiguous: self.ambiguous,
            ..Prices::STRAIGHT
        }
    }

    /// Logarithms of `probabilities`, `[body, level's value less one and none]`, as far as they are believed, without
    /// [`Chain::weight`].
    fn judged(&self, probabilities: &Array2<f64>) -> Vec<Judged> {
        let uniform = self.doubt / (NONE + 1) as f64;
        let judge = |row: ArrayView1<f64>| {
            let log = |index: usize| (row[index] * (1.0 - self.doubt) + uniform).ln();
            let level = |index: usize| {
                Level::at(index).map_or(f64::NEG_INFINITY, |level| log(usize::from(level.value()) - 1))
            };
            Judged { levels: std::array::from_fn(level), none: log(NONE) }
        };
        probabilities.outer_iter().map(judge).collect()
    }

    /// The same with the weight of each body.
    fn weighed(&self, probabilities: &Array2<f64>) -> Vec<Judged> {
        let counts = self.counts(probabilities);
        let weight = self.weight(counts.iter().sum());
        let weigh = |(judged, count): (Judged, f64)| Judged {
            levels: judged.levels.map(|log| log * weight * count),
            none: judged.none * weight * count,
        };
        self.judged(probabilities).into_iter().zip(counts).map(weigh).collect()
    }

    /// The most likely names of bodies in mm, LPS, from the head down; `probabilities` as
    /// [`super::names::together`] gives them.
    pub fn name(&self, centres: &[[f64; 3]], probabilities: &Array2<f64>) -> Vec<Named> {
        sequence::name(&standing(centres), &self.weighed(probabilities), &self.prices())
    }

    /// How well the most likely names fit: the mean logarithm of how likely each body is the level that it is named.
    pub fn evidence(&self, centres: &[[f64; 3]], probabilities: &Array2<f64>) -> f64 {
        let named = self.name(centres, probabilities);
        let judged = self.judged(probabilities);
        let sum: f64 = named.iter().map(|named| judged[named.body].levels[named.level.index()]).sum();
        // A body that fits no level speaks against a reading, too.
        let left_out: f64 = (centres.len() - named.len()) as f64 * LEFT_OUT;
        (sum + left_out) / centres.len().max(1) as f64
    }

    /// How likely each body has each level over all chains, by the level's index; what is missing to one is how likely
    /// it is no vertebra.
    pub(crate) fn chances(
        &self,
        centres: &[[f64; 3]],
        probabilities: &Array2<f64>,
    ) -> Vec<[f64; sequence::prices::LEVELS]> {
        sequence::chances(&standing(centres), &self.weighed(probabilities), &self.prices())
    }
}

fn standing(centres: &[[f64; 3]]) -> Vec<body::Body> {
    centres.iter().map(|&mm| body::Body::at(mm)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn t13_and_l6_are_judged_as_the_levels_they_look_like() {
        let mut probabilities = Array2::zeros((1, NONE + 1));
        probabilities[[0, 18]] = 0.9; // T12
        probabilities[[0, NONE]] = 0.1;
        let judged = Chain::default().judged(&probabilities);
        let index = |name: &str| name.parse::<Level>().unwrap().index();
        assert_eq!(judged[0].levels[index("T12")], judged[0].levels[index("T13")]);
        assert!((judged[0].none.exp() - (0.1 * 0.96 + 0.04 / 27.0)).abs() < 1e-9);
    }

    #[test]
    fn a_run_of_many_bodies_tells_no_more_than_one_of_eight() {
        let chain = Chain::default();
        let total = |bodies: f64| chain.weight(bodies) * bodies;
        assert_eq!(chain.weight(1.0), 1.0);
        assert!(total(3.0) < total(8.0) && (total(8.0) - total(20.0)).abs() < 1e-9);
    }

    /// Bodies that look like a run of levels from the value `first` on, a little more than like their neighbours.
    fn run(first: usize, count: usize) -> Array2<f64> {
        Array2::from_shape_fn((count, NONE + 1), |(body, k)| match k.abs_diff(first - 1 + body) {
            0 => 0.7,
            1 => 0.1,
            _ => 0.1 / (NONE as f64 - 2.0),
        })
    }

    #[test]
    fn the_last_ribs_outweigh_five_thoracic_bodies_that_say_otherwise() {
        // T7 to L3, of which the upper five look one too low, as where the organs hang low.
        let centres: Vec<[f64; 3]> = (0..9).map(|body| [0.0, 0.0, 300.0 - 28.0 * f64::from(body)]).collect();
        let mut looks = run(14, 9);
        looks.slice_mut(s![..5, ..]).assign(&run(15, 5));
        let first = |chain: Chain| chain.name(&centres, &looks)[0].level.name();
        assert_eq!(first(Chain::default()), "T7");
        assert_eq!(first(Chain { between: 1.0, ..Chain::default() }), "T8");
    }

    #[test]
    fn a_body_counts_less_the_likelier_it_lies_between_t3_and_t9() {
        let chain = Chain { between: 0.2, ..Chain::default() };
        let mut looks = Array2::zeros((4, NONE + 1));
        for (body, level) in [(0, "T3"), (1, "T9"), (2, "T10")] {
            let level: Level = level.parse().unwrap();
            looks[[body, usize::from(level.value()) - 1]] = 1.0;
        }
        looks[[3, 8]] = 0.5; // T2
        looks[[3, 9]] = 0.5; // T3
        let counts = chain.counts(&looks);
        let expected = [0.2, 0.2, 1.0, 0.6];
        assert!(counts.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-9), "{counts:?}");
    }

    #[test]
    fn a_chain_comes_back_from_metadata_and_an_impossible_one_is_refused() {
        let chain = Chain { doubt: 0.1, ..Chain::default() };
        let with = |text: String| Chain::of(&BTreeMap::from([(CHAIN.to_owned(), text)]));
        assert_eq!(with(serde_json::to_string(&chain).unwrap()).unwrap(), chain);
        assert_eq!(Chain::of(&BTreeMap::new()).unwrap(), Chain::default());
        let mad = Chain { doubt: 0.0, ..chain };
        let old =
            r#"{"doubt":0.04,"counted":6,"power":0.7,"miss":4,"leave_out":2,"geometry":0.4,"ambiguous":0.2}"#;
        assert_eq!(with(old.to_owned()).unwrap().between, 1.0);
        assert!(with(serde_json::to_string(&mad).unwrap()).is_err() && with("{}".to_owned()).is_err());
    }

    #[test]
    fn the_best_names_are_among_the_likely_ones_and_a_stray_body_has_none() {
        // Three lumbar bodies, and something far below that looks like none.
        let centres = [100.0, 65.0, 29.0, -60.0].map(|z| [0.0, 0.0, z]);
        let mut probabilities = Array2::from_elem((4, NONE + 1), 1e-3);
        for (body, level) in [19, 20, 21, NONE].into_iter().enumerate() {
            probabilities[[body, level]] = 0.97;
        }
        let chain = Chain::default();
        let named = chain.name(&centres, &probabilities);
        let names: Vec<&str> = named.iter().map(|named| named.level.name()).collect();
        assert_eq!(names, ["L1", "L2", "L3"]);
        let chances = chain.chances(&centres, &probabilities);
        for named in &named {
            assert!((chances[named.body][named.level.index()] - named.confidence).abs() < 1e-9);
        }
        assert!(chances[3].iter().sum::<f64>() < 0.5, "{:?}", chances[3]);
    }
}
