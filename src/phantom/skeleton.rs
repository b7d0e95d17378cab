//! A random spine: where its vertebrae are, how they stand and how large they are.

use super::Cohort;
use super::course::Course;
use super::randomness::{around, between};
use crate::anatomy::{self, Level};
use crate::random::Legacy;
use crate::scan::cross;

/// A point or direction in mm: x to the patient's left, y to the back, z to the head.
pub(crate) type Vector = [f64; 3];

/// Axes of a person lying straight: left, back, up.
pub(crate) const UPRIGHT: [Vector; 3] = [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]];

/// a + s · b.
pub fn along(a: Vector, s: f64, b: Vector) -> Vector {
    std::array::from_fn(|axis| a[axis] + s * b[axis])
}

/// One vertebra.
#[derive(Clone, Debug)]
pub struct Vertebra {
    /// Which one.
    pub level: Level,
    /// Centre of its body.
    pub centre: Vector,
    /// To the patient's left.
    pub left: Vector,
    /// To the back.
    pub back: Vector,
    /// To the head.
    pub up: Vector,
    /// Half the body's extent to the left, to the back and to the head.
    pub half: Vector,
    /// Share of the body's height that has sunk in at the front.
    pub wedge: f64,
    /// Share of it that has sunk in in the middle of its plates.
    pub dish: f64,
    /// Whether it has grown together with the sacrum.
    pub joined: bool,
}

impl Vertebra {
    /// The point at so many mm to the left, to the back and up from the body's centre.
    pub fn at(&self, [left, back, up]: Vector) -> Vector {
        along(along(along(self.centre, left, self.left), back, self.back), up, self.up)
    }
}

/// All vertebrae of a person, C1 to S2.
pub struct Spine {
    /// From the head down.
    pub vertebrae: Vec<Vertebra>,
    /// Size of this person, 1 on average.
    pub stature: f64,
}

/// Which vertebrae a person has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Formula {
    /// Twelve thoracic and five lumbar ones.
    Usual,
    /// Six lumbar ones.
    SixLumbar,
    /// Eleven thoracic ones.
    ElevenThoracic,
    /// The fifth lumbar one has grown together with the sacrum.
    JoinedFifth,
}

impl Formula {
    /// In a hospital one person in seven or so is not as usual. That is more often than in life (46 and 8
    /// of 1,947 in the VID data set have six lumbar or eleven thoracic vertebrae), so that a network
    /// meets them at all.
    fn random(cohort: Cohort, random: &mut Legacy) -> Formula {
        if cohort == Cohort::Healthy {
            return Formula::Usual;
        }
        match random.uniform() {
            share if share < 0.06 => Formula::SixLumbar,
            share if share < 0.09 => Formula::ElevenThoracic,
            share if share < 0.14 => Formula::JoinedFifth,
            _ => Formula::Usual,
        }
    }

    /// The levels from the head down.
    fn levels(self) -> Vec<Level> {
        let has = |level: &Level| match level.name() {
            "L6" => self == Formula::SixLumbar,
            "T12" => self != Formula::ElevenThoracic,
            "T13" => false,
            _ => true,
        };
        (0..).map_while(Level::at).filter(has).collect()
    }
}

impl Spine {
    /// A spine with real distances, a random posture and some scoliosis; in a hospital also with
    /// bodies that have sunk in, and with one vertebra more or less.
    pub fn random(cohort: Cohort, random: &mut Legacy) -> Spine {
        let course = Course::random(cohort, random);
        let formula = Formula::random(cohort, random);
        let hospital = cohort == Cohort::Hospital;
        // How often a body has sunk in.
        let broken = if hospital && random.uniform() < 0.3 { 0.15 } else { 0.0 };
        let levels = formula.levels();
        let mut centre: Vector = [0.0; 3];
        let mut vertebrae: Vec<Vertebra> = Vec::new();
        for (place, &level) in levels.iter().enumerate() {
            let step = course.step(level, levels.get(place + 1).copied(), random);
            let (sagittal, coronal) = (step.back.to_radians(), step.left.to_radians());
            let down = [coronal.sin(), sagittal.sin() * coronal.cos(), -sagittal.cos() * coronal.cos()];
            // A body stands in line with its neighbours: halfway between the way in and the way out.
            let before = vertebrae.last().map_or(down, |above| above.up.map(|part| -part));
            let axis = unit(std::array::from_fn(|part| before[part] * 0.3 + down[part] * 0.7));
            let up = axis.map(|part| -part);
            let left = unit(cross([course.turn.sin(), course.turn.cos(), 0.0], up));
            let back = cross(up, left);
            let mut half = half_extent(level, course.stature, step.distance, random);
            let mut wedge = 0.0;
            let may_sink = matches!(level.region(), anatomy::Region::Thoracic | anatomy::Region::Lumbar);
            if may_sink && broken > 0.0 && random.uniform() < broken {
                wedge = between(random, 0.1, 0.5);
                half[2] *= between(random, 0.75, 1.0);
            }
            let joined = formula == Formula::JoinedFifth && level.name() == "L5";
            vertebrae.push(Vertebra { level, centre, left, back, up, half, wedge, dish: 0.0, joined });
            centre = along(centre, step.distance, down);
        }
        Spine { vertebrae, stature: course.stature }
    }

    /// The point so many mm to the left, to the front of the vertebrae's front edge and up, of a person
    /// of usual size, at a height given as a level value: 10.5 is between T3 and T4.
    pub fn before(&self, value: f64, [left, front, up]: Vector) -> Vector {
        // A spine may lack T12 or have two lumbar vertebrae that share a value.
        let height = |index: usize| f64::from(self.vertebrae[index].level.value());
        let last = self.vertebrae.len() - 1;
        let above = (0..=last).rev().find(|&index| height(index) <= value).unwrap_or(0);
        let below = (above + 1).min(last);
        let gap = (height(below) - height(above)).max(1.0);
        let share = ((value - height(above)) / gap).clamp(0.0, 1.0);
        let of = |index: usize| {
            let vertebra = &self.vertebrae[index];
            let edge = along(vertebra.centre, -vertebra.half[1], vertebra.back);
            along(edge, -front * self.stature, [0.0, 1.0, 0.0])
        };
        let (a, b) = (of(above), of(below));
        let [x, y, z]: Vector = std::array::from_fn(|axis| a[axis] + share * (b[axis] - a[axis]));
        [x + left * self.stature, y, z + up * self.stature]
    }

    /// The vertebra of a level, if this person has it.
    pub fn vertebra(&self, level: Level) -> Option<&Vertebra> {
        self.vertebrae.iter().find(|vertebra| vertebra.level == level)
    }
}

/// Half of a body's width, depth and height.
fn half_extent(level: Level, stature: f64, spacing: f64, random: &mut Legacy) -> Vector {
    let diameter = level.diameter() * stature * around(random, 1.0, 0.03);
    // Discs are a quarter of the neck and the loin and a sixth of the chest.
    let disc = match level.region() {
        anatomy::Region::Thoracic => 0.18,
        anatomy::Region::Sacral => 0.08,
        _ => 0.27,
    };
    [diameter * 0.6, diameter * 0.45, spacing * (1.0 - disc + around(random, 0.0, 0.02)) / 2.0]
}

fn unit(a: Vector) -> Vector {
    let length = a.iter().map(|part| part * part).sum::<f64>().sqrt().max(1e-9);
    a.map(|part| part / length)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn in_a_hospital_some_bodies_have_sunk_in() {
        let spines = (0..40).map(|seed| Spine::random(Cohort::Hospital, &mut Legacy::seeded(seed)));
        let broken = spines.flat_map(|spine| spine.vertebrae).filter(|vertebra| vertebra.wedge > 0.0).count();
        assert!((5..200).contains(&broken), "{broken}");
    }

    #[test]
    fn in_a_hospital_some_people_have_a_vertebra_more_or_less_and_heights_still_fall_along_the_spine() {
        let spines: Vec<Spine> =
            (0..120).map(|seed| Spine::random(Cohort::Hospital, &mut Legacy::seeded(seed))).collect();
        let with = |name: &str| {
            let level = name.parse().unwrap();
            spines.iter().filter(|spine| spine.vertebra(level).is_some()).count()
        };
        assert!((1..20).contains(&with("L6")), "{}", with("L6"));
        assert!((100..120).contains(&with("T12")), "{}", with("T12"));
        assert!(spines.iter().any(|spine| spine.vertebrae.iter().any(|vertebra| vertebra.joined)));
        for spine in &spines {
            assert!(spine.vertebrae.windows(2).all(|pair| pair[0].level < pair[1].level));
            let heights: Vec<f64> =
                (10..=260).map(|tenth| spine.before(f64::from(tenth) / 10.0, [0.0; 3])[2]).collect();
            assert!(heights.windows(2).all(|pair| pair[1] < pair[0] + 1.0));
        }
    }

    #[test]
    fn vertebrae_stand_upright_from_the_head_down() {
        let spine = Spine::random(Cohort::Healthy, &mut Legacy::seeded(4));
        assert_eq!(spine.vertebrae.len(), 26);
        for pair in spine.vertebrae.windows(2) {
            assert!(pair[0].level < pair[1].level && pair[0].centre[2] > pair[1].centre[2]);
        }
        for vertebra in &spine.vertebrae {
            assert!(vertebra.up[2] > 0.4 && vertebra.left[0] > 0.9 && vertebra.back[1] > 0.4, "{vertebra:?}");
            let square: f64 = vertebra.back.iter().map(|part| part * part).sum();
            assert!((square - 1.0).abs() < 1e-9);
        }
    }
}
