//! How far a reader may rely on a name, told by its colour in pictures and on pages.

use super::canvas::Rgb;

/// Confidence from which a name is sure, and from which it may be relied on.
const LIMITS: [f64; 2] = [0.9, 0.5];

/// How sure a name is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Trust {
    /// It is sure.
    Sure,
    /// Less so.
    Doubted,
    /// It is not to be relied on.
    Unsure,
}

impl Trust {
    /// Of a name with this confidence.
    pub fn of(confidence: f64) -> Trust {
        let [sure, usable] = LIMITS;
        match confidence {
            confidence if confidence >= sure => Trust::Sure,
            confidence if confidence >= usable => Trust::Doubted,
            _ => Trust::Unsure,
        }
    }

    /// Its colour in pictures.
    pub fn colour(self) -> Rgb {
        match self {
            Trust::Sure => [120, 220, 140],
            Trust::Doubted => [255, 190, 60],
            Trust::Unsure => [255, 100, 90],
        }
    }

    /// Its class on pages.
    pub fn class(self) -> &'static str {
        match self {
            Trust::Sure => "sure",
            Trust::Doubted => "doubted",
            Trust::Unsure => "unsure",
        }
    }
}
