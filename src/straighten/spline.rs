//! Natural cubic splines.

use crate::scan::distance;

/// A curve through points that is as smooth as can be: the natural cubic spline over chord length.
pub(crate) struct Spline {
    /// Chord length from the first point to each.
    knots: Vec<f64>,
    points: Vec<[f64; 3]>,
    /// Second derivatives at the knots.
    bends: Vec<[f64; 3]>,
}

impl Spline {
    /// The spline through at least two points, of which no neighbours coincide.
    pub fn through(points: &[[f64; 3]]) -> Spline {
        let mut knots = vec![0.0];
        for pair in points.windows(2) {
            let last = knots[knots.len() - 1];
            knots.push(last + distance(pair[0], pair[1]).max(1e-6));
        }
        let bends = bends(&knots, points);
        Spline { knots, points: points.to_vec(), bends }
    }

    /// Length of all chords.
    pub fn length(&self) -> f64 {
        self.knots[self.knots.len() - 1]
    }

    /// The point at a chord length within the curve.
    pub fn at(&self, length: f64) -> [f64; 3] {
        let last = self.knots.len() - 2;
        let i = self.knots.partition_point(|&knot| knot <= length).saturating_sub(1).min(last);
        let width = self.knots[i + 1] - self.knots[i];
        let b = (length - self.knots[i]) / width;
        let a = 1.0 - b;
        std::array::from_fn(|axis| {
            let line = a * self.points[i][axis] + b * self.points[i + 1][axis];
            let bend = (a * a * a - a) * self.bends[i][axis] + (b * b * b - b) * self.bends[i + 1][axis];
            line + bend * width * width / 6.0
        })
    }
}

/// Second derivatives of the natural spline: a tridiagonal system, solved downwards and back.
fn bends(knots: &[f64], points: &[[f64; 3]]) -> Vec<[f64; 3]> {
    let count = points.len();
    let mut bends = vec![[0.0; 3]; count];
    let mut upper = vec![0.0; count];
    for i in 1..count.saturating_sub(1) {
        let (before, after) = (knots[i] - knots[i - 1], knots[i + 1] - knots[i]);
        let pivot = 2.0 * (before + after) - before * upper[i - 1];
        upper[i] = after / pivot;
        bends[i] = std::array::from_fn(|axis| {
            let slope = |from: usize, width: f64| (points[from + 1][axis] - points[from][axis]) / width;
            let right = 6.0 * (slope(i, after) - slope(i - 1, before));
            (right - before * bends[i - 1][axis]) / pivot
        });
    }
    for i in (1..count.saturating_sub(1)).rev() {
        bends[i] = std::array::from_fn(|axis| bends[i][axis] - upper[i] * bends[i + 1][axis]);
    }
    bends
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_curve_meets_its_points_and_has_no_kinks() {
        let points = [[0.0, 0.0, 0.0], [3.0, 1.0, -20.0], [1.0, 5.0, -45.0], [0.0, 2.0, -60.0]];
        let spline = Spline::through(&points);
        for (knot, point) in spline.knots.iter().zip(points) {
            assert!(distance(spline.at(*knot), point) < 1e-9);
        }
        let slope = |at: f64| distance(spline.at(at + 1e-4), spline.at(at)) / 1e-4;
        for &knot in &spline.knots[1..3] {
            assert!((slope(knot) - slope(knot - 2e-4)).abs() < 1e-3);
        }
    }

    #[test]
    fn two_points_make_a_line() {
        let spline = Spline::through(&[[0.0, 0.0, 0.0], [0.0, 6.0, -8.0]]);
        assert_eq!((spline.length(), spline.at(5.0)), (10.0, [0.0, 3.0, -4.0]));
    }

    /// `scipy.interpolate.CubicSpline(t, p, bc_type="natural")` at 5 with t = [0, 10, 20, 30] and
    /// p = [0, 4, 1, 3] along one axis.
    #[test]
    fn values_are_those_of_scipy() {
        let knots = [0.0, 10.0, 20.0, 30.0];
        let points = [0.0, 4.0, 1.0, 3.0].map(|x| [x, 0.0, 0.0]);
        let spline = Spline { knots: knots.to_vec(), points: points.to_vec(), bends: bends(&knots, &points) };
        // M1, M2 of 4 M1 + M2 = 6 (-7) / 100 and M1 + 4 M2 = 6 (5) / 100 are -0.132 and 0.108;
        // at 5: 2 + (1/8 - 1/2) 100 / 6 M1.
        assert!((spline.at(5.0)[0] - 2.825).abs() < 1e-12, "{}", spline.at(5.0)[0]);
    }
}
