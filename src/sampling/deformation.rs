//! Random elastic deformation of a plane (docs/original.md §5).

use ndarray::{Array2, ArrayView2};

use crate::random::Legacy;

/// Control points along each axis of the plane.
const POINTS: usize = 3;
/// Pole of the cubic B-spline's recursive prefilter: √3 − 2.
const POLE: f64 = -0.267_949_192_431_122_7;

/// A displacement for every pixel of a plane, from 3×3 random control points.
pub struct Deformation {
    /// For each output pixel the input pixel it takes, `None` outside the plane.
    sources: Array2<Option<[usize; 2]>>,
}

impl Deformation {
    /// Draws the control points: normals × `sigma` voxels, first axis first, row by row.
    pub fn random(shape: [usize; 2], sigma: f64, random: &mut Legacy) -> Self {
        let control: [Vec<f64>; 2] =
            std::array::from_fn(|_| (0..POINTS * POINTS).map(|_| random.normal() * sigma).collect());
        Self::new(shape, control)
    }

    fn new(shape: [usize; 2], control: [Vec<f64>; 2]) -> Self {
        let coefficients = control.map(prefilter);
        let [rows, columns] = shape.map(|size| (0..size).map(|i| spline(i, size)).collect::<Vec<_>>());
        let sources = Array2::from_shape_fn(shape, |(i, j)| {
            let displaced = |axis: usize, position: usize| {
                let mut sum = 0.0;
                for (row, row_weight) in rows[i] {
                    for (column, column_weight) in columns[j] {
                        sum += coefficients[axis][row * POINTS + column] * row_weight * column_weight;
                    }
                }
                position as f64 + sum
            };
            let at = [displaced(0, i), displaced(1, j)];
            let inside = (0..2).all(|axis| (0.0..=shape[axis] as f64 - 1.0).contains(&at[axis]));
            inside.then(|| at.map(|part| (part + 0.5).floor() as usize))
        });
        Deformation { sources }
    }

    /// The deformed plane: each pixel takes its nearest source, 0 where that lies outside.
    pub(crate) fn apply<T: Copy + Default>(&self, plane: ArrayView2<T>) -> Array2<T> {
        self.sources.mapv(|source| source.map_or(T::default(), |[i, j]| plane[[i, j]]))
    }
}

/// The four coefficients (mirrored about the end points) and their weights for pixel `i` of `size`.
fn spline(i: usize, size: usize) -> [(usize, f64); 4] {
    let last = POINTS as i64 - 1;
    let position = if size > 1 { i as f64 * last as f64 / (size - 1) as f64 } else { 0.0 };
    let start = position.floor() as i64 - 1;
    let t = position - position.floor();
    let weights = [
        (1.0 - t).powi(3) / 6.0,
        (4.0 - 6.0 * t * t + 3.0 * t * t * t) / 6.0,
        (1.0 + 3.0 * t + 3.0 * t * t - 3.0 * t * t * t) / 6.0,
        t * t * t / 6.0,
    ];
    std::array::from_fn(|k| {
        let index = (start + k as i64).abs();
        let mirrored = if index > last { 2 * last - index } else { index };
        (mirrored as usize, weights[k])
    })
}

/// Control values → B-spline coefficients along both axes, mirror boundary.
fn prefilter(mut grid: Vec<f64>) -> Vec<f64> {
    for (step, stride) in [(1, POINTS), (POINTS, 1)] {
        for start in (0..POINTS).map(|k| k * step) {
            let mut line: [f64; POINTS] = std::array::from_fn(|i| grid[start + i * stride]);
            prefilter_line(&mut line);
            for (i, value) in line.into_iter().enumerate() {
                grid[start + i * stride] = value;
            }
        }
    }
    grid
}

fn prefilter_line(line: &mut [f64; POINTS]) {
    const LAST: usize = POINTS - 1;
    let gain = (1.0 - POLE) * (1.0 - 1.0 / POLE);
    for value in line.iter_mut() {
        *value *= gain;
    }
    // Causal pass; its start is the closed form of the infinite mirrored sum.
    let round_trip = POLE.powi(LAST as i32);
    let mut first = line[0] + round_trip * line[LAST];
    let mut power = POLE;
    for value in &line[1..LAST] {
        first += (power + round_trip * round_trip / power) * value;
        power *= POLE;
    }
    line[0] = first / (1.0 - round_trip * round_trip);
    for i in 1..POINTS {
        line[i] += POLE * line[i - 1];
    }
    // Anticausal pass.
    line[LAST] = (POLE * line[LAST - 1] + line[LAST]) * POLE / (POLE * POLE - 1.0);
    for i in (0..LAST).rev() {
        line[i] = POLE * (line[i + 1] - line[i]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::Array2;

    fn plane() -> Array2<i32> {
        Array2::from_shape_fn((9, 11), |(i, j)| (i * 100 + j) as i32)
    }

    #[test]
    fn the_spline_passes_through_its_control_points() {
        let control: Vec<f64> = vec![1.0, -2.0, 3.0, 0.5, 4.0, -1.0, 2.0, 2.5, -3.0];
        let coefficients = prefilter(control.clone());
        for i in 0..POINTS {
            for j in 0..POINTS {
                let mut sum = 0.0;
                for (row, a) in spline(i, POINTS) {
                    for (column, b) in spline(j, POINTS) {
                        sum += coefficients[row * POINTS + column] * a * b;
                    }
                }
                assert!((sum - control[i * POINTS + j]).abs() < 1e-12);
            }
        }
    }

    #[test]
    fn no_displacement_leaves_the_plane_as_it_is() {
        let deformation = Deformation::new([9, 11], [vec![0.0; 9], vec![0.0; 9]]);
        assert_eq!(deformation.apply(plane().view()), plane());
    }

    #[test]
    fn a_constant_displacement_shifts_and_fills_with_zero() {
        let deformation = Deformation::new([9, 11], [vec![2.0; 9], vec![-1.0; 9]]);
        let moved = deformation.apply(plane().view());
        assert_eq!(moved[[3, 4]], 503);
        assert_eq!(moved[[8, 4]], 0);
        assert_eq!(moved[[3, 0]], 0);
    }
}
