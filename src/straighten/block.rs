//! What lies around a course: intensities in its frame.

use ndarray::Array3;
use ndarray::parallel::prelude::*;

use super::course::Course;
use super::even::{Even, UNSEEN};

/// Columns across a course, in mm from it.
#[derive(Clone, Debug, PartialEq)]
pub struct Across {
    /// To the patient's left, ascending as long as nothing is mirrored.
    pub left: Vec<f64>,
    /// To the back.
    pub back: Vec<f64>,
}

impl Across {
    /// `count` columns each way, `pitch` mm apart: to the sides around the course, to the back from
    /// `front` mm on.
    pub fn new(count: [usize; 2], pitch: f64, front: f64) -> Across {
        let middle = (count[0] as f64 - 1.0) / 2.0;
        Across {
            left: (0..count[0]).map(|i| (i as f64 - middle) * pitch).collect(),
            back: (0..count[1]).map(|i| front + i as f64 * pitch).collect(),
        }
    }
}

/// Hounsfield units `[left, back, along]` around a course.
pub struct Block {
    /// The intensities; [`UNSEEN`] outside the scan.
    pub values: Array3<f32>,
    /// For every step along the course, the share of its columns that lie inside the scan.
    pub seen: Vec<f32>,
}

impl Block {
    /// The intensities around `course` at the columns `across`.
    pub fn of(even: &Even, course: &Course, across: &Across) -> Block {
        let (width, depth, length) = (across.left.len(), across.back.len(), course.len());
        // In voxels, once, for every step.
        let scale = 1.0 / even.grid.spacing;
        let origins: Vec<[f32; 3]> =
            course.positions.iter().map(|&mm| even.grid.index(mm).map(|part| part as f32)).collect();
        let axes: Vec<[[f32; 3]; 2]> =
            course.axes.iter().map(|pair| pair.map(|axis| axis.map(|part| (part * scale) as f32))).collect();
        let mut values = Array3::zeros((width, depth, length));
        let columns = values.outer_iter_mut().into_par_iter().zip(&across.left);
        columns.for_each(|(mut plane, &left)| {
            for (mut row, &back) in plane.outer_iter_mut().zip(&across.back) {
                for ((value, origin), [to_left, to_back]) in row.iter_mut().zip(&origins).zip(&axes) {
                    *value = even.at(std::array::from_fn(|axis| {
                        origin[axis] + left as f32 * to_left[axis] + back as f32 * to_back[axis]
                    }));
                }
            }
        });
        let mut block = Block { values, seen: Vec::new() };
        block.look();
        block
    }

    /// Takes away what lies along the course before step `start` and from step `end` on.
    pub fn cut(&mut self, start: usize, end: usize) {
        for (index, mut plane) in self.values.axis_iter_mut(ndarray::Axis(2)).enumerate() {
            if !(start..end).contains(&index) {
                plane.fill(UNSEEN);
            }
        }
        self.look();
    }

    fn look(&mut self) {
        let (width, depth, _) = self.values.dim();
        let all = (width * depth) as f32;
        let seen = |plane: ndarray::ArrayView2<f32>| {
            plane.iter().filter(|&&value| value > UNSEEN + 1.0).count() as f32 / all
        };
        self.seen = self.values.axis_iter(ndarray::Axis(2)).map(seen).collect();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scan::Grid;

    #[test]
    fn a_straight_course_shows_the_volume_upside_down_with_its_sides_in_place() {
        // Values say where a voxel lies: x + 10 y + 100 z, 2 mm voxels.
        let voxels = Array3::from_shape_fn((9, 9, 9), |(x, y, z)| (x + 10 * y + 100 * z) as i16);
        let even = Even { voxels, grid: Grid { shape: [9; 3], spacing: 2.0, origin: [0.0; 3] } };
        let course = Course::through(&[[8.0, 8.0, 12.0], [8.0, 8.0, 4.0]], 0.0, 8.0, 2.0).unwrap();
        let block = Block::of(&even, &course, &Across::new([3, 2], 2.0, -2.0));
        let row = |left: usize, back: usize| block.values.slice(ndarray::s![left, back, ..]).to_vec();
        // The first step at z = 6 voxels; one voxel to the right and one in front.
        let expected: Vec<f32> = [6, 5, 4, 3, 2, 1, 0].map(|z| (3 + 10 * 3 + 100 * z) as f32).to_vec();
        assert!(row(0, 0).iter().zip(&expected).all(|(a, b)| (a - b).abs() < 1e-2), "{:?}", row(0, 0));
        assert!((row(2, 1)[0] - (5.0 + 40.0 + 600.0)).abs() < 1e-2);
        assert_eq!(block.values[[0, 0, 8]], UNSEEN);
        assert_eq!((block.seen[0], block.seen[8]), (1.0, 0.0));
    }
}
