//! The way a spine takes from level to level.

use super::Cohort;
use super::randomness::{around, between};
use crate::anatomy::variety::{STEPS, Step, Variety};
use crate::anatomy::{self, Level, Region};
use crate::random::Legacy;

/// Direction of the spine going down at each level C1 … S2, in degrees towards the back: the
/// cervical and lumbar hollow, the thoracic and sacral hump of a person lying on the back.
const SAGITTAL: [f64; 26] = [
    -5.0, -8.0, -5.0, 0.0, 5.0, 10.0, 16.0, 18.0, 16.0, 13.0, 10.0, 6.0, 3.0, -1.0, -4.0, -7.0, -9.0, -10.0,
    -11.0, -10.0, -7.0, -2.0, 5.0, 22.0, 42.0, 45.0,
];
/// The sacrum turns to the back against the last lumbar step, and again below S1; nobody lies so that
/// it points further back than the last. In degrees.
const SACRAL: [f64; 2] = [17.0, 37.0];
const STEEPEST: f64 = 75.0;
/// A sixth lumbar vertebra continues the turn of the fifth, in degrees.
const SIXTH: f64 = 8.0;

/// How a person is built and lies.
pub(super) struct Course {
    /// Size, 1 on average.
    pub stature: f64,
    /// Turn of the whole person about the long axis, in radians.
    pub turn: f64,
    /// Tilt of the whole spine to the back, in degrees.
    lean: f64,
    /// Sideways curve in degrees, where it begins and how fast it turns from level to level.
    bend: f64,
    wave: [f64; 2],
    shape: Shape,
}

enum Shape {
    /// The mean spine with curves of so many times the usual depth.
    Mean { hollow: f64 },
    /// The steps of a real spine, and how far the head is bent back, in degrees.
    Real { steps: Vec<Step>, head: f64 },
}

impl Course {
    /// Healthy people are near the mean spine; in a hospital lie spines as they are, a fifth of them
    /// bent aside further, in every posture.
    pub fn random(cohort: Cohort, random: &mut Legacy) -> Course {
        match cohort {
            Cohort::Healthy => {
                let stature = around(random, 1.0, 0.045);
                let hollow = between(random, 0.6, 1.4);
                let lean = around(random, 0.0, 4.0);
                let bend = between(random, 0.0, 5.0);
                let wave = [between(random, 0.0, 6.3), between(random, 0.15, 0.45)];
                let turn = around(random, 0.0, 3.0f64).to_radians();
                Course { stature, turn, lean, bend, wave, shape: Shape::Mean { hollow } }
            }
            Cohort::Hospital => {
                // The table holds adults; a few people are smaller or larger than they are.
                let steps = Variety::real().draw(around(random, 1.0, 0.05), random);
                let level = |step: usize| Level::all().nth(step);
                let usual = |step: usize| level(step).and_then(anatomy::between).map(|s| s.mean);
                let ratios = steps.iter().enumerate().filter_map(|(at, s)| Some(s.distance / usual(at)?));
                let stature = ratios.sum::<f64>() / STEPS as f64;
                let lean = around(random, 0.0, 5.0);
                let bend = if random.uniform() < 0.2 { between(random, 6.0, 20.0) } else { 0.0 };
                let wave = [between(random, 0.0, 6.3), between(random, 0.15, 0.45)];
                let turn = around(random, 0.0, 6.0f64).to_radians();
                // A chin on the chest or a head held back, as in most scans of the neck.
                let head = around(random, 0.0, 12.0);
                Course { stature, turn, lean, bend, wave, shape: Shape::Real { steps, head } }
            }
        }
    }

    /// The way from `level` to `next`; from the last one it goes on.
    pub fn step(&self, level: Level, next: Option<Level>, random: &mut Legacy) -> Step {
        let wave = self.bend * (self.wave[0] + self.wave[1] * f64::from(level.value() - 1)).sin();
        match &self.shape {
            Shape::Mean { hollow } => {
                let sagittal = SAGITTAL[usize::from(level.value()) - 1] * hollow;
                let back = sagittal + self.lean + around(random, 0.0, 1.5);
                let left = wave + around(random, 0.0, 1.0);
                Step { distance: self.usual_distance(level, random), back, left }
            }
            Shape::Real { steps, head } => {
                let sixth = next.is_some_and(|next| next.name() == "L6");
                let last = steps[STEPS - 1];
                let mut step = match steps.get(usize::from(level.value()) - 1) {
                    Some(&step) => step,
                    None if sixth => {
                        Step { distance: last.distance, back: last.back + around(random, SIXTH, 4.0), ..last }
                    }
                    None => self.sacral(level, last, random),
                };
                if level.region() == Region::Cervical {
                    // The head's turn begins at T1 and grows upwards.
                    step.back += head * (7.0 - level.index() as f64) / 7.0;
                }
                step.back += self.lean;
                step.left += wave;
                step
            }
        }
    }

    /// A person of this size's distance from `level` to the next.
    fn usual_distance(&self, level: Level, random: &mut Legacy) -> f64 {
        anatomy::between(level).map_or(25.0, |spacing| {
            // Most of the spread between people is their size; a third is the single disc.
            spacing.mean * self.stature + around(random, 0.0, spacing.deviation / 3.0)
        })
    }

    /// From the last lumbar vertebra to the sacrum and within it.
    fn sacral(&self, level: Level, last: Step, random: &mut Legacy) -> Step {
        let turns = if level.region() == Region::Sacral { SACRAL[0] + SACRAL[1] } else { SACRAL[0] };
        let distance = self.usual_distance(level, random);
        let back = (last.back + around(random, turns, 5.0)).min(STEEPEST);
        Step { distance, back, left: last.left / 2.0 }
    }
}
