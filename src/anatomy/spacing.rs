//! Distances between the centres of neighbouring vertebral bodies.

use super::Level;

/// A distance in mm with its spread over people.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spacing {
    /// Mean distance in mm.
    pub mean: f64,
    /// Standard deviation in mm.
    pub deviation: f64,
}

/// Mean and standard deviation (mm) from each level to the next one down, C1–C2 … S1–S2, over the
/// 242 annotated CT scans of the spine data set the original pipeline was trained on.
const TO_NEXT: [(f64, f64); 25] = [
    (19.3, 3.5),
    (18.0, 2.8),
    (17.8, 2.1),
    (17.0, 2.7),
    (16.9, 2.4),
    (17.3, 3.2),
    (19.5, 3.0),
    (20.8, 3.0),
    (21.1, 2.6),
    (21.2, 2.8),
    (21.6, 3.0),
    (21.6, 3.1),
    (22.4, 3.2),
    (23.2, 3.1),
    (24.5, 3.6),
    (26.1, 3.6),
    (27.5, 4.1),
    (29.6, 3.9),
    (32.1, 3.8),
    (33.9, 4.4),
    (35.2, 4.7),
    (35.4, 4.4),
    (35.5, 5.0),
    (36.1, 6.6),
    (29.7, 5.1),
];

/// Distance from `level` to the next level down; `None` below S2.
pub fn between(level: Level) -> Option<Spacing> {
    let (mean, deviation) = *TO_NEXT.get(level.value() as usize - 1)?;
    Some(Spacing { mean, deviation })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vertebrae_stand_further_apart_towards_the_lumbar_spine() {
        let mean = |name: &str| between(name.parse().unwrap()).unwrap().mean;
        assert_eq!(mean("C1"), 19.3);
        assert_eq!(mean("L5"), 36.1);
        assert!(mean("C4") < mean("T6") && mean("T6") < mean("L3"));
        assert!(between("S2".parse().unwrap()).is_none());
    }
}
