//! Worn and treated spines: bone spurs, cement, screws.

use super::randomness::between;
use super::shapes::Shape;
use super::skeleton::{Spine, Vector, Vertebra};
use super::tissues::{Densities, Part};
use crate::anatomy::Region;
use crate::random::Legacy;

/// Titanium; scanners end here.
pub(super) const METAL: f64 = 3000.0;
/// Cement that was poured into a broken body.
pub(super) const CEMENT: f64 = 1500.0;
/// Shares of people with spurs, with screws and with cement.
const SPURS: f64 = 0.3;
const SCREWS: f64 = 0.06;
const CEMENTED: f64 = 0.03;

/// What is added to the bones of a person.
pub(super) fn disease(spine: &Spine, densities: &Densities, random: &mut Legacy) -> Vec<Part> {
    let mut parts = Vec::new();
    if random.uniform() < SPURS {
        let share = between(random, 0.1, 0.6);
        for vertebra in spine.vertebrae.iter().filter(|vertebra| vertebra.level.value() > 2) {
            if random.uniform() < share {
                spurs(vertebra, densities, &mut parts, random);
            }
        }
    }
    let trunk = |vertebra: &Vertebra| matches!(vertebra.level.region(), Region::Thoracic | Region::Lumbar);
    let bodies: Vec<&Vertebra> = spine.vertebrae.iter().filter(|vertebra| trunk(vertebra)).collect();
    if random.uniform() < SCREWS {
        let count = random.integer(2, 7) as usize;
        let first = random.integer(0, (bodies.len() - count) as i64 + 1) as usize;
        screws(&bodies[first..first + count], &mut parts);
    }
    if random.uniform() < CEMENTED {
        let vertebra = bodies[random.integer(0, bodies.len() as i64) as usize];
        let radii = vertebra.half.map(|half| half * between(random, 0.3, 0.7));
        let axes = [vertebra.left, vertebra.back, vertebra.up];
        let shape = Shape::Ellipsoid { centre: vertebra.centre, axes, radii };
        parts.push(Part { shape, inset: 0.0, density: CEMENT });
    }
    parts
}

/// Beaks at the front and side edges of a body's end plates.
fn spurs(vertebra: &Vertebra, densities: &Densities, parts: &mut Vec<Part>, random: &mut Legacy) {
    let [wide, deep, high] = vertebra.half;
    for (left, back) in [(0.0, -1.0), (0.8, -0.6), (-0.8, -0.6), (1.0, 0.0), (-1.0, 0.0)] {
        for end in [-1.0, 1.0] {
            if random.uniform() < 0.5 {
                continue;
            }
            let reach = between(random, 1.0, 1.35);
            let root = vertebra.at([left * wide * 0.9, back * deep * 0.9, end * high * 0.8]);
            let tip = vertebra.at([left * wide * reach, back * deep * reach, end * high * 1.15]);
            let shape = Shape::Rod { ends: [root, tip], radii: [4.0, 2.0] };
            parts.push(Part { shape, inset: 0.0, density: densities.cortex });
        }
    }
}

/// A pair of screws in each body and a bar on either side that joins them.
fn screws(bodies: &[&Vertebra], parts: &mut Vec<Part>) {
    let mut rod = |ends: [Vector; 2], radius: f64| {
        parts.push(Part { shape: Shape::Rod { ends, radii: [radius; 2] }, inset: 0.0, density: METAL });
    };
    for side in [-1.0, 1.0] {
        let mut before = None;
        for vertebra in bodies {
            let [wide, deep, high] = vertebra.half;
            let head = vertebra.at([side * wide * 0.8, deep + 24.0, high * 0.3]);
            rod([vertebra.at([side * wide * 0.4, -deep * 0.4, high * 0.1]), head], 2.8);
            if let Some(before) = before {
                rod([before, head], 3.2);
            }
            before = Some(head);
        }
    }
}
