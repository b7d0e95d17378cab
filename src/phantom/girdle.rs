//! What lies beside and beyond the spine in scans of a whole trunk: shoulders, arms, hips, face.

use super::randomness::{around, between};
use super::shapes::Shape;
use super::skeleton::{Spine, UPRIGHT, Vector};
use super::tissues::{AIR, Densities, Part};
use crate::random::Legacy;

/// Enamel and fillings.
const TEETH: f64 = 1800.0;

/// Shoulder girdle, arms, hips and face, in the order in which they are painted.
pub(super) fn girdle(spine: &Spine, densities: &Densities, random: &mut Legacy) -> Vec<Part> {
    let mut girdle = Girdle { spine, densities, parts: Vec::new() };
    // Arms lie beside the trunk, are held up beside the head, or are one of each.
    let up = [random.uniform() < 0.5; 2];
    let up = if random.uniform() < 0.08 { [up[0], !up[1]] } else { up };
    for (side, up) in [-1.0, 1.0].into_iter().zip(up) {
        girdle.shoulder(side, up, random);
        girdle.hip(side, random);
    }
    girdle.face(random);
    girdle.parts
}

struct Girdle<'a> {
    spine: &'a Spine,
    densities: &'a Densities,
    parts: Vec<Part>,
}

impl Girdle<'_> {
    fn at(&self, value: f64, offset: Vector) -> Vector {
        self.spine.before(value, offset)
    }

    fn solid(&mut self, shape: Shape, density: f64) {
        self.parts.push(Part { shape, inset: 0.0, density });
    }

    fn flesh(&mut self, ends: [Vector; 2], radii: [f64; 2]) {
        let shape = Shape::Rod { ends, radii: radii.map(|radius| radius * self.spine.stature) };
        self.solid(shape.clone(), self.densities.fat);
        self.parts.push(Part { shape, inset: 9.0, density: self.densities.muscle });
    }

    fn bone(&mut self, ends: [Vector; 2], radii: [f64; 2]) {
        let shape = Shape::Rod { ends, radii: radii.map(|radius| radius * self.spine.stature) };
        self.solid(shape.clone(), self.densities.cortex * 1.2);
        self.parts.push(Part { shape, inset: 2.5, density: self.densities.marrow * 0.7 });
    }

    fn ball(&mut self, centre: Vector, radius: f64, density: f64) {
        let radii = [radius * self.spine.stature; 3];
        self.solid(Shape::Ellipsoid { centre, axes: UPRIGHT, radii }, density);
    }

    /// Collarbone, shoulder blade, the head of the upper arm and the arm itself.
    fn shoulder(&mut self, side: f64, up: bool, random: &mut Legacy) {
        let height = if up { 7.4 } else { 8.8 } + around(random, 0.0, 0.5);
        let (wide, front) = (around(random, if up { 150.0 } else { 165.0 }, 8.0), around(random, 0.0, 12.0));
        let head = self.at(height, [side * wide, front, 0.0]);
        let raised = if up { 150.0 } else { -40.0 };
        let elbow = if up {
            self.at(2.0, [side * (wide + 20.0), front + 30.0, raised])
        } else {
            self.at(19.5, [side * (wide + 45.0), front + between(random, -20.0, 30.0), 0.0])
        };
        self.flesh([head, elbow], [50.0, 42.0]);
        let tip = self.at(height - 0.6, [side * (wide - 12.0), front, 18.0]);
        // Flesh from the neck to the shoulder.
        let neck = self.at(7.0, [side * 45.0, -20.0, 0.0]);
        self.flesh([neck, tip], [38.0, 42.0]);
        let collar = self.at(9.2, [side * 18.0, 52.0, 0.0]);
        let bend = self.at(8.4, [side * 80.0, 50.0, 0.0]);
        self.bone([collar, bend], [8.0, 6.0]);
        self.bone([bend, tip], [6.0, 7.0]);
        let spread = if up { 35.0 } else { 0.0 };
        let corner = self.at(8.9, [side * (70.0 + 0.5 * spread), -62.0, 0.0]);
        let lowest = self.at(14.6, [side * (88.0 + spread), -58.0, 0.0]);
        let socket = self.at(height + 0.4, [side * (wide - 26.0), front - 12.0, 0.0]);
        for (from, to, thick) in [(corner, lowest, 3.5), (corner, socket, 5.0), (lowest, socket, 5.0)] {
            self.bone([from, to], [thick, thick]);
        }
        let crest = self.at(10.0, [side * 74.0, -70.0, 0.0]);
        self.bone([crest, tip], [4.0, 6.0]);
        self.ball(head, 24.0, self.densities.cortex);
        self.ball(head, 21.0, self.densities.marrow * 0.8);
        self.bone([head, elbow], [13.0, 12.0]);
    }

    /// Hip joint, thigh and the front of the pelvis.
    fn hip(&mut self, side: f64, random: &mut Legacy) {
        let [x, y, z] = self.spine.before(25.0, [0.0; 3]);
        let size = self.spine.stature;
        let at =
            |left: f64, front: f64, down: f64| [x + side * left * size, y - front * size, z - down * size];
        let (joint, knee) = (at(88.0, 8.0, 105.0), at(95.0, 20.0, 420.0));
        self.flesh([at(85.0, 0.0, 120.0), knee], [88.0, 70.0]);
        let bladder = around(random, 10.0, 6.0);
        self.ball(at(10.0, 45.0, 115.0), 30.0, bladder);
        for (from, to) in [
            (at(110.0, 22.0, 5.0), at(95.0, 10.0, 95.0)),
            (at(95.0, 10.0, 85.0), at(12.0, 55.0, 125.0)),
            (at(95.0, 0.0, 110.0), at(50.0, -5.0, 160.0)),
            (at(50.0, -5.0, 160.0), at(15.0, 50.0, 135.0)),
        ] {
            self.bone([from, to], [13.0, 9.0]);
        }
        self.ball(joint, 30.0, self.densities.cortex);
        self.ball(joint, 26.0, self.densities.disc);
        self.ball(joint, 24.0, self.densities.cortex);
        self.ball(joint, 22.0, self.densities.marrow + 60.0);
        let knob = at(130.0, 0.0, 125.0);
        self.bone([joint, knob], [14.0, 16.0]);
        self.bone([knob, knee], [15.0, 14.0]);
    }

    /// Cheeks and nose with their air, teeth in front of the second and third vertebra.
    fn face(&mut self, random: &mut Legacy) {
        let drop = around(random, 0.0, 0.3);
        let flesh = [self.at(1.0, [0.0, 30.0, 40.0]), self.at(3.0 + drop, [0.0, 55.0, 0.0])];
        self.flesh(flesh, [70.0, 52.0]);
        let dense = between(random, 600.0, TEETH);
        for step in -4..=4 {
            let angle = f64::from(step) * 0.33;
            let (left, front) = (26.0 * angle.sin(), 55.0 + 32.0 * angle.cos());
            let ends = [self.at(1.6 + drop, [left, front, 6.0]), self.at(3.0 + drop, [left, front, 0.0])];
            self.solid(Shape::Rod { ends, radii: [4.0; 2] }, dense);
            let jaw = [self.at(3.0 + drop, [left, front, -3.0]), self.at(3.6 + drop, [left, front, -6.0])];
            self.bone(jaw, [6.0, 6.0]);
        }
        for side in [-1.0, 1.0] {
            let sinus = self.at(1.0, [side * 24.0, 68.0, 35.0]);
            self.ball(sinus, 17.0, self.densities.cortex);
            self.ball(sinus, 15.0, AIR);
        }
        let nose = [self.at(1.0, [0.0, 30.0, 28.0]), self.at(1.0, [0.0, 95.0, 34.0])];
        self.solid(Shape::Rod { ends: nose, radii: [11.0, 8.0] }, AIR);
    }
}
