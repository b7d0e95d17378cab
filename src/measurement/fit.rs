//! Lines and parabolas through points, of which a few may be wrong.

use super::median;

/// Points further from a first fit than so many times the usual, and than so many mm, are left out of the second.
const OUTLYING: f64 = 2.5;
const LEAST: f64 = 0.3;

/// The points that lie near a first fit.
fn near(points: &[(f64, f64)], fit: impl Fn(f64) -> f64) -> Option<Vec<(f64, f64)>> {
    let off = |&(at, value): &(f64, f64)| (value - fit(at)).abs();
    let most = (OUTLYING * median(points.iter().map(off).collect())?).max(LEAST);
    Some(points.iter().copied().filter(|point| off(point) <= most).collect())
}

/// The line `value + slope · (at - middle)` through points of equal weight, those apart from most left out.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Line {
    pub middle: f64,
    pub value: f64,
    pub slope: f64,
}

impl Line {
    /// The line through points, fitted again without those that lie far from it.
    /// `None` through fewer than three.
    pub fn through(points: &[(f64, f64)]) -> Option<Line> {
        let first = Line::fit(points)?;
        Line::fit(&near(points, |at| first.at(at))?)
    }

    fn fit(points: &[(f64, f64)]) -> Option<Line> {
        if points.len() < 3 {
            return None;
        }
        let count = points.len() as f64;
        let middle = points.iter().map(|point| point.0).sum::<f64>() / count;
        let value = points.iter().map(|point| point.1).sum::<f64>() / count;
        let spread: f64 = points.iter().map(|point| (point.0 - middle).powi(2)).sum();
        let slope =
            points.iter().map(|point| (point.0 - middle) * (point.1 - value)).sum::<f64>() / spread.max(1e-9);
        Some(Line { middle, value, slope })
    }

    pub fn at(&self, at: f64) -> f64 {
        self.value + self.slope * (at - self.middle)
    }
}

/// The parabola `value + slope · x + bend · x²`, x being the place between two ends, from -1 to 1.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Parabola {
    ends: [f64; 2],
    parts: [f64; 3],
}

impl Parabola {
    /// The parabola through points between two ends, fitted again without those that lie far from it. `None` through fewer than
    /// five.
    pub fn through(points: &[(f64, f64)], ends: [f64; 2]) -> Option<Parabola> {
        let first = Parabola::fit(points, ends)?;
        Parabola::fit(&near(points, |at| first.at(at))?, ends)
    }

    fn fit(points: &[(f64, f64)], ends: [f64; 2]) -> Option<Parabola> {
        if points.len() < 5 {
            return None;
        }
        // The normal equations, row by row with their right side.
        let mut rows = [[0.0; 4]; 3];
        for &(at, value) in points {
            let x = place(at, ends);
            let powers = [1.0, x, x * x];
            for (row, power) in rows.iter_mut().zip(powers) {
                powers.iter().chain([&value]).zip(row).for_each(|(part, sum)| *sum += power * part);
            }
        }
        for pivot in 0..3 {
            let whole = rows[pivot];
            if whole[pivot].abs() < 1e-9 {
                return None;
            }
            for (_, row) in rows.iter_mut().enumerate().filter(|(row, _)| *row != pivot) {
                let share = row[pivot] / whole[pivot];
                row.iter_mut().zip(whole).for_each(|(part, of)| *part -= share * of);
            }
        }
        Some(Parabola { ends, parts: [0, 1, 2].map(|row| rows[row][3] / rows[row][row]) })
    }

    pub fn at(&self, at: f64) -> f64 {
        let x = place(at, self.ends);
        self.parts[0] + self.parts[1] * x + self.parts[2] * x * x
    }
}

fn place(at: f64, [start, end]: [f64; 2]) -> f64 {
    (2.0 * at - start - end) / (end - start)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_parabola_is_found_in_spite_of_a_spur_and_reaches_its_ends() {
        let truth = |at: f64| 20.0 - 0.1 * at + 0.02 * (at - 15.0) * (at - 15.0);
        let mut points: Vec<(f64, f64)> = (1..30).map(|at| (f64::from(at), truth(f64::from(at)))).collect();
        points[2].1 += 5.0;
        let parabola = Parabola::through(&points, [0.0, 30.0]).unwrap();
        for at in [0.0, 15.0, 30.0] {
            assert!((parabola.at(at) - truth(at)).abs() < 1e-6, "{at}: {}", parabola.at(at));
        }
        assert!(Parabola::through(&points[..4], [0.0, 30.0]).is_none());
        assert!(Parabola::through(&[points[0]; 6], [0.0, 30.0]).is_none());
    }

    #[test]
    fn a_line_leaves_out_what_lies_apart() {
        let mut points: Vec<(f64, f64)> =
            (0..20).map(|at| (f64::from(at), 3.0 + 0.5 * f64::from(at))).collect();
        points[7].1 = 40.0;
        let line = Line::through(&points).unwrap();
        assert!((line.at(0.0) - 3.0).abs() < 1e-6 && (line.slope - 0.5).abs() < 1e-6);
        assert!(Line::through(&points[..2]).is_none());
    }
}
