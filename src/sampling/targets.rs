//! From centroids to what a network of whole volumes has to answer: a ball in every vertebral body.

use std::ops::Range;

use crate::anatomy::{Level, between};
use crate::annotation::Centroid;

/// 1 inside a body, 0 outside, -1 where nobody can tell.
pub(crate) const BODY: usize = 0;
/// Level value inside a body, 0 outside.
pub(crate) const LEVEL: usize = 1;
/// Inside a body one part in as many as it has voxels, so that all bodies count the same.
pub const SHARE: usize = 2;
/// The way to the body's centre along x, y, z, in voxels.
pub(crate) const OFFSETS: Range<usize> = 3..6;
/// All of them.
pub(crate) const CHANNELS: usize = OFFSETS.end;

/// Radius of a ball as a share of the usual distance to the next body: inside every body, whatever
/// its shape.
const RADIUS: f64 = 0.36;
/// Up to so many radii from a centre it depends on the body whether a voxel belongs to it.
const UNSURE: f64 = 1.35;
/// The same around where the next body is expected beyond the annotated ones.
const EXPECTED: f64 = 1.8;
/// Usual distance below the last level, in mm.
const LAST: f64 = 28.0;
const S1: u8 = 25;

/// A place that is, or may be, a vertebral body.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Ball {
    /// Which one; `None` where nobody annotated whether there is one.
    pub level: Option<Level>,
    /// Its centre in mm.
    pub centre: [f64; 3],
    /// In mm.
    pub radius: f64,
}

impl Ball {
    fn new(level: Level, centre: [f64; 3]) -> Ball {
        let spacing = between(level).map_or(LAST, |spacing| spacing.mean);
        Ball { level: Some(level), centre, radius: RADIUS * spacing }
    }
}

/// Volume in mm³ of the ball in a body with this level value.
pub(crate) fn ball_volume(value: u8) -> f64 {
    let spacing = Level::from_value(value).and_then(between).map_or(LAST, |spacing| spacing.mean);
    4.0 / 3.0 * std::f64::consts::PI * (RADIUS * spacing).powi(3)
}

/// The annotated bodies, from the head down, with the one that may stand above the first and the one
/// below the last: annotations leave out vertebrae that are cut by the edge of a scan, and all but the
/// first of the sacrum.
pub fn balls(centroids: &[Centroid]) -> Vec<Ball> {
    let mut sorted = centroids.to_vec();
    sorted.sort_by_key(|centroid| centroid.level);
    let mut balls: Vec<Ball> = sorted.iter().map(|centroid| Ball::new(centroid.level, centroid.mm)).collect();
    let beyond = |end: &Centroid, inner: &Centroid| Ball {
        level: None,
        centre: std::array::from_fn(|axis| 2.0 * end.mm[axis] - inner.mm[axis]),
        radius: Ball::new(end.level, end.mm).radius * EXPECTED / UNSURE,
    };
    if let [first, second, ..] = sorted.as_slice()
        && first.level.value() > 1
    {
        balls.push(beyond(first, second));
    }
    if let [.., before, last] = sorted.as_slice()
        && last.level.value() <= S1
    {
        balls.push(beyond(last, before));
    }
    balls
}

/// Paints the balls, whose centres and radii are in voxels, onto a grid of `shape`.
///
/// A body whose centre is not inside `view`, or closer to its end than half a radius, is not asked
/// for: its voxels are ignored.
pub fn paint(shape: [usize; 3], balls: &[Ball], view: [Range<f64>; 3]) -> Vec<f32> {
    let voxels: usize = shape.iter().product();
    let mut labels = vec![0.0f32; CHANNELS * voxels];
    // Distance of each voxel from the ball it belongs to, in radii.
    let mut nearest = vec![f32::INFINITY; voxels];
    for ball in balls {
        let clear = |axis: usize| {
            let margin = 0.5 * ball.radius;
            (view[axis].start + margin..view[axis].end - margin).contains(&ball.centre[axis])
        };
        let level = ball.level.filter(|_| (0..3).all(clear));
        let reach = ball.radius * UNSURE;
        let span: [Range<usize>; 3] = std::array::from_fn(|axis| {
            let end = (ball.centre[axis] + reach).floor() + 1.0;
            let start = (ball.centre[axis] - reach).ceil().max(0.0) as usize;
            start..(end.max(0.0) as usize).min(shape[axis])
        });
        let mut own = Vec::new();
        for x in span[0].clone() {
            for y in span[1].clone() {
                for z in span[2].clone() {
                    let at = [x, y, z];
                    let way: [f64; 3] = std::array::from_fn(|axis| ball.centre[axis] - at[axis] as f64);
                    let distance = way.iter().map(|part| part * part).sum::<f64>().sqrt() / ball.radius;
                    let voxel = (x * shape[1] + y) * shape[2] + z;
                    if distance > UNSURE || distance as f32 >= nearest[voxel] {
                        continue;
                    }
                    match level {
                        Some(level) if distance <= 1.0 => {
                            nearest[voxel] = distance as f32;
                            labels[voxel] = 1.0;
                            labels[LEVEL * voxels + voxel] = f32::from(level.value());
                            for (axis, part) in way.into_iter().enumerate() {
                                labels[(OFFSETS.start + axis) * voxels + voxel] = part as f32;
                            }
                            own.push(voxel);
                        }
                        _ if labels[voxel] < 1.0 => labels[voxel] = -1.0,
                        _ => {}
                    }
                }
            }
        }
        for &voxel in &own {
            labels[SHARE * voxels + voxel] = 1.0 / own.len() as f32;
        }
    }
    labels
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(name: &str, z: f64) -> Centroid {
        Centroid { level: name.parse().unwrap(), mm: [30.0, 30.0, z] }
    }

    #[test]
    fn a_body_is_a_ball_that_points_to_its_centre_within_a_shell_that_does_not_count() {
        let balls = balls(&[at("L2", 35.0), at("L3", 0.0)]);
        let labels = paint([61, 61, 61], &balls[..1], std::array::from_fn(|_| 0.0..60.0));
        let voxels = 61 * 61 * 61;
        let voxel = |x: usize, y: usize, z: usize| (x * 61 + y) * 61 + z;
        let radius: f64 = 0.36 * 35.2;
        assert_eq!((labels[voxel(30, 30, 35)], labels[voxel(30, 30, 50)]), (1.0, -1.0));
        assert_eq!((labels[voxel(30, 30, 55)], labels[voxels + voxel(30, 30, 35)]), (0.0, 21.0));
        let offset = |axis: usize| labels[(OFFSETS.start + axis) * voxels + voxel(27, 30, 40)];
        assert_eq!([offset(0), offset(1), offset(2)], [3.0, 0.0, -5.0]);
        let count = labels[..voxels].iter().filter(|&&value| value == 1.0).count() as f64;
        assert!((count / (4.0 / 3.0 * std::f64::consts::PI * radius.powi(3)) - 1.0).abs() < 0.05);
        let shares: f32 = labels[SHARE * voxels..][..voxels].iter().sum();
        assert!((shares - 1.0).abs() < 1e-3);
    }

    #[test]
    fn beyond_the_annotated_ones_and_outside_the_view_nothing_is_asked() {
        let all = balls(&[at("T1", 40.0), at("T2", 20.0)]);
        let unknown: Vec<f64> =
            all.iter().filter(|ball| ball.level.is_none()).map(|ball| ball.centre[2]).collect();
        assert_eq!(unknown, [60.0, 0.0]);
        assert_eq!(balls(&[at("C1", 40.0), at("C2", 20.0)]).len(), 3);
        let labels = paint([61, 61, 61], &all, [0.0..60.0, 0.0..60.0, 0.0..22.0]);
        assert!(labels[..61 * 61 * 61].iter().all(|&value| value <= 0.0));
    }
}
