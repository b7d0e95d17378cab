//! A random spine: where its vertebrae are, how they stand and how large they are.

use super::Cohort;
use super::randomness::{around, between};
use crate::anatomy::{self, Level};
use crate::sampling::random::Legacy;

/// A point or direction in mm: x to the patient's left, y to the back, z to the head.
pub type Vector = [f64; 3];

/// Axes of a person lying straight: left, back, up.
pub const UPRIGHT: [Vector; 3] = [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]];

/// a + s · b.
pub fn along(a: Vector, s: f64, b: Vector) -> Vector {
    std::array::from_fn(|axis| a[axis] + s * b[axis])
}

/// Direction of the spine going down at each level C1 … S2, in degrees towards the back: the
/// cervical and lumbar hollow, the thoracic and sacral hump of a person lying on the back.
const SAGITTAL: [f64; 26] = [
    -5.0, -8.0, -5.0, 0.0, 5.0, 10.0, 16.0, 18.0, 16.0, 13.0, 10.0, 6.0, 3.0, -1.0, -4.0, -7.0, -9.0, -10.0,
    -11.0, -10.0, -7.0, -2.0, 5.0, 22.0, 42.0, 45.0,
];

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
}

impl Vertebra {
    /// The point at so many mm to the left, to the back and up from the body's centre.
    pub fn at(&self, [left, back, up]: Vector) -> Vector {
        along(along(along(self.centre, left, self.left), back, self.back), up, self.up)
    }
}

/// All vertebrae of a person, C1 … S2.
pub struct Spine {
    /// From the head down.
    pub vertebrae: Vec<Vertebra>,
    /// Size of this person, 1 on average.
    pub stature: f64,
}

/// How a person is built and lies.
struct Posture {
    stature: f64,
    /// Depth of the spine's curves, 1 on average, and the neck's.
    hollow: [f64; 2],
    /// Tilt of the whole spine to the back, in degrees.
    lean: f64,
    /// Sideways curve in degrees, where it begins and how fast it turns from level to level.
    bend: f64,
    wave: [f64; 2],
    /// Turn of the whole person about the long axis, in radians.
    turn: f64,
    /// Spread of the sagittal and coronal direction of single vertebrae, in degrees.
    unrest: [f64; 2],
    /// How often a body has sunk in.
    broken: f64,
}

impl Posture {
    fn random(cohort: Cohort, random: &mut Legacy) -> Posture {
        let hospital = cohort == Cohort::Hospital;
        let stature = around(random, 1.0, if hospital { 0.065 } else { 0.045 });
        let hollow = if hospital { between(random, 0.3, 1.8) } else { between(random, 0.6, 1.4) };
        let lean = around(random, 0.0, if hospital { 7.0 } else { 4.0 });
        let bend = if hospital && random.uniform() < 0.2 {
            between(random, 6.0, 20.0)
        } else {
            between(random, 0.0, 5.0)
        };
        let wave = [between(random, 0.0, 6.3), between(random, 0.15, 0.45)];
        let turn = around(random, 0.0, if hospital { 6.0 } else { 3.0f64 }).to_radians();
        // A chin on the chest or a head held back, as in most scans of the neck.
        let neck = if hospital { between(random, -0.8, 2.0) } else { hollow };
        Posture {
            stature,
            hollow: [hollow, neck],
            lean,
            bend,
            wave,
            turn,
            unrest: if hospital { [2.5, 1.5] } else { [1.5, 1.0] },
            broken: match hospital {
                true if random.uniform() < 0.3 => 0.15,
                _ => 0.0,
            },
        }
    }
}

impl Spine {
    /// A spine with real distances, a random posture and some scoliosis; in a hospital also with
    /// bodies that have sunk in.
    pub fn random(cohort: Cohort, random: &mut Legacy) -> Spine {
        let Posture { stature, hollow, lean, bend, wave, turn, unrest, broken } =
            Posture::random(cohort, random);
        let mut centre: Vector = [0.0; 3];
        let mut vertebrae: Vec<Vertebra> = Vec::new();
        for (index, level) in Level::all().enumerate() {
            let curve = if level.region() == anatomy::Region::Cervical { hollow[1] } else { hollow[0] };
            let sagittal = (SAGITTAL[index] * curve + lean + around(random, 0.0, unrest[0])).to_radians();
            let coronal = (bend * (wave[0] + wave[1] * index as f64).sin() + around(random, 0.0, unrest[1]))
                .to_radians();
            let down = [coronal.sin(), sagittal.sin() * coronal.cos(), -sagittal.cos() * coronal.cos()];
            // A body stands in line with its neighbours: halfway between the way in and the way out.
            let before = vertebrae.last().map_or(down, |above| above.up.map(|part| -part));
            let axis = unit(std::array::from_fn(|part| before[part] * 0.3 + down[part] * 0.7));
            let up = axis.map(|part| -part);
            let left = unit(cross([turn.sin(), turn.cos(), 0.0], up));
            let back = cross(up, left);
            let spacing = anatomy::between(level).map_or(25.0, |spacing| {
                // Most of the spread between people is their size; a third is the single disc.
                spacing.mean * stature + around(random, 0.0, spacing.deviation / 3.0)
            });
            let mut half = half_extent(level, stature, spacing, random);
            let mut wedge = 0.0;
            let may_sink = matches!(level.region(), anatomy::Region::Thoracic | anatomy::Region::Lumbar);
            if may_sink && broken > 0.0 && random.uniform() < broken {
                wedge = between(random, 0.1, 0.5);
                half[2] *= between(random, 0.75, 1.0);
            }
            vertebrae.push(Vertebra { level, centre, left, back, up, half, wedge });
            centre = along(centre, spacing, down);
        }
        Spine { vertebrae, stature }
    }

    /// The point so many mm to the left, to the front of the vertebrae's front edge and up, of a person
    /// of usual size, at a height given as a level value: 10.5 is between T3 and T4.
    pub fn before(&self, value: f64, [left, front, up]: Vector) -> Vector {
        let last = self.vertebrae.len() - 1;
        let above = ((value - 1.0).floor() as usize).min(last);
        let below = (above + 1).min(last);
        let share = (value - 1.0 - above as f64).clamp(0.0, 1.0);
        let of = |index: usize| {
            let vertebra = &self.vertebrae[index];
            let edge = along(vertebra.centre, -vertebra.half[1], vertebra.back);
            along(edge, -front * self.stature, [0.0, 1.0, 0.0])
        };
        let (a, b) = (of(above), of(below));
        let [x, y, z]: Vector = std::array::from_fn(|axis| a[axis] + share * (b[axis] - a[axis]));
        [x + left * self.stature, y, z + up * self.stature]
    }

    /// The vertebra of a level.
    pub fn vertebra(&self, level: Level) -> &Vertebra {
        &self.vertebrae[level.value() as usize - 1]
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

fn cross(a: Vector, b: Vector) -> Vector {
    [a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]]
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
