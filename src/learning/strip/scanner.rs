//! Another scanner: a block's sharpness, slices, bones, calibration and noise changed at random.

use std::sync::OnceLock;

use ndarray::{Array3, Axis, Zip, s};

use crate::sampling::random::Legacy;
use crate::straighten::UNSEEN;

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
pub fn rescanned(values: &mut Array3<f32>, random: &mut Legacy) {
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
