//! From centroids to voxels: tubes of disks along the spine (docs/original.md §3).

use std::collections::BTreeSet;

use anyhow::{Result, ensure};
use ndarray::Array3;

use crate::annotation::Centroid;

/// What a labelled voxel says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// 1 wherever a vertebra is.
    Detection,
    /// The value of the level, 1 … 26.
    Identification,
}

/// Rounds halves to even, as NumPy does.
fn round(value: f64) -> i64 {
    value.round_ties_even() as i64
}

/// Voxel indices of centroids on a grid of `spacing` mm.
pub fn centroid_indices(centroids: &[Centroid], spacing: f64) -> Vec<[i64; 3]> {
    centroids.iter().map(|centroid| centroid.mm.map(|mm| round(mm / spacing))).collect()
}

/// Paints the dense labelling of a spine on a grid of `shape` voxels of `spacing` mm.
///
/// `centroids` are in mm from the first voxel along the grid's axes, in file order. Fewer than two
/// have no axis to paint along and are an error.
pub fn paint(shape: [usize; 3], centroids: &[Centroid], spacing: f64, kind: Kind) -> Result<Array3<u8>> {
    ensure!(
        centroids.len() >= 2,
        "one annotated vertebra has no neighbour to draw the spine to; annotate at least two"
    );
    let mut labelling = Array3::zeros(shape);
    let centres: Vec<[f64; 3]> =
        centroid_indices(centroids, spacing).iter().map(|index| index.map(|part| part as f64)).collect();
    let last = centres.len() - 1;
    let mut tube = |i: usize, from: [f64; 3], to: [f64; 3]| {
        let level = centroids[i].level;
        let radius = round(level.diameter() / 2.0 / spacing);
        let value = if kind == Kind::Detection { 1 } else { level.value() };
        for point in line(from, to) {
            disk(&mut labelling, point, radius, value);
        }
    };
    // Later paint wins: the interior in order, then the first, then the last.
    for i in 1..last {
        tube(i, halfway(centres[i - 1], centres[i]), halfway(centres[i], centres[i + 1]));
    }
    let below_first = halfway(centres[0], centres[1]);
    tube(0, beyond(centres[0], below_first, shape), below_first);
    let above_last = halfway(centres[last - 1], centres[last]);
    tube(last, beyond(centres[last], above_last, shape), above_last);
    Ok(labelling)
}

fn halfway(a: [f64; 3], b: [f64; 3]) -> [f64; 3] {
    std::array::from_fn(|axis| (a[axis] + b[axis]) / 2.0)
}

/// The far end of an outermost vertebra: as far from its centre as the near end, inside the grid.
fn beyond(centre: [f64; 3], near: [f64; 3], shape: [usize; 3]) -> [f64; 3] {
    std::array::from_fn(|axis| {
        let far = centre[axis] - (near[axis] - centre[axis]);
        far.clamp(0.0, shape[axis] as f64 - 1.0).trunc()
    })
}

/// Voxels on the way from a to b: 2·round(|b − a|) evenly spaced points, rounded, each once.
fn line(a: [f64; 3], b: [f64; 3]) -> BTreeSet<[i64; 3]> {
    let length = (0..3).map(|axis| (b[axis] - a[axis]).powi(2)).sum::<f64>().sqrt();
    let count = 2 * round(length);
    let mut points = BTreeSet::new();
    for i in 0..count {
        points.insert(std::array::from_fn(|axis| {
            let step = (b[axis] - a[axis]) / (count - 1) as f64;
            round(if i == count - 1 { b[axis] } else { i as f64 * step + a[axis] })
        }));
    }
    points
}

/// Paints a disk in the x–y plane, the original's slightly lopsided one, clamped to the volume.
fn disk(labelling: &mut Array3<u8>, centre: [i64; 3], radius: i64, value: u8) {
    let (nx, ny, nz) = labelling.dim();
    let clamp = |position: i64, size: usize| position.clamp(0, size as i64 - 1) as usize;
    let z = clamp(centre[2], nz);
    for dx in -radius - 1..=radius {
        for dy in -radius..radius {
            if dx * dx + dy * dy <= (radius + 1) * (radius + 1) {
                labelling[[clamp(centre[0] + dx, nx), clamp(centre[1] + dy, ny), z]] = value;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spine(names: &[(&str, f64)]) -> Vec<Centroid> {
        names
            .iter()
            .map(|(name, z)| Centroid { level: name.parse().unwrap(), mm: [30.0, 30.0, *z] })
            .collect()
    }

    #[test]
    fn tubes_meet_halfway_between_neighbours() {
        let centroids = spine(&[("C3", 70.0), ("C4", 50.0), ("C5", 30.0)]);
        let labelling = paint([60, 60, 100], &centroids, 1.0, Kind::Identification).unwrap();
        let column: Vec<u8> = (0..100).map(|z| labelling[[30, 30, z]]).collect();
        assert_eq!((column[80], column[81]), (3, 0));
        assert_eq!((column[60], column[59]), (3, 4));
        // The last tube is painted last and wins the shared voxel at 40.
        assert_eq!((column[41], column[40], column[20], column[19]), (4, 5, 5, 0));
    }

    #[test]
    fn detection_paints_one_where_identification_paints_a_level() {
        let centroids = spine(&[("T1", 60.0), ("T2", 40.0)]);
        let paint = |kind| paint([60, 60, 100], &centroids, 1.0, kind).unwrap();
        let (detection, identification) = (paint(Kind::Detection), paint(Kind::Identification));
        assert!(detection.iter().zip(&identification).all(|(&a, &b)| a == u8::from(b > 0)));
    }

    #[test]
    fn a_spine_at_the_edge_is_painted_inside_the_volume() {
        let mut centroids = spine(&[("L1", 3.0), ("L2", 1.0)]);
        centroids[0].mm[0] = -4.0;
        let labelling = paint([10, 10, 5], &centroids, 1.0, Kind::Identification).unwrap();
        assert!(labelling.iter().any(|&value| value == 20));
    }

    #[test]
    fn one_centroid_is_refused() {
        let error = paint([10; 3], &spine(&[("L1", 5.0)]), 1.0, Kind::Detection).unwrap_err();
        assert!(error.to_string().contains("annotate at least two"));
    }
}
