//! A random spine: where its vertebrae are, how they stand and how large they are.

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

impl Spine {
    /// A spine with real distances, a random posture and some scoliosis.
    pub fn random(random: &mut Legacy) -> Spine {
        let stature = around(random, 1.0, 0.045);
        let hollow = between(random, 0.6, 1.4);
        let lean = around(random, 0.0, 4.0);
        let bend = between(random, 0.0, 5.0);
        let wave = [between(random, 0.0, 6.3), between(random, 0.15, 0.45)];
        let turn = around(random, 0.0, 3.0f64).to_radians();
        let mut centre: Vector = [0.0; 3];
        let mut vertebrae: Vec<Vertebra> = Vec::new();
        for (index, level) in Level::all().enumerate() {
            let sagittal = (SAGITTAL[index] * hollow + lean + around(random, 0.0, 1.5)).to_radians();
            let coronal =
                (bend * (wave[0] + wave[1] * index as f64).sin() + around(random, 0.0, 1.0)).to_radians();
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
            let half = half_extent(level, stature, spacing, random);
            vertebrae.push(Vertebra { level, centre, left, back, up, half });
            centre = along(centre, spacing, down);
        }
        Spine { vertebrae, stature }
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
    fn vertebrae_stand_upright_from_the_head_down() {
        let spine = Spine::random(&mut Legacy::seeded(4));
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
