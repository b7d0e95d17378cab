//! The labelled spine: which vertebral body each voxel of a scan belongs to.

use std::ops::Range;

use ndarray::Array3;

use super::Measurements;
use crate::anatomy::Level;
use crate::annotation::{Centroid, verse};
use crate::scan::Frame;

/// The number of S2, which has none of its own in VerSe: the sacrum's.
const SACRUM: u8 = 26;

/// VerSe's number of the vertebra for every stored voxel within the outline of its body, 0 elsewhere; see [`bodies`].
pub fn labels(found: &[Centroid], measurements: &Measurements, frame: &Frame) -> Array3<u8> {
    let numbers: Vec<u8> = std::iter::once(0).chain(found.iter().map(|found| number(found.level))).collect();
    bodies(found, measurements, frame).mapv(|body| numbers[usize::from(body)])
}

/// For every stored voxel, which of the vertebrae it lies in, counted from 1, and 0 outside of all. A body without an
/// outline (the first two of the neck, the sacrum's, those that are cut by the scan's end) is a ball of its usual size around its
/// centre, cut where the next centre is nearer.
///
/// `found` is what was measured, in mm from the first voxel in LPS order; the result has the shape and the order of the file.
pub fn bodies(found: &[Centroid], measurements: &Measurements, frame: &Frame) -> Array3<u8> {
    let stored = &frame.stored;
    let mut labels = Array3::zeros(stored.shape);
    let centres: Vec<[f64; 3]> = found.iter().map(|found| frame.to_stored(found.mm)).collect();
    for (index, found) in found.iter().enumerate() {
        let outline = measurements.outlines.get(index).and_then(Option::as_ref);
        let ball = found.level.diameter() / 2.0;
        // No body is wider than one and a half of its level's diameters, or reaches further from its centre.
        let (centre, radius) = (centres[index], if outline.is_some() { 3.0 * ball } else { ball });
        let [x, y, z]: [Range<usize>; 3] = std::array::from_fn(|axis| {
            let at = |mm: f64| mm / stored.spacing[axis];
            let low = at(centre[axis] - radius).ceil().max(0.0) as usize;
            let high =
                (at(centre[axis] + radius).floor() + 1.0).clamp(0.0, stored.shape[axis] as f64) as usize;
            low..high.max(low)
        });
        for i in x {
            for j in y.clone() {
                for k in z.clone() {
                    let voxel = [i, j, k];
                    let square = |centre: &[f64; 3]| -> f64 {
                        let off = |axis: usize| voxel[axis] as f64 * stored.spacing[axis] - centre[axis];
                        (0..3).map(|axis| off(axis).powi(2)).sum()
                    };
                    let within = match outline {
                        Some(outline) => {
                            let mm = std::array::from_fn(|axis| voxel[axis] as f64 * stored.spacing[axis]);
                            outline.holds(outline.site.local(frame.from_stored(mm)))
                        }
                        None => {
                            let own = square(&centre);
                            own <= ball * ball && centres.iter().all(|other| own <= square(other))
                        }
                    };
                    if within {
                        labels[voxel] = index as u8 + 1;
                    }
                }
            }
        }
    }
    labels
}

/// The number of a level in masks.
pub fn number(level: Level) -> u8 {
    verse::id(level).map_or(SACRUM, |id| id as u8)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scan::{Geometry, Orientation};

    /// Nothing was seen.
    fn none() -> Measurements {
        Measurements {
            vertebrae: Vec::new(),
            contrast: super::super::aorta::contrast(&[]),
            alignment: Default::default(),
            outlines: Vec::new(),
        }
    }

    #[test]
    fn bodies_are_labelled_where_they_lie_whatever_the_stored_order() {
        // Stored axes run up, to the right and to the front: every axis swapped, two of three flipped.
        let affine = [[0.0, 1.0, 0.0, 0.0], [0.0, 0.0, 2.0, 0.0], [4.0, 0.0, 0.0, 0.0]];
        let stored = Geometry { shape: [30, 60, 25], spacing: [4.0, 1.0, 2.0], affine };
        let frame = Frame::new(Orientation::to_lps(&stored).unwrap(), stored);
        assert_eq!(frame.orientation.axes, [1, 2, 0]);
        let found: Vec<Centroid> = [("L1", [20.0, 25.0, 90.0]), ("L2", [30.0, 30.0, 30.0])]
            .map(|(name, mm)| Centroid { level: name.parse().unwrap(), mm })
            .to_vec();
        let labels = labels(&found, &none(), &frame);
        assert_eq!(labels.shape(), [30, 60, 25]);
        for centroid in &found {
            let index = frame.stored.index(frame.to_stored(centroid.mm)).map(|part| part.round() as usize);
            assert_eq!(labels[index], number(centroid.level));
            let count = labels.iter().filter(|&&label| label == number(centroid.level)).count();
            // A ball in voxels of 8 mm³.
            let volume = std::f64::consts::PI / 6.0 * centroid.level.diameter().powi(3);
            assert!((count as f64 * 8.0 / volume - 1.0).abs() < 0.1, "{count}");
        }
        assert_eq!(labels[[0, 0, 0]], 0);
    }

    #[test]
    fn a_ball_that_leaves_the_scan_is_cut_and_two_that_meet_share_their_voxels() {
        let affine = [[-1.0, 0.0, 0.0, 0.0], [0.0, -1.0, 0.0, 0.0], [0.0, 0.0, 1.0, 0.0]];
        let stored = Geometry { shape: [20, 20, 40], spacing: [1.0; 3], affine };
        let frame = Frame::new(Orientation::to_lps(&stored).unwrap(), stored);
        let centroid = |name: &str, z: f64| Centroid { level: name.parse().unwrap(), mm: [10.0, 10.0, z] };
        let labels =
            labels(&[centroid("C1", 24.0), centroid("C2", 14.0), centroid("C3", -90.0)], &none(), &frame);
        assert_eq!((labels[[10, 10, 20]], labels[[10, 10, 18]]), (1, 2));
        assert!(labels.iter().all(|&label| label < 3));
    }
}
