//! How a lying spine bends: angles between end plates.

use serde::{Deserialize, Serialize};

use super::Measured;
use crate::anatomy::Level;

/// An angle between two end plates of a person lying down, in degrees.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Angle {
    /// The angle; curves as usual are positive.
    pub degrees: f64,
    /// The body whose upper plate it is measured from.
    pub from: Level,
    /// The body it ends at: its lower plate, of S1 the upper one.
    pub to: Level,
}

/// The curves of a spine; `None` where an end is not seen.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Alignment {
    /// Of the chest, T4 to T12, from the side.
    pub kyphosis: Option<Angle>,
    /// Of the loin, L1 to S1, from the side.
    pub lordosis: Option<Angle>,
    /// The largest angle from the front between an upper plate and a lower one further down (Cobb).
    pub cobb: Option<Angle>,
}

impl Alignment {
    /// The curves of measured bodies, from the head down.
    pub fn of(bodies: &[(Level, &Measured)]) -> Alignment {
        // Degrees by which a plate looks to the back, or to the left.
        let lean = |normal: [f64; 3], axis: usize| normal[axis].atan2(normal[2]).to_degrees();
        let find = |name: &str| bodies.iter().find(|(level, _)| level.name() == name);
        let between = |from: &str, to: &str, bend: f64| {
            let ((from, above), (to, below)) = (find(from)?, find(to)?);
            let end = if to.name() == "S1" { below.upper_plate } else { below.lower_plate };
            let degrees = bend * (lean(end?.normal, 1) - lean(above.upper_plate?.normal, 1));
            Some(Angle { degrees, from: *from, to: *to })
        };
        let mut cobb: Option<Angle> = None;
        for (index, (from, above)) in bodies.iter().enumerate() {
            for (to, below) in &bodies[(index + 1).min(bodies.len())..] {
                let (Some(start), Some(end)) = (above.upper_plate, below.lower_plate) else { continue };
                let degrees = (lean(start.normal, 0) - lean(end.normal, 0)).abs();
                if cobb.as_ref().is_none_or(|most| degrees > most.degrees) {
                    cobb = Some(Angle { degrees, from: *from, to: *to });
                }
            }
        }
        Alignment { kyphosis: between("T4", "T12", 1.0), lordosis: between("L1", "S1", -1.0), cobb }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Endplate;
    use super::*;

    #[test]
    fn angles_have_the_sign_of_the_usual_curves() {
        let leaning = |back: f64, left: f64| {
            let [back, left] = [back, left].map(f64::to_radians);
            let normal = [left.tan(), back.tan(), 1.0];
            let plate = Some(Endplate { centre: [0.0; 3], normal });
            Measured { upper_plate: plate, lower_plate: plate, ..Measured::default() }
        };
        // T4 looks to the front, T12 and L1 to the back, S1 to the front.
        let spine = [
            ("T4", -20.0, 0.0),
            ("T12", 15.0, 8.0),
            ("L1", 15.0, 10.0),
            ("L3", 0.0, -6.0),
            ("S1", -40.0, 0.0),
        ]
        .map(|(name, back, left)| (name.parse::<Level>().unwrap(), leaning(back, left)));
        let bodies: Vec<(Level, &Measured)> =
            spine.iter().map(|(level, measured)| (*level, measured)).collect();
        let alignment = Alignment::of(&bodies);
        assert!((alignment.kyphosis.unwrap().degrees - 35.0).abs() < 1e-6);
        assert!((alignment.lordosis.unwrap().degrees - 55.0).abs() < 1e-6);
        let cobb = alignment.cobb.unwrap();
        assert!((cobb.degrees - 16.0).abs() < 1e-6);
        assert_eq!((cobb.from.name(), cobb.to.name()), ("L1", "L3"));
        assert_eq!(Alignment::of(&bodies[..1]), Alignment::default());
    }
}
