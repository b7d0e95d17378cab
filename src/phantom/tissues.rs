//! The bones and organs around a spine, as solids with a density.

use super::randomness::{around, between};
use super::shapes::Shape;
use super::skeleton::{Spine, UPRIGHT, Vector, Vertebra};
use super::{Cohort, disease, girdle, organs};
use crate::anatomy::{Level, Region};
use crate::random::Legacy;

/// A solid of one density; later parts cover earlier ones.
pub(crate) struct Part {
    /// Where it is.
    pub shape: Shape,
    /// How far inside the shape's surface it begins, in mm.
    pub inset: f64,
    /// Hounsfield units.
    pub density: f64,
}

/// Share of people in a hospital whose first lumbar vertebra bears ribs.
const LUMBAR_RIBS: f64 = 0.04;
/// Air around the patient.
pub(crate) const AIR: f64 = -1000.0;

/// Densities of one person, in Hounsfield units.
pub(super) struct Densities {
    pub fat: f64,
    pub muscle: f64,
    pub lung: f64,
    pub disc: f64,
    pub cortex: f64,
    pub marrow: f64,
    pub vessel: f64,
    pub organ: f64,
    pub kidney: f64,
    /// Thickness of the bones' shell in mm.
    pub shell: f64,
}

impl Densities {
    pub fn random(cohort: Cohort, random: &mut Legacy) -> Self {
        let contrast = random.uniform() < 0.5;
        let organ_mean = if contrast { 100.0 } else { 55.0 };
        if cohort == Cohort::Healthy {
            let mut densities = Densities {
                fat: around(random, -100.0, 8.0),
                muscle: around(random, 55.0, 8.0),
                lung: around(random, -820.0, 40.0),
                disc: around(random, 85.0, 12.0),
                cortex: around(random, 400.0, 70.0),
                marrow: around(random, 190.0, 40.0),
                vessel: if contrast { between(random, 120.0, 300.0) } else { 45.0 },
                organ: around(random, organ_mean, 10.0),
                kidney: 0.0,
                shell: between(random, 1.2, 2.0),
            };
            densities.kidney = densities.organ + 15.0;
            return densities;
        }
        // From osteoporosis to a young athlete, every phase of a contrast agent.
        let organ = around(random, organ_mean, 22.0);
        Densities {
            fat: around(random, -98.0, 12.0),
            muscle: around(random, 50.0, 14.0),
            lung: around(random, -790.0, 70.0),
            disc: around(random, 85.0, 20.0),
            cortex: between(random, 260.0, 800.0),
            marrow: between(random, 50.0, 340.0),
            vessel: if contrast { between(random, 80.0, 450.0) } else { around(random, 42.0, 6.0) },
            organ,
            kidney: organ + if contrast { between(random, 10.0, 130.0) } else { -20.0 },
            shell: between(random, 0.8, 2.4),
        }
    }
}

struct Builder<'a> {
    spine: &'a Spine,
    densities: Densities,
    parts: Vec<Part>,
}

/// All parts of a person, in the order in which they are painted.
pub(super) fn parts(spine: &Spine, cohort: Cohort, random: &mut Legacy) -> (Vec<Part>, Densities) {
    let densities = Densities::random(cohort, random);
    let mut builder = Builder { spine, densities, parts: Vec::new() };
    builder.flesh(random);
    builder.parts.extend(organs::organs(spine, &builder.densities, random));
    if cohort == Cohort::Hospital {
        builder.parts.extend(girdle::girdle(spine, &builder.densities, random));
    }
    builder.head();
    builder.ribs(cohort, random);
    builder.pelvis();
    for (index, vertebra) in spine.vertebrae.iter().enumerate() {
        if let Some(below) = spine.vertebrae.get(index + 1) {
            builder.disc(vertebra, below);
        }
        builder.vertebra(vertebra);
    }
    if cohort == Cohort::Hospital {
        builder.parts.extend(disease::disease(spine, &builder.densities, random));
    }
    (builder.parts, builder.densities)
}

fn level(name: &str) -> Level {
    // The names in this file are levels; C1 stands in for none of them.
    name.parse().unwrap_or_else(|_| unreachable!("{name} is a level"))
}

impl Builder<'_> {
    fn solid(&mut self, shape: Shape, density: f64) {
        self.parts.push(Part { shape, inset: 0.0, density });
    }

    /// A shell of cortex around marrow.
    fn bone(&mut self, shape: Shape) {
        let (cortex, marrow, shell) = (self.densities.cortex, self.densities.marrow, self.densities.shell);
        self.solid(shape.clone(), cortex);
        self.parts.push(Part { shape, inset: shell, density: marrow });
    }

    fn rod(&mut self, ends: [Vector; 2], radii: [f64; 2]) {
        self.bone(Shape::Rod { ends, radii });
    }

    /// Skin and fat, then muscle, then the table.
    fn flesh(&mut self, random: &mut Legacy) {
        let girth = between(random, 0.85, 1.25) * self.spine.stature;
        let fat = between(random, 6.0, 22.0);
        let ring = |vertebra: &Vertebra| {
            let at = f64::from(vertebra.level.value());
            // The neck is slim, the shoulders are wide from T1 on.
            let share = ((at - 6.0) / 4.0).clamp(0.0, 1.0);
            let (wide, deep) = ((62.0 + 118.0 * share) * girth, (60.0 + 52.0 * share) * girth);
            // The spine lies at the back of the trunk, 55 to 75 mm below the skin.
            let skin = (48.0 + 20.0 * share) * girth;
            ([vertebra.centre[0], vertebra.centre[1] + skin - deep, vertebra.centre[2]], [wide, deep])
        };
        let mut rings: Vec<(Vector, [f64; 2])> = self.spine.vertebrae.iter().map(ring).collect();
        let (mut top, radii) = rings[0];
        top[2] += 150.0;
        rings.insert(0, (top, [radii[0] * 1.2, radii[1] * 1.5]));
        let (mut bottom, radii) = rings[rings.len() - 1];
        bottom[2] -= 150.0;
        rings.push((bottom, radii));
        let lowest = rings.iter().map(|(centre, radii)| centre[1] + radii[1]).fold(f64::MIN, f64::max);
        let middle = self.spine.vertebrae[13].centre;
        let table = between(random, 4.0, 12.0);
        self.solid(
            Shape::Ellipsoid {
                centre: [middle[0], lowest + table + 10.0, middle[2]],
                axes: UPRIGHT,
                radii: [220.0, 8.0, 900.0],
            },
            -150.0,
        );
        let skin = Shape::Trunk { rings };
        self.solid(skin.clone(), self.densities.fat);
        self.parts.push(Part { shape: skin, inset: fat, density: self.densities.muscle });
    }

    /// Skull base and brain above C1, the jaw in front of C2.
    fn head(&mut self) {
        let Some(atlas) = self.spine.vertebra(level("C1")).cloned() else { return };
        let centre = atlas.at([0.0, -12.0, 84.0]);
        let skull = Shape::Ellipsoid { centre, axes: UPRIGHT, radii: [70.0, 88.0, 70.0] };
        self.solid(skull.clone(), self.densities.cortex * 1.6);
        self.parts.push(Part { shape: skull, inset: 6.0, density: 35.0 });
        // The opening for the spinal cord and the condyles that rest on the atlas.
        self.solid(
            Shape::Rod { ends: [atlas.at([0.0, 12.0, 8.0]), atlas.at([0.0, 10.0, 26.0])], radii: [13.0; 2] },
            35.0,
        );
        for side in [-1.0, 1.0] {
            self.rod([atlas.at([side * 16.0, 0.0, 9.0]), atlas.at([side * 20.0, -2.0, 18.0])], [6.0, 9.0]);
            self.rod(
                [atlas.at([side * 46.0, -30.0, 5.0]), atlas.at([side * 12.0, -72.0, -38.0])],
                [7.0, 8.0],
            );
        }
        self.solid(
            Shape::Rod {
                ends: [atlas.at([0.0, -20.0, 20.0]), atlas.at([0.0, -24.0, -45.0])],
                radii: [9.0; 2],
            },
            AIR,
        );
    }

    /// A body with arch and processes; the atlas is a ring around the dens.
    fn vertebra(&mut self, vertebra: &Vertebra) {
        let [wide, deep, high] = vertebra.half;
        let at = |left: f64, back: f64, up: f64| vertebra.at([left, back, up]);
        let axes = [vertebra.left, vertebra.back, vertebra.up];
        let (region, value) = (vertebra.level.region(), f64::from(vertebra.level.value()));
        // The canal is clear of the flesh and bones painted before.
        let canal = if region == Region::Lumbar { 9.0 } else { 8.0 };
        let behind = deep + canal;
        if value > 1.0 {
            self.bone(Shape::Body {
                centre: vertebra.centre,
                axes,
                half: vertebra.half,
                wedge: vertebra.wedge,
                dish: vertebra.dish,
            });
        } else {
            // Front arch and side masses; the body's place is taken by the dens of C2.
            self.rod([at(-13.0, -3.0, 0.0), at(0.0, -9.0, 0.0)], [4.0, 3.5]);
            self.rod([at(13.0, -3.0, 0.0), at(0.0, -9.0, 0.0)], [4.0, 3.5]);
            for side in [-1.0, 1.0] {
                self.rod([at(side * 15.0, 0.0, -4.0), at(side * 16.0, 2.0, 5.0)], [7.0, 7.0]);
                self.rod([at(side * 16.0, 2.0, 0.0), at(side * 34.0, 6.0, 0.0)], [6.0, 4.0]);
            }
        }
        if value == 2.0 {
            self.rod([at(0.0, 0.0, high * 0.5), at(0.0, -1.0, high + 22.0)], [6.0, 5.0]);
        }
        if region == Region::Sacral || vertebra.joined {
            // The wings of the sacrum, or a last lumbar vertebra that has become part of it.
            for side in [-1.0, 1.0] {
                self.rod(
                    [at(side * wide * 0.8, deep * 0.3, 0.0), at(side * (wide + 24.0), deep + 6.0, -6.0)],
                    [high * 0.8, 9.0],
                );
            }
        }
        let size = self.spine.stature;
        // Pedicles and laminae.
        let (spread, thick) = (wide * 0.62, 2.8 + 0.11 * value);
        for side in [-1.0, 1.0] {
            let pillar = at(side * spread, behind, high * 0.15);
            self.rod([at(side * spread, deep * 0.7, high * 0.3), pillar], [thick, thick]);
            self.rod([pillar, at(0.0, behind + canal, -high * 0.4)], [thick, thick * 0.9]);
            // Joint processes.
            self.rod(
                [at(side * spread, behind, high * 0.9), at(side * spread, behind + 2.0, -high * 1.2)],
                [thick * 0.9, thick * 0.9],
            );
            let (reach, tilt) = match region {
                Region::Cervical => (9.0, -2.0),
                Region::Thoracic => (27.0 - 0.9 * (value - 8.0), 2.0),
                Region::Lumbar => (30.0, 0.0),
                Region::Sacral => (10.0, 0.0),
            };
            let drawn_back = if region == Region::Thoracic { 12.0 } else { 3.0 };
            self.rod(
                [pillar, at(side * (spread + reach * size), behind + drawn_back, tilt)],
                [thick, thick * 0.8],
            );
        }
        // Spinous processes: short and level in the neck, long at C7, steep in the chest, broad in
        // the loin.
        let (length, drop, radius) = match value as u8 {
            1 => (3.0, 0.0, 3.0),
            2..=6 => (17.0, 5.0, 3.0),
            7..=9 => (32.0, 14.0, 3.5),
            10..=16 => (26.0, 27.0, 3.2),
            17..=19 => (24.0, 15.0, 4.0),
            20..=24 => (26.0, 7.0, 5.0),
            _ => (8.0, 4.0, 4.0),
        };
        let root = at(0.0, behind + canal, -high * 0.3);
        let tip = at(0.0, behind + canal + length * size, -high * 0.3 - drop * size);
        self.rod([root, tip], [radius * 1.2, radius]);
        if region == Region::Lumbar {
            self.rod(
                [at(0.0, behind + canal + 6.0, high * 0.2), at(0.0, behind + canal + 22.0, high * 0.1)],
                [4.0, 4.0],
            );
        }
        self.solid(
            Shape::Rod { ends: [at(0.0, behind, high), at(0.0, behind, -high)], radii: [canal * 0.75; 2] },
            30.0,
        );
    }

    fn disc(&mut self, above: &Vertebra, below: &Vertebra) {
        if above.level.value() < 2 {
            return;
        }
        let (from, to) = (above.at([0.0, 0.0, -above.half[2]]), below.at([0.0, 0.0, below.half[2]]));
        let centre = std::array::from_fn(|axis| (from[axis] + to[axis]) / 2.0);
        let gap = (0..3).map(|axis| (from[axis] - to[axis]).powi(2)).sum::<f64>().sqrt();
        let half = [below.half[0] * 0.98, below.half[1] * 0.98, gap / 2.0 + 1.5];
        let axes = [above.left, above.back, above.up];
        let density = if above.joined { self.densities.marrow } else { self.densities.disc };
        self.solid(Shape::Body { centre, axes, half, wedge: 0.0, dish: 0.0 }, density);
    }

    /// A pair of ribs at every thoracic vertebra: back and out from the joint, around the chest, down
    /// and forward. The last pair can be a stub, and now and then L1 bears one.
    fn ribs(&mut self, cohort: Cohort, random: &mut Legacy) {
        let size = self.spine.stature;
        let hospital = cohort == Cohort::Hospital;
        let last_length = between(random, if hospital { 0.05 } else { 0.25 }, 0.6);
        let lumbar = hospital && random.uniform() < LUMBAR_RIBS;
        let lumbar_length = if lumbar { between(random, 0.05, 0.25) } else { 0.0 };
        let chest = |vertebra: &&Vertebra| vertebra.level.region() == Region::Thoracic;
        let last = self.spine.vertebrae.iter().filter(chest).count();
        let from_first = self.spine.vertebrae.iter().skip_while(|vertebra| vertebra.level < level("T1"));
        let bearers: Vec<Vertebra> = from_first.take(last + usize::from(lumbar)).cloned().collect();
        for (index, vertebra) in bearers.into_iter().enumerate() {
            let number = index + 1;
            let share = number as f64 / 12.0;
            let wide = (70.0 + 65.0 * (share * 2.2).min(1.0)) * size;
            let reach = match number {
                _ if number > last => lumbar_length,
                _ if number == last => last_length,
                11 => 0.6,
                _ => 1.0,
            };
            for side in [-1.0, 1.0] {
                let joint =
                    vertebra.at([side * vertebra.half[0], vertebra.half[1] * 0.9, vertebra.half[2] * 0.6]);
                let mut before =
                    vertebra.at([side * (vertebra.half[0] + 22.0), vertebra.half[1] + 22.0, 2.0]);
                self.rod([joint, before], [5.0, 4.5]);
                const STEPS: usize = 9;
                for step in 1..=STEPS {
                    let turn = reach * step as f64 / STEPS as f64;
                    let angle = turn * 2.4;
                    let next = vertebra.at([
                        side * (vertebra.half[0] + 22.0 + (wide - 35.0) * angle.sin().max(0.0).powf(0.8)),
                        vertebra.half[1] + 22.0 - 75.0 * size * (1.0 - angle.cos()),
                        2.0 - 55.0 * turn,
                    ]);
                    self.rod([before, next], [4.8, 4.8]);
                    before = next;
                }
            }
        }
    }

    /// The wings of the pelvis on either side of the sacrum.
    fn pelvis(&mut self) {
        let Some(sacrum) = self.spine.vertebra(level("S1")).cloned() else { return };
        let size = self.spine.stature;
        for side in [-1.0, 1.0] {
            let at = |left: f64, back: f64, up: f64| {
                let [x, y, z] = sacrum.centre;
                [x + side * left * size, y + back * size, z + up * size]
            };
            for (low, high) in [
                (at(58.0, 42.0, -35.0), at(62.0, 34.0, 22.0)),
                (at(72.0, 22.0, -40.0), at(86.0, 8.0, 34.0)),
                (at(84.0, -2.0, -48.0), at(112.0, -22.0, 36.0)),
                (at(96.0, -28.0, -55.0), at(128.0, -52.0, 24.0)),
            ] {
                self.rod([low, high], [9.0, 6.0]);
            }
        }
    }
}
