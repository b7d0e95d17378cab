//! Identification samples: deformed slabs of neighbouring sagittal slices (docs/original.md §5).

use anyhow::{Result, ensure};
use ndarray::{Array2, Array3, ArrayView3, Axis, s};

use super::patches::{OUTSIDE, corner};
use super::{Deformation, padded};
use crate::random::Legacy;

/// Slices are drawn from the outermost centroid minus this to the outermost plus this, in voxels.
const MARGIN: i64 = 15;
/// Labelled pixels a crop should show.
const LABELLED_PIXELS: usize = 500;
/// Crops tried for one slab before the last one is taken as it is.
const CROPS: usize = 101;
/// Slices tried for one scan before it is given up; the original tried for ever.
const TRIES: usize = 1_000_000;

/// How identification samples are cut.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Slices in a slab, then the size of a slice.
    pub size: [usize; 3],
    /// Samples a scan.
    pub count: usize,
    /// Seed of the scan's own random stream.
    pub seed: u32,
    /// Spread of the elastic displacement in voxels.
    pub sigma: f64,
}

/// One identification sample.
pub struct Slab {
    /// Normalised intensities, shape [slice, y, z].
    pub sample: Array3<f32>,
    /// Values of the levels on the middle slice, shape [y, z].
    pub labelling: Array2<u8>,
}

/// Cuts slabs around the spine and hands each to `take`; returns how many there were.
///
/// `centroid_x` are the x indices of the annotated vertebrae. A slab that sticks out of the volume
/// ends the scan early, as in the original.
pub fn cut(
    volume: &Array3<f32>,
    labelling: &Array3<u8>,
    centroid_x: &[i64],
    options: &Options,
    mut take: impl FnMut(Slab) -> Result<()>,
) -> Result<usize> {
    let [slices, height, width] = options.size;
    let nx = volume.len_of(Axis(0));
    ensure!(
        nx >= slices,
        "the scan is {nx} voxels wide from right to left, less than the {slices} slices of a slab; \
         choose a smaller --sample-size or --spacing"
    );
    let mut random = Legacy::seeded(options.seed);
    let cuts = draw_cuts(labelling, centroid_x, options, &mut random)?;
    let before = slices / 2;
    for (done, &cut) in cuts.iter().enumerate() {
        let end = cut - before + slices;
        if end > nx {
            return Ok(done);
        }
        let slab = volume.slice(s![cut - before..end, .., ..]);
        let label = labelling.index_axis(Axis(0), cut);
        let deformation =
            Deformation::random([slab.len_of(Axis(1)), slab.len_of(Axis(2))], options.sigma, &mut random);
        let label = padded(deformation.apply(label).view(), &[height, width], 0);
        let [y, z] = draw_crop(&label, [height, width], &mut random);
        let mut sample = Array3::zeros(options.size);
        for (mut target, plane) in sample.outer_iter_mut().zip(slab.outer_iter()) {
            let plane = padded(deformation.apply(plane).view(), &[height, width], OUTSIDE);
            target.assign(&plane.slice(s![y..y + height, z..z + width]));
        }
        take(Slab { sample, labelling: label.slice(s![y..y + height, z..z + width]).to_owned() })?;
    }
    Ok(cuts.len())
}

/// The middle slices of all slabs of a scan, drawn before anything else.
fn draw_cuts(
    labelling: &Array3<u8>,
    centroid_x: &[i64],
    options: &Options,
    random: &mut Legacy,
) -> Result<Vec<usize>> {
    let (slices, nx) = (options.size[0], labelling.len_of(Axis(0)));
    let low = (centroid_x.iter().min().copied().unwrap_or(0) - MARGIN).max(0);
    let high = (centroid_x.iter().max().copied().unwrap_or(0) + MARGIN).min(nx as i64 - 1);
    ensure!(
        low < high,
        "the annotated spine lies outside the scan from right to left; check the annotation's x coordinates"
    );
    let mut cuts = Vec::with_capacity(options.count);
    for _ in 0..TRIES {
        if cuts.len() == options.count {
            break;
        }
        let cut = random.integer(low, high) as usize;
        // A slab that starts before the first slice is empty to the original and never chosen.
        let Some(start) = cut.checked_sub(slices / 2) else { continue };
        let slab = labelling.slice(s![start..(start + slices).min(nx), .., ..]);
        if holds_several_values(slab) {
            cuts.push(cut);
        }
    }
    ensure!(
        cuts.len() == options.count,
        "no slab of {slices} slices with a vertebra in it was found in {TRIES} tries; check the annotation"
    );
    Ok(cuts)
}

fn holds_several_values(slab: ArrayView3<u8>) -> bool {
    let first = slab.first().copied();
    slab.iter().any(|&value| Some(value) != first)
}

/// The first random crop that shows enough labelled pixels, or the last one tried.
fn draw_crop(label: &Array2<u8>, size: [usize; 2], random: &mut Legacy) -> [usize; 2] {
    let mut at = [0, 0];
    for _ in 0..CROPS {
        at = corner(label.shape(), &size, random);
        let crop = label.slice(s![at[0]..at[0] + size[0], at[1]..at[1] + size[1]]);
        if crop.iter().filter(|&&value| value > 0).count() > LABELLED_PIXELS {
            break;
        }
    }
    at
}

#[cfg(test)]
mod tests {
    use super::*;

    const OPTIONS: Options = Options { size: [8, 16, 32], count: 6, seed: 1, sigma: 2.0 };

    fn scan(shape: [usize; 3]) -> (Array3<f32>, Array3<u8>) {
        let inside = |x: usize| x >= shape[0] / 2 - 2 && x <= shape[0] / 2 + 2;
        let labelling = Array3::from_shape_fn(shape, |(x, y, _)| if inside(x) && y > 2 { 20 } else { 0 });
        (labelling.mapv(f32::from), labelling)
    }

    #[test]
    fn image_and_labelling_are_deformed_and_cropped_together() {
        let (volume, labelling) = scan([40, 20, 50]);
        let mut seen = 0;
        let count = cut(&volume, &labelling, &[20], &OPTIONS, |slab| {
            assert_eq!(slab.sample.shape(), [8, 16, 32]);
            assert_eq!(slab.sample.index_axis(Axis(0), 4), slab.labelling.mapv(f32::from));
            seen += 1;
            Ok(())
        });
        assert_eq!((count.unwrap(), seen), (6, 6));
    }

    #[test]
    fn a_scan_narrower_than_a_slab_is_refused() {
        let (volume, labelling) = scan([7, 20, 50]);
        let error = cut(&volume, &labelling, &[3], &OPTIONS, |_| Ok(())).unwrap_err();
        assert!(error.to_string().contains("7 voxels wide"));
    }

    #[test]
    fn a_scan_without_labels_is_given_up_with_a_sentence() {
        let volume = Array3::zeros((20, 20, 20));
        let error = cut(&volume, &Array3::zeros((20, 20, 20)), &[10], &OPTIONS, |_| Ok(())).unwrap_err();
        assert!(error.to_string().contains("check the annotation"));
    }

    #[test]
    fn a_scan_smaller_than_a_crop_is_filled_up_with_outside() {
        let (volume, labelling) = scan([40, 10, 20]);
        cut(&volume, &labelling, &[20], &OPTIONS, |slab| {
            assert_eq!(slab.sample[[0, 15, 31]], OUTSIDE);
            Ok(())
        })
        .unwrap();
    }
}
