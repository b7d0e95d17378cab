//! Which level the voxels of each sagittal slice belong to (docs/original.md §8.2).

use std::ops::Range;

use anyhow::Result;
use ndarray::{Array3, Array5, Axis, s};

use super::extent;
use crate::network::Predictor;
use crate::progress::{Observer, Stage};

/// Slices computed together; enough to keep all cores busy, few enough to stay small in memory.
const BATCH: usize = 4;

/// The slices to look at: from the first to the last one with a detection, those at the very edge
/// left out for lack of neighbours. Empty when nothing was detected.
pub fn slices(mask: &Array3<u8>, slab: usize) -> Range<usize> {
    let nx = mask.len_of(Axis(0));
    // The last slice itself is left out, as in the original.
    extent(mask, 0, |&value| value > 0)
        .map_or(0..0, |seen| seen.start.max(slab / 2)..(seen.end - 1).min(nx.saturating_sub(slab / 2)))
}

/// Which slices are computed, and how much of each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Slices {
    /// The original's way: every slice, whole.
    Whole,
    /// Every so many-th slice, which speaks for its neighbours, cropped to the detections and a
    /// margin along y and z. Slices without detections are left out.
    Cropped {
        /// Slices that share one computation.
        step: usize,
        /// Voxels around the detections along y and z.
        margin: [usize; 2],
    },
}

struct Planned {
    /// Computed slices with the slices they speak for.
    slices: Vec<(usize, Range<usize>)>,
    /// What is seen of a slice along y and z.
    part: [Range<usize>; 2],
}

impl Slices {
    /// A slice every 5 mm, some eight in a body and less than a slab apart, and as much around the
    /// spine as the network sees in training.
    pub fn wide(spacing: f64) -> Slices {
        let voxels = |mm: f64| (mm / spacing).round() as usize;
        Slices::Cropped { step: voxels(5.0).max(1), margin: [voxels(32.0), voxels(64.0)] }
    }

    fn plan(&self, mask: &Array3<u8>, slab: usize) -> Planned {
        let (nx, ny, nz) = mask.dim();
        match *self {
            Slices::Whole => {
                let slices = slices(mask, slab).map(|x| (x, x..x + 1)).collect();
                Planned { slices, part: [0..ny, 0..nz] }
            }
            Slices::Cropped { step, margin } => {
                let span = |axis: usize, margin: usize| {
                    extent(mask, axis, |&value| value > 0).map_or(0..0, |seen| {
                        let end = (seen.end + margin).min(mask.len_of(Axis(axis)));
                        seen.start.saturating_sub(margin)..end
                    })
                };
                let seen = span(0, 0);
                // A slab's middle keeps half a slab's distance from both sides.
                let middle = |group: &Range<usize>| {
                    ((group.start + group.end) / 2).clamp(slab / 2, nx.saturating_sub(slab / 2))
                };
                let holds = |group: &Range<usize>| {
                    mask.slice(s![group.clone(), .., ..]).iter().any(|&value| value > 0)
                };
                let groups = seen.clone().step_by(step).map(|x| x..(x + step).min(seen.end));
                let groups = if nx < slab { Vec::new() } else { groups.filter(holds).collect() };
                let slices = groups.into_iter().map(|group| (middle(&group), group)).collect();
                Planned { slices, part: [span(1, margin[0]), span(2, margin[1])] }
            }
        }
    }
}

/// The label value of every voxel on the slices around the detected spine, 0 elsewhere.
///
/// Values are rounded (halves to even) and may exceed the last level; `volume` is normalised.
pub fn identify(
    volume: &Array3<f32>,
    mask: &Array3<u8>,
    network: &dyn Predictor,
    slices: Slices,
    observer: &mut dyn Observer,
) -> Result<Array3<u8>> {
    let slab = network.architecture().inputs();
    let granularity = network.architecture().granularity();
    let Planned { slices, part: [y, z] } = slices.plan(mask, slab);
    let up = |size: usize, factor: usize| size.div_ceil(factor) * factor;
    let (height, width) = (up(y.len(), granularity[1]), up(z.len(), granularity[2]));
    let mut levels = Array3::zeros(volume.dim());
    observer.begins(Stage::Identification, slices.len())?;
    for group in slices.chunks(BATCH) {
        let mut input = Array5::zeros((group.len(), slab, 1, height, width));
        for (mut sample, (x, _)) in input.outer_iter_mut().zip(group) {
            let start = x - slab / 2;
            let seen = volume.slice(s![start..start + slab, y.clone(), z.clone()]);
            sample.slice_mut(s![.., 0, ..y.len(), ..z.len()]).assign(&seen);
        }
        let values = network.predict(input)?;
        for (sample, (_, covered)) in values.outer_iter().zip(group) {
            let plane = sample.slice(s![0, 0, ..y.len(), ..z.len()]);
            for x in covered.clone() {
                let mut target = levels.slice_mut(s![x, y.clone(), z.clone()]);
                // The cast saturates: a wild value becomes one that names no level.
                target.zip_mut_with(&plane, |level, &value| *level = value.round_ties_even() as u8);
            }
        }
        observer.advances(group.len());
    }
    network.rest();
    Ok(levels)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::{Architecture, Kind};

    /// Answers with the middle slice of each slab.
    struct Middle;

    impl Predictor for Middle {
        fn architecture(&self) -> Architecture {
            Architecture { kind: Kind::Identification, filters: 1 }
        }

        fn predict(&self, input: Array5<f32>) -> Result<Array5<f32>> {
            Ok(input.slice(s![.., 4..5, .., .., ..]).to_owned())
        }
    }

    #[test]
    fn slices_between_the_detections_get_the_value_of_their_own_slab() {
        let volume = Array3::from_shape_fn((30, 20, 33), |(x, y, z)| (x + (y + z) % 3) as f32 + 0.25);
        let mut mask = Array3::zeros(volume.dim());
        mask[[2, 3, 3]] = 1;
        mask[[17, 3, 3]] = 1;
        assert_eq!(slices(&mask, 8), 4..17);
        let levels = identify(&volume, &mask, &Middle, Slices::Whole, &mut ()).unwrap();
        for ((x, y, z), &value) in levels.indexed_iter() {
            let expected = if (4..17).contains(&x) { x + (y + z) % 3 } else { 0 };
            assert_eq!(usize::from(value), expected);
        }
    }

    #[test]
    fn nothing_detected_means_nothing_to_identify() {
        let volume = Array3::zeros((5, 6, 7));
        let mask = Array3::zeros((5, 6, 7));
        let levels = identify(&volume, &mask, &Middle, Slices::Whole, &mut ()).unwrap();
        assert!(levels.iter().all(|&value| value == 0));
    }

    #[test]
    fn a_scan_narrower_than_a_slab_has_no_slices() {
        assert!(slices(&Array3::ones((7, 3, 3)), 8).is_empty());
    }

    #[test]
    fn a_cropped_slice_speaks_for_its_neighbours_within_the_margin() {
        let volume = Array3::from_shape_fn((30, 60, 90), |(x, _, _)| x as f32);
        let mut mask = Array3::zeros(volume.dim());
        mask.slice_mut(s![9..14, 20..25, 40..50]).fill(1);
        mask[[1, 22, 45]] = 1;
        let slices = Slices::Cropped { step: 3, margin: [4, 8] };
        let levels = identify(&volume, &mask, &Middle, slices, &mut ()).unwrap();
        for ((x, y, z), &value) in levels.indexed_iter() {
            let inside = (16..29).contains(&y) && (32..58).contains(&z);
            let expected = match x {
                1..=3 => 4,
                7..=9 => 8,
                10..=12 => 11,
                13 => 13,
                _ => 0,
            };
            assert_eq!(value, if inside { expected } else { 0 }, "{x} {y} {z}");
        }
    }
}
