//! Whether a scan lies as its header says.
//!
//! A header that names the wrong end as the head makes a picture whose names come out in order and wrong. The
//! networks of names have only seen spines the right way round: the evidence for the best names is
//! weaker in a picture that is turned. So the spine is named again with the picture turned back, each way a header
//! goes wrong, and the readings are compared.

use super::bodies::Body;
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

/// Where bodies, which stand from the head down, lie in the picture turned, in the same order.
pub fn centres(even: &Even, bodies: &[Body], turned: Turned) -> Vec<[f64; 3]> {
    let axes = turned.axes();
    let mut centres: Vec<[f64; 3]> = bodies.iter().map(|body| even.flip(axes, body.mm)).collect();
    if axes[2] {
        centres.reverse();
    }
    centres
}
