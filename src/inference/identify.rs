//! Which level the voxels of each sagittal slice belong to (SPEC §8.2).

use std::ops::Range;

use anyhow::Result;
use ndarray::{Array3, Array5, Axis, s};

use crate::network::Predictor;
use crate::progress::Progress;

/// Slices computed together; enough to keep all cores busy, few enough to stay small in memory.
const BATCH: usize = 4;

/// The slices to look at: from the first to the last one with a detection, those at the very edge
/// left out for lack of neighbours. Empty when nothing was detected.
pub fn slices(mask: &Array3<u8>, slab: usize) -> Range<usize> {
    let holds = |x: &usize| mask.index_axis(Axis(0), *x).iter().any(|&value| value > 0);
    let nx = mask.len_of(Axis(0));
    match ((0..nx).find(holds), (0..nx).rev().find(holds)) {
        (Some(first), Some(last)) => first.max(slab / 2)..last.min(nx.saturating_sub(slab / 2)),
        _ => 0..0,
    }
}

/// The label value of every voxel on the slices around the detected spine, 0 elsewhere.
///
/// Values are rounded (halves to even) and may exceed the last level; `volume` is normalised.
pub fn identify(
    volume: &Array3<f32>,
    mask: &Array3<u8>,
    network: &dyn Predictor,
    progress: &Progress,
) -> Result<Array3<u8>> {
    let (nx, ny, nz) = volume.dim();
    let slab = network.architecture().inputs();
    let granularity = network.architecture().granularity();
    let up = |size: usize, factor: usize| size.div_ceil(factor) * factor;
    let (height, width) = (up(ny, granularity[1]), up(nz, granularity[2]));
    let slices: Vec<usize> = slices(mask, slab).collect();
    let mut levels = Array3::zeros((nx, ny, nz));
    progress.start(slices.len(), "identification");
    for group in slices.chunks(BATCH) {
        let mut input = Array5::zeros((group.len(), slab, 1, height, width));
        for (mut sample, &x) in input.outer_iter_mut().zip(group) {
            let start = x - slab / 2;
            sample.slice_mut(s![.., 0, ..ny, ..nz]).assign(&volume.slice(s![start..start + slab, .., ..]));
        }
        let values = network.predict(input)?;
        for (sample, &x) in values.outer_iter().zip(group) {
            let plane = sample.slice(s![0, 0, ..ny, ..nz]);
            let mut target = levels.index_axis_mut(Axis(0), x);
            // The cast saturates: a wild value becomes one that names no level.
            target.zip_mut_with(&plane, |level, &value| *level = value.round_ties_even() as u8);
        }
        progress.advance(group.len());
    }
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
        let levels = identify(&volume, &mask, &Middle, &Progress::silent()).unwrap();
        for ((x, y, z), &value) in levels.indexed_iter() {
            let expected = if (4..17).contains(&x) { x + (y + z) % 3 } else { 0 };
            assert_eq!(usize::from(value), expected);
        }
    }

    #[test]
    fn nothing_detected_means_nothing_to_identify() {
        let volume = Array3::zeros((5, 6, 7));
        let mask = Array3::zeros((5, 6, 7));
        let levels = identify(&volume, &mask, &Middle, &Progress::silent()).unwrap();
        assert!(levels.iter().all(|&value| value == 0));
    }

    #[test]
    fn a_scan_narrower_than_a_slab_has_no_slices() {
        assert!(slices(&Array3::ones((7, 3, 3)), 8).is_empty());
    }
}
