//! Detection samples: random boxes of a scan and of its labelling (docs/original.md §4).

use anyhow::{Result, bail};
use ndarray::{Array3, s};

use super::padded;
use crate::random::Legacy;

/// Value that fills a sample where the scan has no voxels: far below any tissue after normalisation.
pub(crate) const OUTSIDE: f32 = -5.0;

/// How many boxes are tried for one scan before it is given up; the original tried for ever.
const TRIES: usize = 100_000;

/// How detection samples are cut.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Size of a sample in voxels.
    pub size: [usize; 3],
    /// Samples a scan.
    pub count: usize,
    /// Seed of the scan's own random stream.
    pub seed: u32,
}

/// One detection sample.
pub struct Patch {
    /// First voxel of the sample in the padded scan.
    pub corner: [usize; 3],
    /// Normalised intensities, shape [x, y, z].
    pub sample: Array3<f32>,
    /// 1 where a vertebra is, same shape.
    pub labelling: Array3<u8>,
}

/// Cuts `options.count` boxes; all but one of them hold both vertebra and background.
pub fn cut(volume: &Array3<f32>, labelling: &Array3<u8>, options: &Options) -> Result<Vec<Patch>> {
    let volume = padded(volume.view(), &options.size, OUTSIDE);
    let labelling = padded(labelling.view(), &options.size, 0);
    let mut random = Legacy::seeded(options.seed);
    let mut patches = Vec::with_capacity(options.count);
    let mut uniform_ones = 0;
    for _ in 0..TRIES {
        if patches.len() == options.count {
            break;
        }
        let corner = corner(volume.shape(), &options.size, &mut random);
        let [x, y, z] = corner;
        let [a, b, c] = options.size;
        let region = s![x..x + a, y..y + b, z..z + c];
        let label = labelling.slice(region);
        let first = label.first().copied();
        if label.iter().all(|&value| Some(value) == first) {
            if uniform_ones == 1 {
                continue;
            }
            uniform_ones += 1;
        }
        patches.push(Patch { corner, sample: volume.slice(region).to_owned(), labelling: label.to_owned() });
    }
    if patches.len() < options.count {
        bail!(
            "no {} boxes of {} voxels with both vertebra and background in them were found in {TRIES} tries; \
             choose a smaller --sample-size or check the annotation",
            options.count,
            options.size.map(|part| part.to_string()).join(" x ")
        );
    }
    Ok(patches)
}

/// A random position of a box of `size` in a grid of `shape`, one uniform number an axis.
pub(super) fn corner<const N: usize>(shape: &[usize], size: &[usize; N], random: &mut Legacy) -> [usize; N] {
    std::array::from_fn(|axis| {
        ((shape[axis] - size[axis]) as f64 * random.uniform()).round_ties_even() as usize
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const OPTIONS: Options = Options { size: [4, 4, 4], count: 5, seed: 1 };

    fn scan(shape: [usize; 3]) -> (Array3<f32>, Array3<u8>) {
        let volume = Array3::from_shape_fn(shape, |(x, y, z)| (x * 10_000 + y * 100 + z) as f32);
        let labelling = Array3::from_shape_fn(shape, |(x, _, z)| u8::from(x < shape[0] / 2 && z > 2));
        (volume, labelling)
    }

    #[test]
    fn a_sample_is_the_box_at_its_corner() {
        let (volume, labelling) = scan([9, 8, 7]);
        for patch in cut(&volume, &labelling, &OPTIONS).unwrap() {
            let [x, y, z] = patch.corner;
            assert_eq!(patch.sample[[1, 2, 3]], volume[[x + 1, y + 2, z + 3]]);
            assert_eq!(patch.labelling[[1, 2, 3]], labelling[[x + 1, y + 2, z + 3]]);
        }
    }

    #[test]
    fn at_most_one_sample_holds_a_single_value() {
        let (volume, labelling) = scan([30, 8, 30]);
        let patches = cut(&volume, &labelling, &Options { count: 20, ..OPTIONS }).unwrap();
        let uniform = patches.iter().filter(|p| p.labelling.iter().all(|v| v == &p.labelling[[0, 0, 0]]));
        assert!(uniform.count() <= 1);
    }

    #[test]
    fn a_scan_smaller_than_a_sample_is_filled_up_with_outside() {
        let (volume, labelling) = scan([3, 3, 5]);
        let patch = &cut(&volume, &labelling, &OPTIONS).unwrap()[0];
        assert_eq!(patch.sample.shape(), [4, 4, 4]);
        assert_eq!(patch.sample[[3, 3, 0]], OUTSIDE);
    }

    #[test]
    fn a_scan_without_any_usable_box_is_given_up_with_a_sentence() {
        let volume = Array3::zeros((8, 8, 8));
        let error = cut(&volume, &Array3::zeros((8, 8, 8)), &OPTIONS).err().unwrap();
        assert!(error.to_string().contains("--sample-size"));
    }
}
