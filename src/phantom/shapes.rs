//! Solids as approximate signed distances: negative inside, in mm.

use super::skeleton::Vector;

/// A solid.
#[derive(Clone, Debug)]
pub(crate) enum Shape {
    /// A rod between two points, with a radius at either end.
    Rod {
        /// Its ends.
        ends: [Vector; 2],
        /// Radius at each end.
        radii: [f64; 2],
    },
    /// An ellipsoid with its own axes.
    Ellipsoid {
        /// Middle.
        centre: Vector,
        /// Unit axes.
        axes: [Vector; 3],
        /// Half its extent along each axis.
        radii: Vector,
    },
    /// A vertebral body: a cylinder of elliptic section with a waist, axes left, back, up.
    Body {
        /// Middle.
        centre: Vector,
        /// Unit axes.
        axes: [Vector; 3],
        /// Half its extent along each axis.
        half: Vector,
        /// Share of its height that is missing at the front, falling to none at the back.
        wedge: f64,
        /// Share of its height that is missing in the middle of its plates, falling to none at the walls.
        dish: f64,
    },
    /// Flesh around the spine: an ellipse at every height, on points sorted from the head down.
    Trunk {
        /// Middle of the ellipse, with its half axes to the left and to the back.
        rings: Vec<(Vector, [f64; 2])>,
    },
}

fn dot(a: Vector, b: Vector) -> f64 {
    a[0] * b[0] + a[1] * b[1] + a[2] * b[2]
}

fn minus(a: Vector, b: Vector) -> Vector {
    std::array::from_fn(|axis| a[axis] - b[axis])
}

/// The share by which the middle of a body is slimmer than its ends.
const WAIST: f64 = 0.12;

impl Shape {
    /// Approximate distance of a point from the surface, negative inside.
    pub fn distance(&self, point: Vector) -> f64 {
        match self {
            Shape::Rod { ends: [a, b], radii } => {
                let (way, from) = (minus(*b, *a), minus(point, *a));
                let share = (dot(from, way) / dot(way, way).max(1e-9)).clamp(0.0, 1.0);
                let off: Vector = std::array::from_fn(|axis| from[axis] - share * way[axis]);
                dot(off, off).sqrt() - (radii[0] + (radii[1] - radii[0]) * share)
            }
            Shape::Ellipsoid { centre, axes, radii } => {
                let from = minus(point, *centre);
                let local: Vector = std::array::from_fn(|axis| dot(from, axes[axis]));
                let scaled: Vector = std::array::from_fn(|axis| local[axis] / radii[axis]);
                let steep: Vector = std::array::from_fn(|axis| scaled[axis] / radii[axis]);
                let (length, slope) = (dot(scaled, scaled).sqrt(), dot(steep, steep).sqrt());
                if slope < 1e-9 {
                    -radii.iter().copied().fold(f64::INFINITY, f64::min)
                } else {
                    length * (length - 1.0) / slope
                }
            }
            Shape::Body { centre, axes, half, wedge, dish } => {
                let from = minus(point, *centre);
                let [x, y, z]: Vector = std::array::from_fn(|axis| dot(from, axes[axis]));
                let height = (z / half[2]).abs().min(1.0);
                let slim = 1.0 - WAIST * (1.0 - height * height);
                let radial = ((x / (half[0] * slim)).powi(2) + (y / (half[1] * slim)).powi(2)).sqrt();
                let side = (radial - 1.0) * half[0].min(half[1]);
                let front = (0.5 - 0.5 * y / half[1]).clamp(0.0, 1.0);
                let middle = (1.0 - (x / half[0]).powi(2) - (y / half[1]).powi(2)).max(0.0);
                side.max(z.abs() - half[2] * (1.0 - wedge * front - dish * middle))
            }
            Shape::Trunk { rings } => {
                let below = rings
                    .iter()
                    .position(|(centre, _)| centre[2] < point[2])
                    .unwrap_or(rings.len() - 1)
                    .max(1);
                let ((a, ra), (b, rb)) = (&rings[below - 1], &rings[below]);
                let share = ((a[2] - point[2]) / (a[2] - b[2]).max(1e-9)).clamp(0.0, 1.0);
                let mix = |from: f64, to: f64| from + (to - from) * share;
                let (rx, ry) = (mix(ra[0], rb[0]), mix(ra[1], rb[1]));
                let (x, y) = (point[0] - mix(a[0], b[0]), point[1] - mix(a[1], b[1]));
                // Rounder than a box, squarer than an ellipse: powers of 2.5.
                let power = |share: f64| share * share * share.sqrt();
                let sum = power((x / rx).abs()) + power((y / ry).abs());
                // The root takes longer than all the rest; deep inside a line will do.
                let radial = if sum > 0.2 { sum.powf(0.4) } else { 2.63 * sum };
                (radial - 1.0) * rx.min(ry)
            }
        }
    }

    /// Corners of a box around the solid.
    pub(crate) fn bounds(&self) -> [Vector; 2] {
        let around =
            |centre: &Vector, reach: f64| [centre.map(|part| part - reach), centre.map(|part| part + reach)];
        match self {
            Shape::Rod { ends: [a, b], radii } => {
                let reach = radii[0].max(radii[1]);
                [
                    std::array::from_fn(|axis| a[axis].min(b[axis]) - reach),
                    std::array::from_fn(|axis| a[axis].max(b[axis]) + reach),
                ]
            }
            Shape::Ellipsoid { centre, radii, .. } => {
                around(centre, radii.iter().copied().fold(0.0, f64::max))
            }
            Shape::Body { centre, half, .. } => around(centre, dot(*half, *half).sqrt()),
            Shape::Trunk { .. } => [[f64::NEG_INFINITY; 3], [f64::INFINITY; 3]],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AXES: [Vector; 3] = [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]];

    #[test]
    fn distances_are_negative_inside_and_grow_outwards() {
        let shapes = [
            Shape::Rod { ends: [[0.0; 3], [0.0, 0.0, 10.0]], radii: [3.0, 3.0] },
            Shape::Ellipsoid { centre: [0.0; 3], axes: AXES, radii: [3.0, 4.0, 5.0] },
            Shape::Body { centre: [0.0; 3], axes: AXES, half: [3.4, 4.0, 5.0], wedge: 0.0, dish: 0.1 },
            Shape::Trunk { rings: vec![([0.0, 0.0, 20.0], [3.0, 4.0]), ([0.0, 0.0, -20.0], [3.0, 4.0])] },
        ];
        for shape in shapes {
            assert!(shape.distance([0.0, 0.0, 1.0]) < -2.0, "{shape:?}");
            assert!(shape.distance([3.0, 0.0, 0.0]).abs() < 0.3, "{shape:?}");
            assert!((shape.distance([6.0, 0.0, 0.0]) - 3.0).abs() < 1.0, "{shape:?}");
            let [low, high] = shape.bounds();
            assert!(low[0] <= -3.0 && high[0] >= 3.0);
        }
    }
}
