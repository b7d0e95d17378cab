//! The same patient otherwise: another posture, size and field of view, another scanner.

use ndarray::{Array3, Axis, parallel::prelude::*};

use super::targets::{self, Ball};
use crate::annotation::Centroid;
use crate::network::Windows;
use crate::random::Legacy;
use crate::scan::Grid;

/// Spread of turns about the left-right, front-back and head-foot axis, in degrees.
const TURNS: [f64; 3] = [9.0, 6.0, 9.0];
/// Sizes of a person relative to another: a child's to a giant's.
const SIZES: std::ops::Range<f64> = 0.85..1.18;
/// The same along each axis on top.
const STRETCH: std::ops::Range<f64> = 0.94..1.06;
/// Distance of the control points of the elastic deformation and spread of their way, in mm.
const CONTROL: f64 = 64.0;
const WAY: f64 = 3.5;
/// Share of patches that see less than the patch's size of a scan.
const NARROW: f64 = 0.6;
/// Marrow and cortex begin about here, in Hounsfield units.
const BONE: f32 = 120.0;

/// An annotated scan, ready to be sampled.
pub struct Source {
    /// Hounsfield units, `[x, y, z]` in LPS order.
    pub voxels: Array3<i16>,
    /// Where they lie, in mm from the scan's first voxel.
    pub grid: Grid,
    /// The annotation in the same millimetres.
    pub centroids: Vec<Centroid>,
}

/// An example: input `[channel, x, y, z]` and labels `[targets::CHANNELS, x, y, z]`.
pub struct Example {
    /// What the network is given.
    pub input: Vec<f32>,
    /// What it should answer.
    pub labels: Vec<f32>,
}

fn between(random: &mut Legacy, low: f64, high: f64) -> f64 {
    low + (high - low) * random.uniform()
}

/// The way from a patch to the scan it shows: both in mm, the patch from its middle.
struct Way {
    /// Where the patch's middle lies in the scan.
    middle: [f64; 3],
    matrix: [[f64; 3]; 3],
    /// Displacements of control points, and the place of the first one.
    control: Array3<[f64; 3]>,
    first: [f64; 3],
}

impl Way {
    fn straight(middle: [f64; 3]) -> Way {
        let matrix = std::array::from_fn(|row| std::array::from_fn(|column| f64::from(row == column)));
        Way { middle, matrix, control: Array3::default((0, 0, 0)), first: [0.0; 3] }
    }

    fn random(middle: [f64; 3], extent: [f64; 3], random: &mut Legacy) -> Way {
        let mut matrix: [[f64; 3]; 3] = Way::straight(middle).matrix;
        for (axis, spread) in TURNS.into_iter().enumerate() {
            let (sin, cos) = (random.normal() * spread).to_radians().sin_cos();
            let (a, b) = ((axis + 1) % 3, (axis + 2) % 3);
            for row in &mut matrix {
                (row[a], row[b]) = (row[a] * cos + row[b] * sin, row[b] * cos - row[a] * sin);
            }
        }
        let size = between(random, SIZES.start, SIZES.end);
        let stretch: [f64; 3] = std::array::from_fn(|_| size * between(random, STRETCH.start, STRETCH.end));
        for row in &mut matrix {
            (0..3).for_each(|column| row[column] /= stretch[column]);
        }
        let count = extent.map(|mm| (mm / CONTROL).ceil() as usize + 2);
        let mut control = Array3::default(count);
        control
            .iter_mut()
            .for_each(|way: &mut [f64; 3]| *way = std::array::from_fn(|_| WAY * random.normal()));
        let first = std::array::from_fn(|axis| -0.5 * (count[axis] as f64 - 1.0) * CONTROL);
        Way { middle, matrix, control, first }
    }

    /// The displacement at a point of the patch, linear between control points.
    fn displacement(&self, at: [f64; 3]) -> [f64; 3] {
        let mut sum = [0.0; 3];
        if self.control.is_empty() {
            return sum;
        }
        let size: [usize; 3] = self.control.dim().into();
        let place: [(usize, f64); 3] = std::array::from_fn(|axis| {
            let position = ((at[axis] - self.first[axis]) / CONTROL).clamp(0.0, size[axis] as f64 - 1.001);
            (position as usize, position.fract())
        });
        for corner in 0..8 {
            let mut weight = 1.0;
            let index: [usize; 3] = std::array::from_fn(|axis| {
                let (low, share) = place[axis];
                let upper = corner >> axis & 1;
                weight *= if upper == 1 { share } else { 1.0 - share };
                low + upper
            });
            (0..3).for_each(|axis| sum[axis] += weight * self.control[index][axis]);
        }
        sum
    }

    fn to_scan(&self, at: [f64; 3]) -> [f64; 3] {
        let displacement = self.displacement(at);
        std::array::from_fn(|row| {
            let turned: f64 = (0..3).map(|column| self.matrix[row][column] * at[column]).sum();
            self.middle[row] + turned + displacement[row]
        })
    }

    /// The inverse: displacements change slowly, so a few rounds find it.
    fn to_patch(&self, mm: [f64; 3]) -> [f64; 3] {
        let inverse = invert(&self.matrix);
        let mut at = [0.0; 3];
        for _ in 0..12 {
            let displacement = self.displacement(at);
            at = std::array::from_fn(|row| {
                (0..3)
                    .map(|column| {
                        inverse[row][column] * (mm[column] - self.middle[column] - displacement[column])
                    })
                    .sum()
            });
        }
        at
    }
}

fn invert(m: &[[f64; 3]; 3]) -> [[f64; 3]; 3] {
    let cofactor = |row: usize, column: usize| {
        let (a, b) = ((row + 1) % 3, (row + 2) % 3);
        let (c, d) = ((column + 1) % 3, (column + 2) % 3);
        m[a][c] * m[b][d] - m[a][d] * m[b][c]
    };
    let determinant: f64 = (0..3).map(|column| m[0][column] * cofactor(0, column)).sum();
    std::array::from_fn(|row| std::array::from_fn(|column| cofactor(column, row) / determinant))
}

/// What is seen of a patch along each axis, in mm from its middle.
type View = [std::ops::Range<f64>; 3];

/// A patch of `shape` voxels as it is, around the middle of the spine.
pub fn plain(source: &Source, shape: [usize; 3], input: &Windows) -> Example {
    let count = source.centroids.len().max(1) as f64;
    let middle = std::array::from_fn(|axis| {
        source.centroids.iter().map(|centroid| centroid.mm[axis]).sum::<f64>() / count
    });
    let view = std::array::from_fn(|_| f64::NEG_INFINITY..f64::INFINITY);
    let way = Way::straight(middle);
    example(source, shape, input, &way, &view, sample(source, shape, input.spacing, &way, &view))
}

/// A patch of `shape` voxels of a person and a scan made up from `source`.
pub fn altered(source: &Source, shape: [usize; 3], input: &Windows, random: &mut Legacy) -> Example {
    let extent = shape.map(|size| size as f64 * input.spacing);
    let mut sorted: Vec<[f64; 3]> = source.centroids.iter().map(|centroid| centroid.mm).collect();
    sorted.sort_by(|a, b| b[2].total_cmp(&a[2]));
    // The vertebrae in sight: a run of at least three.
    let count = sorted.len();
    let narrow = random.uniform() < NARROW && count > 3;
    let least = if narrow { 3 } else { count.min(8) };
    let length = random.integer(least as i64, count as i64 + 1) as usize;
    let start = random.integer(0, (count - length) as i64 + 1) as usize;
    let seen = &sorted[start..start + length];
    let reach = |axis: usize| {
        seen.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), mm| {
            (low.min(mm[axis]), high.max(mm[axis]))
        })
    };
    let spans = [reach(0), reach(1), reach(2)];
    // The spine lies at the back of a trunk and anywhere in a crop.
    let slack = [(-45.0, 45.0), (-80.0, 25.0), (-0.25 * extent[2], 0.25 * extent[2])];
    let middle = std::array::from_fn(|axis| {
        (spans[axis].0 + spans[axis].1) / 2.0 + between(random, slack[axis].0, slack[axis].1)
    });
    let way = Way::random(middle, extent, random);
    let mut view: View = std::array::from_fn(|_| f64::NEG_INFINITY..f64::INFINITY);
    if narrow {
        let places: Vec<[f64; 3]> = seen.iter().map(|&mm| way.to_patch(mm)).collect();
        let margins = [(35.0, 170.0, 35.0, 170.0), (40.0, 180.0, 30.0, 130.0), (6.0, 40.0, 6.0, 40.0)];
        for (axis, (a, b, c, d)) in margins.into_iter().enumerate() {
            let low = places.iter().map(|at| at[axis]).fold(f64::INFINITY, f64::min);
            let high = places.iter().map(|at| at[axis]).fold(f64::NEG_INFINITY, f64::max);
            view[axis] = low - between(random, a, b)..high + between(random, c, d);
        }
    }
    let mut patch = sample(source, shape, input.spacing, &way, &view);
    scanner(&mut patch, random);
    example(source, shape, input, &way, &view, patch)
}

fn example(
    source: &Source,
    shape: [usize; 3],
    input: &Windows,
    way: &Way,
    view: &View,
    patch: Array3<f32>,
) -> Example {
    let middle = shape.map(|size| (size as f64 - 1.0) / 2.0);
    let scale = invert(&way.matrix);
    // A change of size changes the bodies too.
    let size =
        (0..3).map(|axis| scale[axis].iter().map(|part| part * part).sum::<f64>().sqrt()).sum::<f64>() / 3.0;
    let voxel =
        |mm: [f64; 3]| -> [f64; 3] { std::array::from_fn(|axis| mm[axis] / input.spacing + middle[axis]) };
    let balls: Vec<Ball> = targets::balls(&source.centroids)
        .into_iter()
        .map(|ball| Ball {
            centre: voxel(way.to_patch(ball.centre)),
            radius: ball.radius * size / input.spacing,
            ..ball
        })
        .collect();
    let inside = std::array::from_fn(|axis| {
        let (low, high) = (view[axis].start / input.spacing, view[axis].end / input.spacing);
        (low + middle[axis]).max(-0.5)..(high + middle[axis]).min(shape[axis] as f64 - 0.5)
    });
    let labels = targets::paint(shape, &balls, inside);
    let input = input.channels(&patch).into_raw_vec_and_offset().0;
    Example { input, labels }
}

/// The scan seen through the patch: air outside of the scan and of the view.
fn sample(source: &Source, shape: [usize; 3], spacing: f64, way: &Way, view: &View) -> Array3<f32> {
    let size = source.voxels.dim();
    let limits = [size.0, size.1, size.2].map(|size| size as f64 - 1.0);
    let mm = |index: usize, axis: usize| (index as f64 - (shape[axis] as f64 - 1.0) / 2.0) * spacing;
    let mut patch = Array3::from_elem(shape, Windows::OUTSIDE);
    patch.axis_iter_mut(Axis(0)).into_par_iter().enumerate().for_each(|(i, mut plane)| {
        for ((j, k), value) in plane.indexed_iter_mut() {
            let at = [mm(i, 0), mm(j, 1), mm(k, 2)];
            if (0..3).any(|axis| !view[axis].contains(&at[axis])) {
                continue;
            }
            let index = source.grid.index(way.to_scan(at));
            if (0..3).any(|axis| index[axis] < -0.5 || index[axis] > limits[axis] + 0.5) {
                continue;
            }
            *value = linear(&source.voxels, std::array::from_fn(|axis| index[axis].clamp(0.0, limits[axis])));
        }
    });
    patch
}

/// The intensity between voxels; the place lies within the grid.
fn linear(voxels: &Array3<i16>, at: [f64; 3]) -> f32 {
    let size: [usize; 3] = voxels.dim().into();
    let low = at.map(|part| part as usize);
    let share: [f32; 3] = std::array::from_fn(|axis| (at[axis] - low[axis] as f64) as f32);
    let high: [usize; 3] = std::array::from_fn(|axis| (low[axis] + 1).min(size[axis] - 1));
    let along_z = |x: usize, y: usize| {
        let (a, b) = (f32::from(voxels[[x, y, low[2]]]), f32::from(voxels[[x, y, high[2]]]));
        a + (b - a) * share[2]
    };
    let along_y = |x: usize| {
        let (a, b) = (along_z(x, low[1]), along_z(x, high[1]));
        a + (b - a) * share[1]
    };
    let (a, b) = (along_y(low[0]), along_y(high[0]));
    a + (b - a) * share[0]
}

/// Another scanner, another dose and another density of bone.
fn scanner(patch: &mut Array3<f32>, random: &mut Legacy) {
    let bone = between(random, 0.6, 1.4) as f32;
    let (gain, shift) = (between(random, 0.93, 1.07) as f32, (12.0 * random.normal()) as f32);
    let noise = (45.0 * random.uniform().powi(2)) as f32;
    for axis in 0..3 {
        if random.uniform() < 0.4 {
            blur(patch, Axis(axis), between(random, 0.05, 0.28) as f32);
        }
    }
    let seed = random.integer(0, 1 << 31) as u32;
    patch.axis_iter_mut(Axis(0)).into_par_iter().enumerate().for_each(|(x, mut plane)| {
        let mut random = Legacy::seeded(seed.wrapping_add(x as u32));
        for value in &mut plane {
            if *value <= Windows::OUTSIDE {
                continue;
            }
            let dense = (*value - BONE).max(0.0);
            *value = (*value + dense * (bone - 1.0)) * gain + shift + noise * random.normal() as f32;
        }
    });
}

/// Mixes each voxel with its two neighbours along an axis.
fn blur(patch: &mut Array3<f32>, axis: Axis, share: f32) {
    patch.lanes_mut(axis).into_iter().for_each(|mut lane| {
        let mut before = lane[0];
        for index in 0..lane.len() {
            let (here, after) = (lane[index], lane[(index + 1).min(lane.len() - 1)]);
            lane[index] = here * (1.0 - 2.0 * share) + (before + after) * share;
            before = here;
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::anatomy::Level;

    /// A scan whose bodies are bright balls in water.
    fn source() -> Source {
        let grid = Grid { shape: [60, 60, 100], spacing: 3.0, origin: [0.5, 0.0, -1.0] };
        let centroids: Vec<Centroid> = (0..8)
            .map(|index| {
                let level = Level::from_value(17 + index).unwrap();
                Centroid { level, mm: [90.0 + f64::from(index), 100.0, 270.0 - 30.0 * f64::from(index)] }
            })
            .collect();
        let voxels = Array3::from_shape_fn((60, 60, 100), |(x, y, z)| {
            let mm = grid.mm([x as f64, y as f64, z as f64]);
            let near = centroids.iter().any(|centroid| {
                (0..3).map(|axis| (centroid.mm[axis] - mm[axis]).powi(2)).sum::<f64>() < 196.0
            });
            if near { 600 } else { 0 }
        });
        Source { voxels, grid, centroids }
    }

    #[test]
    fn labels_stay_on_the_bodies_whatever_is_done_to_the_scan() {
        let (source, shape) = (source(), [64, 64, 96]);
        let voxels = 64 * 64 * 96;
        for seed in 0..6 {
            let example = altered(&source, shape, &Windows::DEFAULT, &mut Legacy::seeded(seed));
            assert_eq!(example.labels.len(), targets::CHANNELS * voxels);
            assert_eq!(example.input.len(), Windows::WINDOWS * voxels);
            // Half way between water and the balls, as this example shows them.
            let seen: Vec<usize> = (0..voxels).filter(|&voxel| example.input[voxel] > -0.9).collect();
            let mut values: Vec<f32> = seen.iter().map(|&voxel| example.input[voxel]).collect();
            values.sort_by(f32::total_cmp);
            let middle = (values[values.len() / 2] + values[values.len() * 995 / 1000]) / 2.0;
            let bright = |label: f32| {
                let of: Vec<usize> =
                    seen.iter().copied().filter(|&voxel| example.labels[voxel] == label).collect();
                of.iter().filter(|&&voxel| example.input[voxel] > middle).count() as f64 / of.len() as f64
            };
            assert!(bright(1.0) > 0.8 && bright(0.0) < 0.05, "{seed}: {} {}", bright(1.0), bright(0.0));
        }
    }

    #[test]
    fn the_way_back_undoes_the_way_there() {
        let way = Way::random([50.0, 60.0, 70.0], [256.0, 256.0, 384.0], &mut Legacy::seeded(3));
        for at in [[0.0; 3], [60.0, -80.0, 120.0], [-100.0, 30.0, -150.0]] {
            let back = way.to_patch(way.to_scan(at));
            assert!((0..3).all(|axis| (back[axis] - at[axis]).abs() < 0.05), "{at:?} became {back:?}");
        }
    }

    #[test]
    fn a_plain_patch_shows_the_scan_as_it_is() {
        let source = source();
        let example = plain(&source, [32, 32, 64], &Windows::DEFAULT);
        let bodies: Vec<usize> = (0..32 * 32 * 64).filter(|&voxel| example.labels[voxel] == 1.0).collect();
        assert!(!bodies.is_empty());
        let bright = bodies.iter().filter(|&&voxel| example.input[voxel] > 0.1).count();
        assert!(bright * 10 > bodies.len() * 8, "{bright} of {}", bodies.len());
    }
}
