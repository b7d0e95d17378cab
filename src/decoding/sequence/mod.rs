//! From candidate bodies to a labelled sequence that a spine can have.

pub mod body;
pub mod chain;
pub mod evidence;
pub mod prices;

use anyhow::Result;

use crate::anatomy::Level;
use body::Body;
pub use chain::Judged;
use evidence::Evidence;
use prices::Prices;

/// What a reader should know about a label.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Flag {
    /// All labels may be off by one: a neighbouring level is almost as likely.
    ShiftAmbiguous,
    /// The spine seems to have eleven or thirteen thoracic, or four or six lumbar vertebrae.
    PossibleTransitional,
    /// The body was not seen, only its pedicles.
    Inferred,
    /// The label is more likely wrong than right.
    Uncertain,
    /// The body lies so close to the edge of the scan that it may be cut.
    TouchesBorder,
}

impl Flag {
    /// Whether it says that the level may be another one.
    pub fn doubts_level(self) -> bool {
        matches!(self, Flag::ShiftAmbiguous | Flag::PossibleTransitional)
    }
}

impl std::fmt::Display for Flag {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Flag::ShiftAmbiguous => "shift-ambiguous",
            Flag::PossibleTransitional => "possible-transitional",
            Flag::Inferred => "inferred",
            Flag::Uncertain => "uncertain",
            Flag::TouchesBorder => "touches-border",
        })
    }
}

/// A body with its level.
#[derive(Clone, Debug, PartialEq)]
pub struct Named {
    /// Which of the bodies.
    pub body: usize,
    /// Its level.
    pub level: Level,
    /// Its centre in mm, LPS.
    pub mm: [f64; 3],
    /// How likely the level is right, from 0 to 1.
    pub confidence: f64,
    /// How likely it has each level, by its index.
    pub chances: [f64; prices::LEVELS],
    /// Other levels it may have, the likeliest first.
    pub alternatives: Vec<(Level, f64)>,
    /// What to look at.
    pub flags: Vec<Flag>,
}

/// A spine that is likelier than this to have a vertebra more or less than usual is flagged.
const UNUSUAL: f64 = 0.2;

/// Names the bodies, which stand from the head down, as the most likely sequence; bodies that fit
/// none are left out.
pub fn decode(bodies: &[Body], evidence: &Evidence) -> Result<Vec<Named>> {
    Ok(name(bodies, &evidence.judge(bodies)?, &Prices::WINDOWS))
}

/// The same for bodies of which it is known what each looks like.
pub fn name(bodies: &[Body], judged: &[Judged], prices: &Prices) -> Vec<Named> {
    let name = |link: chain::Link| {
        let body = &bodies[link.body];
        let ambiguous = link.alternatives.first().is_some_and(|(_, share)| *share > prices.ambiguous);
        let mut flags = Vec::new();
        flags.extend(ambiguous.then_some(Flag::ShiftAmbiguous));
        flags.extend((link.transitional || link.unusual > UNUSUAL).then_some(Flag::PossibleTransitional));
        flags.extend((!body.seen).then_some(Flag::Inferred));
        let alternatives =
            link.alternatives.into_iter().filter_map(|(level, share)| Some((Level::at(level)?, share)));
        Some(Named {
            body: link.body,
            level: Level::at(link.level)?,
            mm: body.mm,
            confidence: link.confidence,
            chances: link.chances,
            alternatives: alternatives.collect(),
            flags,
        })
    };
    chain::link(bodies, judged, prices).into_iter().filter_map(name).collect()
}

/// How likely each body has each level over all sequences, by the level's index; what is missing to one is how
/// likely it is left out.
pub(crate) fn chances(bodies: &[Body], judged: &[Judged], prices: &Prices) -> Vec<[f64; prices::LEVELS]> {
    chain::chances(bodies, judged, prices)
}
