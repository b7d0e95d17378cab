//! The course of a spine: a smooth curve with a frame at every step.

use super::spline::Spline;
use crate::scan::{cross, distance};

/// Standard deviation in mm of the smoothing along the course: no body bends it on its own.
const SMOOTH: f64 = 12.0;
/// The end of a course goes on in the direction of its last so many mm.
const END: f64 = 18.0;

/// A curve along a spine from the head down, with axes across it.
#[derive(Clone, Debug)]
pub struct Course {
    /// Millimetres between positions, about.
    pub step: f64,
    /// Positions in mm, LPS.
    pub positions: Vec<[f64; 3]>,
    /// Directions across the course: to the patient's left, and to the back.
    pub axes: Vec<[[f64; 3]; 2]>,
}

/// Where a point lies along a course.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Place {
    /// Steps from the first position.
    pub along: f64,
    /// Millimetres to the left and to the back of the course.
    pub across: [f64; 2],
}

impl Course {
    /// A course through points in mm, LPS, from the head down, that begins `before` mm above the first
    /// and ends `after` mm below the last. `None` of fewer than two points.
    pub fn through(points: &[[f64; 3]], before: f64, after: f64, step: f64) -> Option<Course> {
        if points.len() < 2 {
            return None;
        }
        let spline = Spline::through(points);
        let length = spline.length();
        let reach = (3.0 * SMOOTH / step).ceil() as usize;
        let ahead = (before / step).round() as usize;
        let count = ((before + length + after) / step).floor() as usize + 1;
        let first = -(ahead as f64) * step - reach as f64 * step;
        let end = END.min(length);
        let top = direction(spline.at(end), points[0]);
        let bottom = direction(spline.at(length - end), points[points.len() - 1]);
        let raw: Vec<[f64; 3]> = (0..count + 2 * reach)
            .map(|index| {
                let at = first + index as f64 * step;
                let inner = spline.at(at.clamp(0.0, length));
                let (over, under) = ((-at).max(0.0), (at - length).max(0.0));
                std::array::from_fn(|axis| inner[axis] + over * top[axis] + under * bottom[axis])
            })
            .collect();
        let positions = smooth(&raw, reach, SMOOTH / step);
        let axes = (0..positions.len())
            .map(|i| {
                let (low, high) = (i.saturating_sub(1), (i + 1).min(positions.len() - 1));
                across(direction(positions[low], positions[high]))
            })
            .collect();
        Some(Course { step, positions, axes })
    }

    /// Number of positions.
    pub fn len(&self) -> usize {
        self.positions.len()
    }

    /// Whether there is no position.
    pub fn is_empty(&self) -> bool {
        self.positions.is_empty()
    }

    /// The point at a place; the course goes on straight beyond its ends.
    pub fn point(&self, place: Place) -> [f64; 3] {
        let last = self.len() - 2;
        let i = (place.along.max(0.0) as usize).min(last);
        let part = place.along - i as f64;
        let near = (place.along.round().max(0.0) as usize).min(self.len() - 1);
        let [left, back] = self.axes[near];
        std::array::from_fn(|axis| {
            let (a, b) = (self.positions[i][axis], self.positions[i + 1][axis]);
            a + (b - a) * part + place.across[0] * left[axis] + place.across[1] * back[axis]
        })
    }

    /// Where a point lies, by the nearest position.
    pub fn place(&self, point: [f64; 3]) -> Place {
        let apart = |&i: &usize| distance(self.positions[i], point);
        let i = (0..self.len()).min_by(|a, b| apart(a).total_cmp(&apart(b))).unwrap_or(0);
        let (low, high) = (i.saturating_sub(1), (i + 1).min(self.len() - 1));
        let tangent = direction(self.positions[low], self.positions[high]);
        let off = std::array::from_fn(|axis| point[axis] - self.positions[i][axis]);
        let [left, back] = self.axes[i];
        let length = distance(self.positions[low], self.positions[high]) / (high - low) as f64;
        Place { along: i as f64 + dot(off, tangent) / length, across: [dot(off, left), dot(off, back)] }
    }
}

/// A Gaussian mean over positions, without the `reach` at either end that it is short of.
fn smooth(raw: &[[f64; 3]], reach: usize, deviation: f64) -> Vec<[f64; 3]> {
    let weights: Vec<f64> =
        (0..=2 * reach).map(|i| (-0.5 * ((i as f64 - reach as f64) / deviation).powi(2)).exp()).collect();
    let sum: f64 = weights.iter().sum();
    raw.windows(2 * reach + 1)
        .map(|window| {
            let mut mean = [0.0; 3];
            for (point, weight) in window.iter().zip(&weights) {
                (0..3).for_each(|axis| mean[axis] += point[axis] * weight / sum);
            }
            mean
        })
        .collect()
}

/// Directions to the left and to the back, at right angles to `tangent`, which runs downwards.
fn across(tangent: [f64; 3]) -> [[f64; 3]; 2] {
    // The patient's left made perpendicular; a course that runs sideways takes the back instead.
    let mut left: [f64; 3] = std::array::from_fn(|axis| f64::from(axis == 0) - tangent[0] * tangent[axis]);
    let length = dot(left, left).sqrt();
    if length < 1e-3 {
        left = [0.0, 0.0, 1.0];
    } else {
        left = left.map(|part| part / length);
    }
    let mut back = cross(left, tangent);
    if back[1] < 0.0 {
        back = back.map(|part| -part);
    }
    [left, back]
}

fn direction(from: [f64; 3], to: [f64; 3]) -> [f64; 3] {
    let length = distance(from, to);
    if length < 1e-9 {
        return [0.0, 0.0, -1.0];
    }
    std::array::from_fn(|axis| (to[axis] - from[axis]) / length)
}

fn dot(a: [f64; 3], b: [f64; 3]) -> f64 {
    (0..3).map(|axis| a[axis] * b[axis]).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    const STRAIGHT: [[f64; 3]; 3] = [[5.0, 7.0, 100.0], [5.0, 7.0, 70.0], [5.0, 7.0, 40.0]];

    #[test]
    fn a_straight_spine_has_the_patients_axes() {
        let course = Course::through(&STRAIGHT, 30.0, 15.0, 1.5).unwrap();
        assert_eq!(course.len(), (105.0 / 1.5) as usize + 1);
        let near = |a: [f64; 3], b: [f64; 3]| distance(a, b) < 1e-9;
        assert!(near(course.positions[0], [5.0, 7.0, 130.0]), "{:?}", course.positions[0]);
        assert!(near(course.positions[course.len() - 1], [5.0, 7.0, 25.0]));
        for [left, back] in &course.axes {
            assert!(near(*left, [1.0, 0.0, 0.0]) && near(*back, [0.0, 1.0, 0.0]));
        }
    }

    #[test]
    fn a_point_is_found_again_by_its_place() {
        let bent = [[0.0, 0.0, 200.0], [4.0, 12.0, 170.0], [-2.0, 30.0, 140.0], [0.0, 22.0, 110.0]];
        let course = Course::through(&bent, 40.0, 40.0, 1.5).unwrap();
        for point in bent {
            let there = course.point(course.place(point));
            assert!(distance(there, point) < 0.5, "{point:?} became {there:?}");
        }
        assert!(Course::through(&bent[..1], 40.0, 40.0, 1.5).is_none());
    }
}
