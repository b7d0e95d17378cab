//! Whether a scan lies as its header says.
//!
//! A header that names the wrong end as the head makes a picture whose names come out in order and wrong. The
//! network of names has only seen spines the right way round: the evidence for the best names is
//! weaker in a picture that is turned. So the spine is named again with the picture turned back, each way a header
//! goes wrong, and the readings are compared.

use anyhow::Result;

use super::bodies::Body;
use super::names;
use crate::decoding::sequence::{self, Judged, Named, body, prices::Prices};
use crate::network::StripPredictor;
use crate::straighten::Even;

/// Which way a picture is turned against its header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Turned {
    /// Head and feet are exchanged.
    HeadToFoot,
    /// Front and back are exchanged.
    BackToFront,
    /// Both: turned about the axis from left to right.
    UpsideDown,
}

impl Turned {
    /// All ways.
    pub const ALL: [Turned; 3] = [Turned::HeadToFoot, Turned::BackToFront, Turned::UpsideDown];

    /// The axes to turn over.
    pub fn axes(self) -> [bool; 3] {
        match self {
            Turned::HeadToFoot => [false, false, true],
            Turned::BackToFront => [false, true, false],
            Turned::UpsideDown => [false, true, true],
        }
    }
}

impl std::fmt::Display for Turned {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Turned::HeadToFoot => "with head and feet exchanged",
            Turned::BackToFront => "with front and back exchanged",
            Turned::UpsideDown => "upside down",
        })
    }
}

/// A reading of a spine, the right way round or turned.
#[derive(Clone, Debug)]
pub struct ReadingOf {
    /// Its names, from the head down.
    pub named: Vec<Named>,
    /// Mean logarithm of how likely each named body is its level.
    pub evidence: f64,
}

/// Names bodies, which stand from the head down, and says how well the names fit.
pub fn reading(even: &Even, networks: &[Box<dyn StripPredictor>], centres: &[[f64; 3]]) -> Result<ReadingOf> {
    let judged = names::judged(&names::probabilities(even, networks, centres)?);
    let bodies: Vec<body::Body> = centres.iter().map(|&mm| body::Body::at(mm)).collect();
    let weight = names::weight(bodies.len());
    let weighed: Vec<Judged> = judged
        .iter()
        .map(|judged| Judged { levels: judged.levels.map(|log| log * weight), none: judged.none * weight })
        .collect();
    let named = sequence::name(&bodies, &weighed, &Prices::STRAIGHT);
    let sum: f64 = named.iter().map(|named| judged[named.body].levels[named.level.index()]).sum();
    // A body that fits no level speaks against a reading, too.
    let left_out: f64 = (bodies.len() - named.len()) as f64 * LEFT_OUT;
    let evidence = (sum + left_out) / bodies.len().max(1) as f64;
    Ok(ReadingOf { named, evidence })
}

/// What a body that is left out counts as: about the evidence of one that looks like no level.
const LEFT_OUT: f64 = -2.0;

/// The same bodies with the picture turned.
pub fn turned(
    even: &Even,
    networks: &[Box<dyn StripPredictor>],
    bodies: &[Body],
    turned: Turned,
) -> Result<ReadingOf> {
    let axes = turned.axes();
    let mut centres: Vec<[f64; 3]> = bodies.iter().map(|body| even.flip(axes, body.mm)).collect();
    if axes[2] {
        centres.reverse();
    }
    reading(&even.flipped(axes), networks, &centres)
}
