//! What a scanner makes of a person: a field of view, slices, blur and noise.

use ndarray::{Array2, Array3, Axis, parallel::prelude::*};

use super::Cohort;
use super::disease::METAL;
use super::randomness::{around, between};
use super::skeleton::{Spine, Vector, Vertebra};
use super::tissues::{AIR, Part};
use crate::annotation::Centroid;
use crate::random::Legacy;
use crate::scan::Geometry;

/// Voxels the person is painted with, in mm; coarser where the scan's voxels are of a given size.
const GRID: f64 = 1.0;
/// The same as a share of a given size.
const GRID_SHARE: f64 = 0.6;
/// Vertebrae whose centre is closer to the end of the scan are not annotated, in mm.
const INSIDE: f64 = 4.0;

/// The part of a person that is scanned.
pub struct View {
    /// Corner at the right, front and foot end.
    origin: Vector,
    /// Extent in mm.
    extent: Vector,
}

impl View {
    /// A view tightly cropped to a part of the spine: 4 to 26 vertebrae, some eleven on average.
    pub(crate) fn crop(spine: &Spine, random: &mut Legacy) -> View {
        let count = (around(random, 11.5, 4.0).round() as usize).clamp(4, spine.vertebrae.len());
        // Drawn beyond either end and brought back, so that skull and pelvis are seen as often as
        // in practice.
        let slack = count as i64 / 3;
        let last_start = (spine.vertebrae.len() - count) as i64;
        let first = random.integer(-slack, last_start + slack + 1).clamp(0, last_start) as usize;
        let seen: &[Vertebra] = &spine.vertebrae[first..first + count];
        let reach = |axis: usize| {
            let parts = seen.iter().map(|vertebra| vertebra.centre[axis]);
            parts
                .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), part| (low.min(part), high.max(part)))
        };
        let ((x0, x1), (y0, y1), (z0, z1)) = (reach(0), reach(1), reach(2));
        let origin = [
            x0 - between(random, 45.0, 85.0),
            y0 - between(random, 50.0, 95.0),
            z0 - between(random, 5.0, 25.0),
        ];
        let corner = [
            x1 + between(random, 45.0, 85.0),
            y1 + between(random, 50.0, 80.0),
            z1 + between(random, 5.0, 25.0),
        ];
        View { origin, extent: std::array::from_fn(|axis| corner[axis] - origin[axis]) }
    }

    /// Any part of a person: a run of vertebrae, all of the trunk around it or less.
    pub fn any(spine: &Spine, random: &mut Legacy) -> View {
        let all = spine.vertebrae.len();
        let count = random.integer(5, all as i64 + 1) as usize;
        let first = random.integer(-3, (all - count) as i64 + 4).clamp(0, (all - count) as i64) as usize;
        let seen = &spine.vertebrae[first..first + count];
        let middle: [f64; 2] = std::array::from_fn(|axis| {
            seen.iter().map(|vertebra| vertebra.centre[axis]).sum::<f64>() / count as f64
        });
        let (top, bottom) = (seen[0].centre[2], seen[count - 1].centre[2]);
        // Head and thighs are seen beyond the ends of the spine.
        let beyond = |end: bool, random: &mut Legacy| match end {
            true => between(random, 10.0, 130.0),
            false => between(random, 3.0, 25.0),
        };
        let (above, below) = (beyond(first == 0, random), beyond(first + count == all, random));
        let (sides, front, back) = if random.uniform() < 0.7 {
            let wide = between(random, 150.0, 240.0);
            ([wide, wide], between(random, 120.0, 230.0), between(random, 80.0, 140.0))
        } else {
            let sides = [between(random, 45.0, 150.0), between(random, 45.0, 150.0)];
            (sides, between(random, 60.0, 160.0), between(random, 60.0, 120.0))
        };
        let origin = [middle[0] - sides[0], middle[1] - front, bottom - below];
        View { origin, extent: [sides[0] + sides[1], front + back, top + above - origin[2]] }
    }

    /// The vertebrae well inside, in mm from the first voxel.
    pub fn centroids(&self, spine: &Spine) -> Vec<Centroid> {
        let inside =
            |mm: &Vector| (0..3).all(|axis| (INSIDE..=self.extent[axis] - INSIDE).contains(&mm[axis]));
        spine
            .vertebrae
            .iter()
            .map(|vertebra| {
                let mm = std::array::from_fn(|axis| vertebra.centre[axis] - self.origin[axis]);
                Centroid { level: vertebra.level, mm }
            })
            .filter(|centroid| inside(&centroid.mm))
            .collect()
    }

    /// Paints the parts and scans them with random spacing, unless it is given, slice thickness and
    /// noise.
    pub fn scan(
        &self,
        parts: &[Part],
        cohort: Cohort,
        voxel: Option<f64>,
        random: &mut Legacy,
    ) -> (Array3<i16>, Geometry) {
        let hospital = cohort == Cohort::Hospital;
        let grid = voxel.map_or(GRID, |voxel| GRID.max(voxel * GRID_SHARE));
        let person = self.paint(parts, grid);
        let in_plane = if hospital { between(random, 0.7, 1.4) } else { between(random, 0.35, 1.0) };
        let thick = if hospital { between(random, 1.0, 5.0) } else { between(random, 1.0, 3.0) };
        let (in_plane, thick) = voxel.map_or((in_plane, thick), |voxel| (voxel, voxel));
        let spacing = [in_plane, in_plane, thick];
        let noise = between(random, 6.0, if hospital { 45.0 } else { 22.0 });
        let streaks = Streaks::of(parts, random);
        let seed = random.integer(0, 1 << 31) as u32;
        let shape: [usize; 3] =
            std::array::from_fn(|axis| (self.extent[axis] / spacing[axis]).floor() as usize + 1);
        let mut voxels = Array3::zeros(shape);
        voxels.axis_iter_mut(Axis(2)).into_par_iter().enumerate().for_each(|(z, mut slice)| {
            let mut random = Legacy::seeded(seed.wrapping_add(z as u32));
            let clean = slab(&person, z as f64 * spacing[2] / grid, spacing[2] / grid);
            for ((x, y), value) in slice.indexed_iter_mut() {
                let clean = linear(&clean, [x as f64 * in_plane / grid, y as f64 * in_plane / grid]);
                let at = [x as f64 * in_plane, y as f64 * in_plane, z as f64 * spacing[2]];
                let streak = streaks.as_ref().map_or(0.0, |streaks| {
                    streaks.at(std::array::from_fn(|axis| self.origin[axis] + at[axis]))
                });
                let noisy = f64::from(clean) + streak + noise * random.normal();
                *value = noisy.round().clamp(-1024.0, 3071.0) as i16;
            }
        });
        // World coordinates are LPS mm, the affine is RAS.
        let affine = [
            [-spacing[0], 0.0, 0.0, -self.origin[0]],
            [0.0, -spacing[1], 0.0, -self.origin[1]],
            [0.0, 0.0, spacing[2], self.origin[2]],
        ];
        (voxels, Geometry { shape, spacing, affine })
    }

    /// Densities on the grid; a voxel at a surface is a mixture: surfaces are as soft as the grid's
    /// voxels are large.
    fn paint(&self, parts: &[Part], grid: f64) -> Array3<f32> {
        let shape: [usize; 3] = std::array::from_fn(|axis| (self.extent[axis] / grid).ceil() as usize + 2);
        let mut person = Array3::from_elem(shape, AIR as f32);
        // Only parts whose box meets the view matter, each within its box.
        let boxes: Vec<(&Part, [std::ops::Range<usize>; 3])> = parts
            .iter()
            .map(|part| {
                let [low, high] = part.shape.bounds();
                let range = |axis: usize| {
                    let index = |mm: f64| ((mm - self.origin[axis]) / grid).clamp(0.0, shape[axis] as f64);
                    index(low[axis] - grid).floor() as usize..index(high[axis] + grid).ceil() as usize
                };
                (part, [range(0), range(1), range(2)])
            })
            .filter(|(_, ranges)| ranges.iter().all(|range| !range.is_empty()))
            .collect();
        person.axis_iter_mut(Axis(0)).into_par_iter().enumerate().for_each(|(i, mut plane)| {
            for (part, [x, y, z]) in &boxes {
                if !x.contains(&i) {
                    continue;
                }
                for j in y.clone() {
                    for k in z.clone() {
                        let index = [i, j, k];
                        let point = std::array::from_fn(|axis| self.origin[axis] + index[axis] as f64 * grid);
                        let depth = part.shape.distance(point) + part.inset;
                        let cover = (0.5 - depth / grid).clamp(0.0, 1.0) as f32;
                        if cover > 0.0 {
                            let value = &mut plane[[j, k]];
                            *value += cover * (part.density as f32 - *value);
                        }
                    }
                }
            }
        });
        person
    }
}

/// What metal does to the slices it lies in: bright and dark rays around it.
struct Streaks {
    /// Middle of the metal, and where it ends below and above.
    centre: Vector,
    reach: [f64; 2],
    rays: f64,
    phase: f64,
    strength: f64,
}

impl Streaks {
    fn of(parts: &[Part], random: &mut Legacy) -> Option<Streaks> {
        let metal: Vec<[Vector; 2]> =
            parts.iter().filter(|part| part.density >= METAL).map(|part| part.shape.bounds()).collect();
        if metal.is_empty() {
            return None;
        }
        let count = metal.len() as f64;
        let centre = std::array::from_fn(|axis| {
            metal.iter().map(|[low, high]| (low[axis] + high[axis]) / 2.0).sum::<f64>() / count
        });
        let low = metal.iter().map(|[low, _]| low[2]).fold(f64::INFINITY, f64::min);
        let high = metal.iter().map(|[_, high]| high[2]).fold(f64::NEG_INFINITY, f64::max);
        let rays = random.integer(5, 14) as f64;
        let (phase, strength) = (between(random, 0.0, 6.3), between(random, 60.0, 350.0));
        Some(Streaks { centre, reach: [low, high], rays, phase, strength })
    }

    fn at(&self, point: Vector) -> f64 {
        if !(self.reach[0]..self.reach[1]).contains(&point[2]) {
            return 0.0;
        }
        let [x, y] = [point[0] - self.centre[0], point[1] - self.centre[1]];
        // Rays fade over some 4 cm.
        self.strength * (self.rays * y.atan2(x) + self.phase).cos() * (-x.hypot(y) / 40.0).exp()
    }
}

/// Mean over the thickness of a slice at height `z`, both in voxels of the person, linear between
/// them.
fn slab(person: &Array3<f32>, z: f64, thickness: f64) -> Array2<f32> {
    const STEPS: usize = 3;
    let mut mean = Array2::zeros((person.len_of(Axis(0)), person.len_of(Axis(1))));
    for step in 0..STEPS {
        let offset = thickness * ((step as f64 + 0.5) / STEPS as f64 - 0.5);
        let (low, share) = between_voxels(z + offset, person.len_of(Axis(2)));
        mean.scaled_add((1.0 - share) / STEPS as f32, &person.index_axis(Axis(2), low));
        mean.scaled_add(share / STEPS as f32, &person.index_axis(Axis(2), low + 1));
    }
    mean
}

/// The value between the voxels of a plane.
fn linear(plane: &Array2<f32>, at: [f64; 2]) -> f32 {
    let (x, right) = between_voxels(at[0], plane.nrows());
    let (y, back) = between_voxels(at[1], plane.ncols());
    let row = |x: usize| plane[[x, y]] * (1.0 - back) + plane[[x, y + 1]] * back;
    row(x) * (1.0 - right) + row(x + 1) * right
}

/// The voxel before a position on an axis, and the share of the one after it.
fn between_voxels(position: f64, size: usize) -> (usize, f32) {
    let position = position.clamp(0.0, size as f64 - 1.000_001);
    (position as usize, position.fract() as f32)
}
