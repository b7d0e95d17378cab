//! What the toolkit knows about the spine: the levels, their order, sizes and usual distances.

mod spacing;
pub mod variety;

pub use spacing::{Spacing, between};

use std::fmt;
use std::str::FromStr;

/// Names and diameters (mm) of the levels from the top of the spine to its bottom (docs/original.md §2); a T13 is as
/// large as a T12.
const LEVELS: [(&str, f64); 28] = [
    ("C1", 14.0),
    ("C2", 15.0),
    ("C3", 16.5),
    ("C4", 17.0),
    ("C5", 17.0),
    ("C6", 19.0),
    ("C7", 20.0),
    ("T1", 19.3),
    ("T2", 20.0),
    ("T3", 22.0),
    ("T4", 24.0),
    ("T5", 25.0),
    ("T6", 27.0),
    ("T7", 29.0),
    ("T8", 31.0),
    ("T9", 33.0),
    ("T10", 32.0),
    ("T11", 33.5),
    ("T12", 34.0),
    ("T13", 34.0),
    ("L1", 34.0),
    ("L2", 37.0),
    ("L3", 38.0),
    ("L4", 36.0),
    ("L5", 34.0),
    ("L6", 34.0),
    ("S1", 34.0),
    ("S2", 34.0),
];

/// Indices of the levels that have no value of their own in a labelling: few people have them.
const T13: u8 = 19;
const L6: u8 = 25;

/// A vertebral level, C1 … S2. Levels order from the head to the tail.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Level(u8);

/// A part of the spine, as results are broken down.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Region {
    /// C1 … C7.
    Cervical,
    /// T1 … T13.
    Thoracic,
    /// L1 … L6.
    Lumbar,
    /// S1 and S2.
    Sacral,
}

impl Level {
    /// The largest value a labelling can hold: S2.
    pub const MAX_VALUE: u8 = 26;

    /// All levels that have a value of their own, C1 … S2 without T13 and L6, from the head down.
    pub fn all() -> impl DoubleEndedIterator<Item = Level> {
        (1..=Self::MAX_VALUE).filter_map(Self::from_value)
    }

    /// All levels, T13 and L6 among them, from the head down.
    pub fn every() -> impl DoubleEndedIterator<Item = Level> {
        (0..LEVELS.len()).filter_map(Level::at)
    }

    /// The level that a labelling's value stands for; `None` for background and values above S2.
    pub fn from_value(value: u8) -> Option<Level> {
        match value {
            1..=19 => Some(Level(value - 1)),
            20..=24 => Some(Level(value)),
            25 | 26 => Some(Level(value + 1)),
            _ => None,
        }
    }

    /// The value written into an identification labelling, 1 … 26; T13 shares T12's and L6 L5's
    /// (docs/original.md §2).
    pub fn value(self) -> u8 {
        match self.0 {
            ..T13 => self.0 + 1,
            T13..L6 => self.0,
            _ => self.0 - 1,
        }
    }

    /// Its place among all levels, T13 and L6 included: C1 is 0, S2 is 27.
    pub fn index(self) -> usize {
        usize::from(self.0)
    }

    /// The level at a place, the inverse of [`Level::index`].
    pub fn at(index: usize) -> Option<Level> {
        u8::try_from(index).ok().filter(|_| index < LEVELS.len()).map(Level)
    }

    /// The usual name, such as `T12`.
    pub fn name(self) -> &'static str {
        LEVELS[self.0 as usize].0
    }

    /// Diameter of the vertebral body in mm (docs/original.md §2).
    pub fn diameter(self) -> f64 {
        LEVELS[self.0 as usize].1
    }

    /// The part of the spine this level belongs to.
    pub fn region(self) -> Region {
        match self.0 {
            0..=6 => Region::Cervical,
            7..=19 => Region::Thoracic,
            20..=25 => Region::Lumbar,
            _ => Region::Sacral,
        }
    }
}

/// A label that names no level.
#[derive(Debug, PartialEq, Eq)]
pub struct UnknownLevel(pub String);

impl fmt::Display for UnknownLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "'{}' is no vertebral level; use one of C1 … C7, T1 … T13, L1 … L6, S1, S2", self.0)
    }
}

impl std::error::Error for UnknownLevel {}

impl FromStr for Level {
    type Err = UnknownLevel;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        LEVELS
            .iter()
            .position(|(known, _)| *known == name)
            .map(|index| Level(index as u8))
            .ok_or_else(|| UnknownLevel(name.to_owned()))
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl fmt::Debug for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl<'de> serde::Deserialize<'de> for Level {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = String::deserialize(deserializer)?;
        name.parse().map_err(serde::de::Error::custom)
    }
}

impl serde::Serialize for Level {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_follow_the_table_and_t13_and_l6_share_those_of_their_neighbours() {
        let value = |name: &str| name.parse::<Level>().unwrap().value();
        assert_eq!([value("C1"), value("C7"), value("T1"), value("T12")], [1, 7, 8, 19]);
        assert_eq!(value("T13"), 19);
        assert_eq!([value("L1"), value("L5"), value("L6"), value("S1"), value("S2")], [20, 24, 24, 25, 26]);
    }

    #[test]
    fn every_value_names_the_level_that_writes_it() {
        for value in 1..=Level::MAX_VALUE {
            assert_eq!(Level::from_value(value).unwrap().value(), value);
        }
        assert_eq!(Level::from_value(0), None);
        assert_eq!(Level::from_value(27), None);
    }

    #[test]
    fn every_level_has_a_place_of_its_own() {
        for (index, (name, _)) in LEVELS.iter().enumerate() {
            let level: Level = name.parse().unwrap();
            assert_eq!((level.index(), Level::at(index)), (index, Some(level)));
        }
        assert_eq!(Level::at(28), None);
    }

    #[test]
    fn levels_are_ordered_from_the_head_down() {
        let all: Vec<Level> = Level::all().collect();
        assert_eq!(all.len(), 26);
        assert!(all.windows(2).all(|pair| pair[0] < pair[1]));
    }

    #[test]
    fn an_unknown_label_says_which_labels_exist() {
        assert!("X1".parse::<Level>().unwrap_err().to_string().contains("'X1' is no vertebral level"));
    }
}
