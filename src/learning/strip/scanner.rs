//! Another scanner: a block's sharpness, slices, bones, calibration and noise changed at random.

use std::sync::OnceLock;

use ndarray::{Array3, Axis, Zip, s};

use crate::random::Legacy;
use crate::straighten::{Across, Block, UNSEEN};

/// Chance of a blur along each axis, and the weight of either neighbour.
const BLUR: f64 = 0.4;
const NEIGHBOUR: [f64; 2] = [0.05, 0.28];
/// Chance of thick slices, and of how many steps.
const SLICES: f64 = 0.35;
const STEPS: [i64; 2] = [2, 5];
/// How much brighter bone is: dense young people and old ones, with and without contrast.
const BONE: [f64; 2] = [0.55, 1.45];
/// Hounsfield units from which on it counts as bone.
const IS_BONE: f32 = 120.0;
/// Gain and standard deviation of the offset of a calibration.
const GAIN: [f64; 2] = [0.93, 1.07];
const OFFSET: f64 = 12.0;
/// Standard deviation of the loudest noise; most is quieter.
const NOISE: f64 = 45.0;

/// Changes a block as another scanner would.
pub(crate) fn rescanned(values: &mut Array3<f32>, random: &mut Legacy) {
    let unseen = values.mapv(|value| value <= UNSEEN + 1.0);
    for axis in 0..3 {
        if random.uniform() < BLUR {
            blur(values, Axis(axis), between(random, NEIGHBOUR) as f32);
        }
    }
    if random.uniform() < SLICES {
        thicken(values, random.integer(STEPS[0], STEPS[1]) as usize);
    }
    let bone = between(random, BONE) as f32 - 1.0;
    let gain = between(random, GAIN) as f32;
    let offset = (OFFSET * random.normal()) as f32;
    values.mapv_inplace(|value| (value + (value - IS_BONE).max(0.0) * bone) * gain + offset);
    let noise = (NOISE * random.uniform().powi(2)) as f32;
    if noise > 1.0 {
        let table = normals();
        for mut row in values.lanes_mut(Axis(2)) {
            let start = random.integer(0, table.len() as i64) as usize;
            let noises = table[start..].iter().chain(table);
            row.iter_mut().zip(noises).for_each(|(value, normal)| *value += noise * normal);
        }
    }
    Zip::from(values).and(&unseen).for_each(|value, &unseen| {
        if unseen {
            *value = UNSEEN;
        }
    });
}

/// Chance that a vessel is filled with contrast agent, its radius in mm, how far beside and in front of the course it
/// runs, and its brightness. A share of them hold a stent, a wire mesh on their wall.
const VESSEL: f64 = 0.25;
const RADIUS: [f64; 2] = [8.0, 18.0];
const BESIDE: [f64; 2] = [-45.0, 45.0];
const BEFORE: [f64; 2] = [-45.0, 5.0];
const CONTRAST: [f64; 2] = [150.0, 450.0];
const STENT: f64 = 0.5;
const WIRE: f32 = 1600.0;
/// A vessel's wall keeps so many mm from the course, where the bodies are: an aorta lies against the side of thoracic
/// ones, whose half width is 13 mm.
const CLEAR: [f64; 2] = [13.0, 22.0];

/// Paints a bright vessel beside the spine into a block, at times; aneurysms and stents are as bright as
/// bone, and few annotated scans have any.
pub(crate) fn with_vessel(block: &mut Block, across: &Across, random: &mut Legacy) {
    if random.uniform() >= VESSEL {
        return;
    }
    let radius = between(random, RADIUS);
    let at = [between(random, BESIDE), between(random, BEFORE)];
    let clear = between(random, CLEAR);
    let lean = [0.1 * random.normal(), 0.1 * random.normal()];
    let brightness = between(random, CONTRAST) as f32;
    let stent = random.uniform() < STENT;
    let length = block.values.len_of(Axis(2));
    let start = random.integer(0, length as i64) as usize;
    let end = start + random.integer(length as i64 / 4 + 1, length as i64 + 2) as usize;
    for step in start..end.min(length) {
        let off = 1.5 * (step as f64 - length as f64 / 2.0);
        let middle = [at[0] + lean[0] * off, at[1] + lean[1] * off];
        // It runs around what is in its way.
        let away = middle[0].hypot(middle[1]).max(1.0);
        let middle = middle.map(|part| part * f64::max(1.0, (clear + radius) / away));
        for (x, &left) in across.left.iter().enumerate() {
            for (y, &back) in across.back.iter().enumerate() {
                let distance = (left - middle[0]).hypot(back - middle[1]);
                let value = &mut block.values[[x, y, step]];
                if distance > radius || *value <= UNSEEN + 1.0 {
                    continue;
                }
                // Rings and bars of wire, a few mm apart.
                let wire = stent && distance > radius - 2.0 && (step % 4 == 0 || (x + y) % 5 == 0);
                *value = if wire { WIRE } else { brightness };
            }
        }
    }
}

/// A number between two others.
pub fn between(random: &mut Legacy, [low, high]: [f64; 2]) -> f64 {
    low + (high - low) * random.uniform()
}

/// Normal numbers, drawn once: a million a block would take longer than everything else.
fn normals() -> &'static [f32] {
    static NORMALS: OnceLock<Vec<f32>> = OnceLock::new();
    NORMALS.get_or_init(|| {
        let mut random = Legacy::seeded(7);
        (0..1 << 16).map(|_| random.normal() as f32).collect()
    })
}

/// Every value takes a share of either neighbour's along an axis.
fn blur(values: &mut Array3<f32>, axis: Axis, share: f32) {
    if axis == Axis(2) {
        for mut row in values.lanes_mut(axis) {
            let Some(row) = row.as_slice_mut() else { continue };
            let mut before = row[0];
            for i in 0..row.len() {
                let (here, after) = (row[i], row[(i + 1).min(row.len() - 1)]);
                row[i] = here * (1.0 - 2.0 * share) + share * (before + after);
                before = here;
            }
        }
        return;
    }
    let count = values.len_of(axis);
    let mut before = values.index_axis(axis, 0).to_owned();
    for i in 0..count {
        let here = values.index_axis(axis, i).to_owned();
        let after = values.index_axis(axis, (i + 1).min(count - 1)).to_owned();
        Zip::from(values.index_axis_mut(axis, i)).and(&before).and(&here).and(&after).for_each(
            |value, &before, &here, &after| *value = here * (1.0 - 2.0 * share) + share * (before + after),
        );
        before = here;
    }
}

/// Means of `count` steps along the course, with lines between their middles.
fn thicken(values: &mut Array3<f32>, count: usize) {
    let slices = values.len_of(Axis(2)) / count;
    if slices < 2 {
        return;
    }
    for mut row in values.slice_mut(s![.., .., ..slices * count]).lanes_mut(Axis(2)) {
        let means: Vec<f32> = (0..slices)
            .map(|slice| (0..count).map(|i| row[slice * count + i]).sum::<f32>() / count as f32)
            .collect();
        for (index, value) in row.iter_mut().enumerate() {
            let at = ((index as f32 + 0.5) / count as f32 - 0.5).clamp(0.0, (slices - 1) as f32);
            let low = (at as usize).min(slices - 2);
            *value = means[low] + (means[low + 1] - means[low]) * (at - low as f32);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_seen_where_nothing_was_and_the_same_numbers_change_the_same() {
        let block = || {
            Array3::from_shape_fn(
                (6, 5, 40),
                |(x, y, z)| {
                    if x == 0 { UNSEEN } else { (x * y + z) as f32 * 10.0 }
                },
            )
        };
        for seed in 0..20 {
            let (mut a, mut b) = (block(), block());
            rescanned(&mut a, &mut Legacy::seeded(seed));
            rescanned(&mut b, &mut Legacy::seeded(seed));
            assert_eq!(a, b);
            assert!(a.index_axis(Axis(0), 0).iter().all(|&value| value == UNSEEN));
            assert!(a.iter().all(|value| value.is_finite()) && a != block());
        }
    }

    #[test]
    fn a_vessel_keeps_clear_of_the_course_and_of_what_was_not_seen() {
        let across = Across::new([48, 64], 1.5, -48.0);
        let mut painted = 0;
        for seed in 0..40 {
            let mut values = Array3::from_elem((48, 64, 60), 30.0);
            values.slice_mut(s![0..4, .., ..]).fill(UNSEEN);
            let mut block = Block { values, seen: vec![1.0; 60] };
            with_vessel(&mut block, &across, &mut Legacy::seeded(seed));
            let bright = block.values.iter().filter(|&&value| value > 100.0).count();
            painted += usize::from(bright > 0);
            // The middle of the course, and a body's half width around it.
            assert!(block.values.slice(s![22..26, 30..34, ..]).iter().all(|&value| value == 30.0));
            assert!(block.values.slice(s![0..4, .., ..]).iter().all(|&value| value == UNSEEN));
        }
        assert!((4..20).contains(&painted), "{painted}");
    }

    #[test]
    fn a_blur_keeps_the_sum_and_a_ramp() {
        for axis in 0..3 {
            let mut spike = Array3::zeros((5, 5, 5));
            spike[[2, 2, 2]] = 8.0;
            blur(&mut spike, Axis(axis), 0.25);
            let mut at = [2; 3];
            assert_eq!(spike[at], 4.0);
            at[axis] = 1;
            assert_eq!((spike[at], spike.sum()), (2.0, 8.0));
        }
    }

    #[test]
    fn thick_slices_are_means_joined_by_lines() {
        let mut row = Array3::from_shape_fn((1, 1, 7), |(_, _, z)| if z < 2 { 0.0 } else { 6.0 });
        thicken(&mut row, 2);
        let values: Vec<f32> = row.iter().copied().collect();
        assert_eq!(values, [0.0, 1.5, 4.5, 6.0, 6.0, 6.0, 6.0]);
    }
}
