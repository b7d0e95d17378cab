//! Synthetic spine CTs with exact annotations, for everybody without an annotated data set.
//!
//! Skeleton → tissues → voxels → scanner: a random spine with real distances and curves, the bones
//! and organs around it as shapes, these painted onto a grid, and what a scanner makes of that.

mod course;
mod disease;
mod girdle;
mod organs;
mod randomness;
mod scanner;
mod shapes;
mod skeleton;
mod tissues;

use ndarray::Array3;

use crate::annotation::Centroid;
use crate::random::Legacy;
use crate::scan::Geometry;

/// Whom the phantoms are made after.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cohort {
    /// Tight crops around healthy spines, as in the data set of the original.
    Healthy,
    /// What comes to a hospital: any part of the trunk, arms and hips in view or not, worn, broken and
    /// treated spines, every bone density and contrast agent, thick slices.
    Hospital,
}

/// A synthetic scan.
pub struct Phantom {
    /// Hounsfield units, `[x, y, z]` in LPS order.
    pub voxels: Array3<i16>,
    /// The grid, stored LPS.
    pub geometry: Geometry,
    /// Centres of the vertebral bodies inside, from the head down, in mm from the first voxel.
    pub centroids: Vec<Centroid>,
}

/// Makes phantom `number` of the series that `seed` names; the same arguments give the same phantom.
///
/// `voxel` is the size of its voxels in mm; without it every scan has its own.
pub fn generate(seed: u32, number: usize, cohort: Cohort, voxel: Option<f64>) -> Phantom {
    // A prime stride keeps neighbouring seeds from sharing phantoms.
    let mut random = Legacy::seeded(seed.wrapping_mul(7_368_787).wrapping_add(number as u32));
    let spine = skeleton::Spine::random(cohort, &mut random);
    let view = match cohort {
        Cohort::Healthy => scanner::View::crop(&spine, &mut random),
        Cohort::Hospital => scanner::View::any(&spine, &mut random),
    };
    let parts = tissues::parts(&spine, cohort, &mut random);
    let centroids = view.centroids(&spine);
    let (voxels, geometry) = view.scan(&parts, cohort, voxel, &mut random);
    Phantom { voxels, geometry, centroids }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::anatomy::{Level, between};
    use crate::scan::distance;

    #[test]
    fn the_same_seed_and_number_give_the_same_phantom_and_others_another() {
        let [a, b, c] =
            [(3, 1), (3, 1), (3, 2)].map(|(seed, number)| generate(seed, number, Cohort::Healthy, None));
        assert_eq!(a.voxels, b.voxels);
        assert_eq!(a.centroids, b.centroids);
        assert_ne!(a.centroids, c.centroids);
    }

    #[test]
    fn phantoms_have_the_distances_and_intensities_of_real_scans() {
        // Of persons of all sizes, whose bodies keep their proportions: every pair's share of the usual distance.
        let mut sizes = Vec::new();
        for number in 0..8 {
            let Phantom { voxels, geometry, centroids } = generate(1, number, Cohort::Healthy, None);
            assert!(centroids.len() >= 2);
            for centroid in &centroids {
                let index = geometry.index(centroid.mm).map(|part| part.round() as usize);
                assert!((0..3).all(|axis| index[axis] < geometry.shape[axis]), "{centroid:?}");
                if centroid.level > "C1".parse::<Level>().unwrap() {
                    let value = voxels[index];
                    assert!((20..900).contains(&value), "{} has {value} HU at its centre", centroid.level);
                }
            }
            let shares: Vec<f64> = centroids
                .windows(2)
                .map(|pair| distance(pair[0].mm, pair[1].mm) / between(pair[0].level).unwrap().mean)
                .collect();
            let size = shares.iter().sum::<f64>() / shares.len() as f64;
            assert!(shares.iter().all(|share| (share / size - 1.0).abs() < 0.25), "{shares:.2?}");
            sizes.push(size);
        }
        let mean = sizes.iter().sum::<f64>() / sizes.len() as f64;
        assert!((mean - 1.0).abs() < 0.06, "{sizes:.2?}");
    }
}
