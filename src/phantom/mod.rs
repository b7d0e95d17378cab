//! Synthetic spine CTs with exact annotations, for everybody without an annotated data set.
//!
//! Skeleton → tissues → voxels → scanner: a random spine with real distances and curves, the bones
//! and organs around it as shapes, these painted onto a grid, and what a scanner makes of that.

mod course;
mod disease;
mod fractures;
mod girdle;
mod organs;
mod randomness;
mod scanner;
mod shapes;
mod skeleton;
mod tissues;

use ndarray::Array3;

use crate::anatomy::Level;
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
    /// The same bodies' form.
    pub bodies: Vec<Body>,
    /// Hounsfield units of the blood in the aorta.
    pub blood: f64,
}

/// What a body was painted as: a cylinder of elliptic section with a waist, sunken in front.
#[derive(Clone, Debug)]
pub struct Body {
    /// Which one.
    pub level: Level,
    /// Its centre in mm from the first voxel, LPS.
    pub mm: [f64; 3],
    /// To the patient's left, to the back and to the head.
    pub axes: [[f64; 3]; 3],
    /// Half its extent along each, in mm.
    pub half: [f64; 3],
    /// The share of its height that is missing at the front, half of it from each end plate.
    pub wedge: f64,
    /// The share of its height that is missing in the middle, half of it from each end plate.
    pub dish: f64,
    /// Mean of what was painted in its inner half, in Hounsfield units: spongy bone, and what spurs and screws put there.
    pub density: f64,
    /// Whether it has grown together with the sacrum.
    pub joined: bool,
    /// Whether metal or cement was put into it.
    pub treated: bool,
}

/// Makes phantom `number` of the series that `seed` names; the same arguments give the same phantom.
///
/// `voxel` is the size of its voxels in mm; without it every scan has its own.
pub fn generate(seed: u32, number: usize, cohort: Cohort, voxel: Option<f64>) -> Phantom {
    generate_broken(seed, number, cohort, voxel, 0.0)
}

/// The same with a share of its thoracic and lumbar bodies broken: wedged, sunken in the middle or crushed.
pub fn generate_broken(
    seed: u32,
    number: usize,
    cohort: Cohort,
    voxel: Option<f64>,
    fractures: f64,
) -> Phantom {
    // A prime stride keeps neighbouring seeds from sharing phantoms.
    let own = seed.wrapping_mul(7_368_787).wrapping_add(number as u32);
    let mut random = Legacy::seeded(own);
    let mut spine = skeleton::Spine::random(cohort, &mut random);
    // From numbers of their own, so that everything else of the phantom stays.
    fractures::fracture(&mut spine, fractures, &mut Legacy::seeded(!own));
    let view = match cohort {
        Cohort::Healthy => scanner::View::crop(&spine, &mut random),
        Cohort::Hospital => scanner::View::any(&spine, &mut random),
    };
    let (parts, densities) = tissues::parts(&spine, cohort, &mut random);
    let centroids = view.centroids(&spine);
    let (voxels, geometry) = view.scan(&parts, cohort, voxel, &mut random);
    let bodies = centroids.iter().filter_map(|centroid| body(&spine, &parts, centroid)).collect();
    Phantom { voxels, geometry, centroids, bodies, blood: densities.vessel }
}

/// The form of an annotated body.
fn body(spine: &skeleton::Spine, parts: &[tissues::Part], centroid: &Centroid) -> Option<Body> {
    let vertebra = spine.vertebra(centroid.level)?;
    let skeleton::Vertebra { level, centre, left, back, up, half, wedge, dish, joined } = *vertebra;
    let treated = parts.iter().filter(|part| part.density >= disease::CEMENT).any(|part| {
        let [low, high] = part.shape.bounds();
        (0..3).all(|axis| (low[axis] - half[2]..=high[axis] + half[2]).contains(&centre[axis]))
    });
    let painted = |point: skeleton::Vector| {
        parts.iter().rfind(|part| part.shape.distance(point) + part.inset < 0.0).map(|part| part.density)
    };
    // An elliptical cylinder in front of the middle, as densities are measured in.
    let steps = || (-4..=4).map(|step| f64::from(step) / 4.0);
    let mut values = Vec::new();
    for (x, y, z) in steps().flat_map(|x| steps().flat_map(move |y| steps().map(move |z| (x, y, z)))) {
        if x * x + y * y <= 1.0 {
            let share = [0.5 * x, 0.45 * y - 0.15, 0.4 * z];
            let local: skeleton::Vector = std::array::from_fn(|axis| share[axis] * half[axis]);
            values.extend(painted(vertebra.at(local)));
        }
    }
    let density = values.iter().sum::<f64>() / values.len().max(1) as f64;
    Some(Body { level, mm: centroid.mm, axes: [left, back, up], half, wedge, dish, density, joined, treated })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::anatomy::between;
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
            let Phantom { voxels, geometry, centroids, .. } = generate(1, number, Cohort::Healthy, None);
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
