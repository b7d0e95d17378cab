//! Whether a scan lies as its header says.
//!
//! A header that names the wrong end as the head makes a picture whose names come out in order and wrong. The
//! network of names has only seen spines the right way round: the evidence for the best names is
//! weaker in a picture that is turned. So the spine is named again with the picture turned back, each way a header
//! goes wrong, and the readings are compared.

use anyhow::Result;

use super::bodies::Body;
use super::chain::{Chain, ReadingOf};
use super::names;
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

/// Names bodies, which stand from the head down, by what one network says, and tells how well the names fit.
pub fn reading(
    even: &Even,
    network: &dyn StripPredictor,
    chain: &Chain,
    centres: &[[f64; 3]],
) -> Result<ReadingOf> {
    Ok(chain.name(centres, &names::probabilities(even, network, centres)?))
}

/// The same bodies with the picture turned.
pub fn turned(
    even: &Even,
    network: &dyn StripPredictor,
    chain: &Chain,
    bodies: &[Body],
    turned: Turned,
) -> Result<ReadingOf> {
    let axes = turned.axes();
    let mut centres: Vec<[f64; 3]> = bodies.iter().map(|body| even.flip(axes, body.mm)).collect();
    if axes[2] {
        centres.reverse();
    }
    reading(&even.flipped(axes), network, chain, &centres)
}
