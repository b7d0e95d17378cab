//! Soft organs around the spine, each at the height where anatomy books put it: in a crop without
//! skull, ribs' ends or sacrum they are what tells one level from the next.

use super::randomness::{around, between};
use super::shapes::Shape;
use super::skeleton::{Spine, UPRIGHT, Vector};
use super::tissues::{AIR, Densities, Part};
use crate::random::Legacy;

/// Air of the windpipe, and gas in the bowel.
const GAS: f64 = -900.0;
/// Cartilage of the larynx.
const CARTILAGE: f64 = 130.0;
/// The thyroid gland holds iodine.
const THYROID: f64 = 115.0;

/// A person's organs, in the order in which they are painted.
pub(super) fn organs(spine: &Spine, densities: &Densities, random: &mut Legacy) -> Vec<Part> {
    let mut organs = Organs { spine, parts: Vec::new(), size: spine.stature };
    organs.chest(densities);
    organs.belly(densities, random);
    organs.vessels(densities, random);
    organs.throat(densities, random);
    organs.parts
}

struct Organs<'a> {
    spine: &'a Spine,
    parts: Vec<Part>,
    size: f64,
}

impl Organs<'_> {
    fn at(&self, value: f64, offset: Vector) -> Vector {
        self.spine.before(value, offset)
    }

    fn ball(&mut self, centre: Vector, radii: Vector, density: f64) {
        let radii = radii.map(|radius| radius * self.size);
        let shape = Shape::Ellipsoid { centre, axes: UPRIGHT, radii };
        self.parts.push(Part { shape, inset: 0.0, density });
    }

    fn rod(&mut self, ends: [Vector; 2], radius: f64, density: f64) {
        let radii = [radius * self.size; 2];
        self.parts.push(Part { shape: Shape::Rod { ends, radii }, inset: 0.0, density });
    }

    /// A tube through points.
    fn tube(&mut self, points: &[Vector], radius: f64, density: f64) {
        for pair in points.windows(2) {
            self.rod([pair[0], pair[1]], radius, density);
        }
    }

    /// Lungs from T1 to T11 and the heart between T5 and T9, its left atrium before the spine.
    fn chest(&mut self, densities: &Densities) {
        let (top, bottom) = (self.at(8.0, [0.0; 3]), self.at(18.3, [0.0; 3]));
        let middle = self.at(13.0, [0.0; 3]);
        for side in [-1.0, 1.0] {
            let centre = [middle[0] + side * 72.0 * self.size, middle[1] - 22.0, (top[2] + bottom[2]) / 2.0];
            let height = (top[2] - bottom[2]) / 2.0 / self.size + 5.0;
            self.ball(centre, [58.0, 82.0, height], densities.lung);
        }
        let blood = densities.vessel.max(45.0);
        self.ball(self.at(14.0, [22.0, 62.0, 0.0]), [50.0, 42.0, 52.0], blood * 0.9);
        self.ball(self.at(13.8, [4.0, 27.0, 0.0]), [32.0, 17.0, 24.0], blood);
        // The breastbone.
        for (value, front) in [(9.3, 48.0), (11.0, 62.0), (13.0, 82.0), (15.0, 98.0)] {
            let ends = [self.at(value, [0.0, front, 0.0]), self.at(value + 1.5, [0.0, front + 9.0, 0.0])];
            self.rod(ends, 7.0, densities.marrow);
        }
    }

    /// Liver, stomach, pancreas, kidneys, the psoas and bowel with gas in the fat before L2 to S1.
    fn belly(&mut self, densities: &Densities, random: &mut Legacy) {
        let (organ, kidney) = (densities.organ, densities.kidney);
        self.ball(self.at(22.5, [0.0, 50.0, 0.0]), [105.0, 45.0, 130.0], densities.fat);
        self.ball(self.at(18.6, [-72.0, 40.0, 0.0]), [66.0, 72.0, 75.0], organ);
        self.ball(self.at(18.8, [-18.0, 32.0, 0.0]), [24.0, 14.0, 30.0], organ);
        let full = between(random, -20.0, 40.0);
        self.ball(self.at(18.7, [48.0, 55.0, 0.0]), [38.0, 36.0, 46.0], full);
        self.ball(self.at(20.6, [8.0, 36.0, 0.0]), [46.0, 9.0, 13.0], organ - 10.0);
        for side in [-1.0, 1.0] {
            let drop = if side < 0.0 { 0.3 } else { 0.0 };
            let height = 20.7 + drop + around(random, 0.0, 0.25);
            self.ball(self.at(height, [side * 60.0, -14.0, 0.0]), [26.0, 24.0, 52.0], kidney);
            // The muscles beside the loin grow from L1 down.
            for (value, radius) in [(20.3, 9.0), (21.3, 15.0), (22.3, 19.0), (23.3, 22.0), (24.2, 21.0)] {
                let off = 26.0 + radius * 0.8;
                let ends =
                    [self.at(value, [side * off, -10.0, 0.0]), self.at(value + 1.0, [side * off, -8.0, 0.0])];
                self.rod(ends, radius, densities.muscle);
            }
        }
        for _ in 0..7 {
            let at = self.at(
                between(random, 21.5, 25.5),
                [between(random, -60.0, 60.0), between(random, 45.0, 80.0), 0.0],
            );
            let radius = between(random, 8.0, 17.0);
            self.ball(at, [radius, radius, radius * 1.4], between(random, 20.0, 60.0));
            if random.uniform() < 0.5 {
                self.ball(at, [radius * 0.7, radius * 0.6, radius * 0.8], GAS);
            }
        }
    }

    /// The aorta from its arch at T4 to where it parts at L4, the vena cava from L5 to T9, what
    /// leaves the aorta at T12 and L1.
    fn vessels(&mut self, densities: &Densities, random: &mut Legacy) {
        let wide = between(random, 9.0, 14.0);
        let blood = densities.vessel;
        let gap = wide + 1.5;
        let rising = [
            self.at(14.0, [-6.0, 62.0, 0.0]),
            self.at(11.8, [-12.0, 50.0, 0.0]),
            self.at(10.9, [-4.0, 38.0, 0.0]),
            self.at(10.7, [10.0, 22.0, 0.0]),
            self.at(11.3, [15.0, gap, 0.0]),
        ];
        self.tube(&rising, wide * 1.1, blood);
        let falling: Vec<Vector> = (0..=12)
            .map(|step| {
                let share = f64::from(step) / 12.0;
                let left = 15.0 - 12.0 * (2.0 * share).min(1.0);
                self.at(11.3 + 11.9 * share, [left, gap, 0.0])
            })
            .collect();
        self.tube(&falling, wide * 0.92, blood);
        self.rod([self.at(12.4, [14.0, 48.0, 0.0]), self.at(12.2, [-14.0, 26.0, 0.0])], wide * 0.9, blood);
        let vein = (blood * 0.7).max(45.0);
        let cava: Vec<Vector> = (0..=9)
            .map(|step| {
                let share = f64::from(step) / 9.0;
                self.at(23.8 - 8.3 * share, [-17.0, gap + 16.0 * share * share, 0.0])
            })
            .collect();
        self.tube(&cava, 10.0, vein);
        for side in [-1.0, 1.0] {
            let parting = self.at(23.2, [3.0, gap, 0.0]);
            self.tube(&[parting, self.at(25.0, [side * 30.0, gap + 4.0, 0.0])], wide * 0.6, blood);
            self.tube(&[self.at(23.8, [-17.0, gap, 0.0]), self.at(25.2, [side * 34.0, 2.0, 0.0])], 8.0, vein);
            self.tube(&[self.at(20.6, [3.0, gap, 0.0]), self.at(20.9, [side * 45.0, 2.0, 0.0])], 3.5, blood);
        }
        for (value, front) in [(19.0, 45.0), (19.9, 50.0)] {
            self.rod([self.at(value, [3.0, gap, 0.0]), self.at(value + 0.5, [2.0, front, 0.0])], 4.0, blood);
        }
    }

    /// Tongue bone at C3, larynx at C4 to C6, thyroid at C7 and T1, gullet behind the windpipe,
    /// which parts between T4 and T5.
    fn throat(&mut self, densities: &Densities, random: &mut Legacy) {
        // The gullet leaves the spine to pass before the aorta.
        let gullet: Vec<Vector> = (0..=12)
            .map(|step| {
                let value = 6.0 + f64::from(step);
                self.at(value, [3.0, 7.0 + 4.0 * (value - 11.0).max(0.0), 0.0])
            })
            .collect();
        self.tube(&gullet, 6.0, densities.muscle - 15.0);
        let larynx = [self.at(4.0, [0.0, 32.0, 0.0]), self.at(6.3, [0.0, 24.0, 0.0])];
        self.rod(larynx, 17.0, CARTILAGE);
        for side in [-1.0, 1.0] {
            let ends = [self.at(3.3, [0.0, 46.0, 0.0]), self.at(3.3, [side * 20.0, 22.0, 0.0])];
            self.rod(ends, 3.0, densities.marrow + 80.0);
            self.ball(self.at(7.6, [side * 17.0, 22.0, 0.0]), [9.0, 9.0, 20.0], THYROID);
        }
        let open = between(random, 7.5, 10.0);
        let pipe = [
            self.at(1.5, [0.0, 8.0, 0.0]),
            self.at(3.8, [0.0, 14.0, 0.0]),
            self.at(5.5, [0.0, 24.0, 0.0]),
            self.at(8.0, [0.0, 22.0, 0.0]),
            self.at(11.5, [0.0, 22.0, 0.0]),
        ];
        self.tube(&pipe, open, AIR);
        for side in [-1.0, 1.0] {
            self.tube(&[pipe[4], self.at(12.9, [side * 32.0, 20.0, 0.0])], open * 0.75, AIR);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::phantom::Cohort;

    #[test]
    fn organs_stand_at_their_heights() {
        let mut random = Legacy::seeded(1);
        let spine = Spine::random(Cohort::Healthy, &mut random);
        let densities = Densities::random(Cohort::Healthy, &mut random);
        let parts = organs(&spine, &densities, &mut random);
        let inside = |point: Vector| {
            parts.iter().rfind(|part| part.shape.distance(point) < 0.0).map(|part| part.density)
        };
        let probe = Organs { spine: &spine, parts: Vec::new(), size: spine.stature };
        assert_eq!(inside(probe.at(9.0, [0.0, 22.0, 0.0])), Some(AIR));
        assert_eq!(inside(probe.at(16.0, [7.0, 12.0, 0.0])), Some(densities.vessel));
        assert_ne!(inside(probe.at(14.0, [0.0, 22.0, 0.0])), Some(AIR));
    }
}
