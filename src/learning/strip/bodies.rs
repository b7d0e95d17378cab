//! Lessons for the network that finds centres along a rough course.

use anyhow::Result;
use ndarray::{Array2, Array3};

use super::lesson::{Example, Lesson, Verdict};
use super::scanner::{between, rescanned, with_vessel};
use super::source::{Source, Sources};
use crate::learning::metrics::Scores;
use crate::network::output::sigmoid;
use crate::network::{StripArchitecture, StripPredictor};
use crate::random::Legacy;
use crate::scan::distance;
use crate::spine::bodies::{ACROSS_UNIT, BEYOND, architecture, channel, locate};
use crate::straighten::{Block, Course, Place};

/// Chance that the course is that of a single body, and how far its centre is wrong in mm.
const ALONE: f64 = 0.15;
const ALONE_OFF: f64 = 3.5;
/// Chance that two bodies of a course were found as one, that all are found too high or too low, by
/// up to half a body, and that an end is missing.
const MERGED: f64 = 0.5;
const SHIFTED: f64 = 0.4;
const SHORT: f64 = 0.5;
/// Standard deviations in mm of what is wrong with each body and with the whole course, to the left,
/// back and head.
const EACH_OFF: [f64; 3] = [2.5, 3.0, 4.0];
const ALL_OFF: [f64; 3] = [2.0, 2.0, 0.0];
/// Chance that a course lies beside the spine (in the aorta, over an arm), and how far in mm; and that it goes on beyond its
/// lower or upper end and leaves the spine there, in steps of so many mm, each so far to one side.
const BESIDE: f64 = 0.1;
const BESIDE_BY: [f64; 2] = [32.0, 75.0];
const ASTRAY: f64 = 0.2;
const ASTRAY_STEPS: i64 = 5;
const ASTRAY_BY: [f64; 2] = [8.0, 30.0];
/// A body is to be found up to so many mm from the course, and is none of it from so many mm on.
const NEAR_COURSE: f64 = 22.0;
const OFF_COURSE: f64 = 30.0;
/// How much larger a person may be, and how much each axis may differ from that.
pub(super) const SIZE: [f64; 2] = [0.85, 1.18];
const AXIS: [f64; 2] = [0.93, 1.07];
/// Standard deviation of the turn about the course, in radians.
const TURN: f64 = 0.1;
/// Chance that the scan ends within the course's reach, at either end.
const NARROW: f64 = 0.5;
/// A body this close in mm to where the scan was made to end may be found or not.
const EDGE: f64 = 7.5;
/// Half the height of what is ignored around such a body, in mm.
const IGNORED: f64 = 12.0;
/// Standard deviation in steps of the heap that marks a centre, times the root of two.
const HEAP: f64 = 1.3;
/// Steps from a centre in which the offsets to it are taught.
const NEAR: f64 = 2.6;
/// Share of a body's height beyond the last annotated one from which on there is none, and the weight
/// of that where bodies end because the scan does: half a body may be there.
const HALF: f64 = 0.6;
const UNSURE: f32 = 0.3;
/// Millimetres below an S1 in which an S2 lies that is not annotated.
const FAR_BEYOND: f64 = 50.0;
/// A plane of the block counts as outside the scan if less than this share of it was seen.
const SEEN: f32 = 0.03;
/// Weight of steps with a centre against those without.
const CENTRES: f32 = 3.0;
/// Weight of the easiest steps (Lin et al., 2017: what is right already teaches little).
const EASY: f32 = 0.05;
/// The centre's loss against that of the offsets.
const CENTRE: f32 = 2.0;
/// Offsets wrong by less than this cost the square.
const BETA: f32 = 0.2;

/// Finding centres along rough courses of annotated scans.
pub struct BodyLesson {
    /// Scans to learn from.
    pub training: Sources,
    /// Scans to check with.
    pub testing: Sources,
}

/// For each step: the heap of a centre, its weight, three offsets and their weight.
pub type Truth = Array2<f32>;

impl Lesson for BodyLesson {
    type Truth = Truth;

    fn architecture(&self) -> StripArchitecture {
        architecture()
    }

    fn draw(&self, random: &mut Legacy) -> Example<Truth> {
        loop {
            let source = self.training.pick(random);
            if let Some(example) = example(source, &architecture(), random) {
                return example;
            }
        }
    }

    fn judge(&self, answers: &Array3<f32>, truths: &[Truth]) -> Verdict {
        let (_, _, steps) = answers.dim();
        let (mut heaps, mut near) = (0.0, 0.0);
        for truth in truths {
            heaps += truth.row(0).sum();
            near += truth.row(5).sum();
        }
        let mut gradient = Array3::zeros(answers.dim());
        let (mut centre, mut offset) = (0.0f64, 0.0f64);
        for (spine, truth) in truths.iter().enumerate() {
            for step in 0..steps.min(truth.ncols()) {
                let [heap, weight, along, left, back, close] = std::array::from_fn(|row| truth[[row, step]]);
                let logit = answers[[spine, channel::CENTRE, step]];
                let chance = sigmoid(logit);
                let entropy = logit.max(0.0) - logit * heap + (-logit.abs()).exp().ln_1p();
                let hard = (chance - heap).abs() + EASY;
                let share = CENTRE * weight * (1.0 + CENTRES * heap) / (heaps + 5.0);
                centre += f64::from(share * entropy * hard);
                let slope = (chance - heap).signum() * chance * (1.0 - chance);
                gradient[[spine, channel::CENTRE, step]] = share * ((chance - heap) * hard + entropy * slope);
                if close == 0.0 {
                    continue;
                }
                let wanted = [(channel::ALONG, along), (channel::LEFT, left), (channel::BACK, back)];
                for (channel, wanted) in wanted {
                    let off = answers[[spine, channel, step]] - wanted;
                    let share = close / (near + 1.0);
                    let (cost, slope) = if off.abs() < BETA {
                        (0.5 * off * off / BETA, off / BETA)
                    } else {
                        (off.abs() - 0.5 * BETA, off.signum())
                    };
                    offset += f64::from(share * cost);
                    gradient[[spine, channel, step]] = share * slope;
                }
            }
        }
        let scores: Scores = vec![("centre", centre), ("offset", offset)];
        Verdict { loss: centre + offset, gradient, scores }
    }

    fn examine(&self, network: Box<dyn StripPredictor>) -> Result<Scores> {
        let (mut within, mut all, mut sum, mut extra) = (0.0, 0.0, 0.0, 0.0);
        for source in &self.testing.all {
            let truth = source.centres();
            // From one body in the middle, 5 mm wrong: every other one has to be walked to.
            let [x, y, z] = truth[truth.len() / 2];
            let found = locate(&source.even, network.as_ref(), &[[x + 3.0, y - 2.0, z + 3.5]])?;
            for &body in &truth {
                let nearest =
                    found.iter().map(|found| distance(found.mm, body)).fold(f64::INFINITY, f64::min);
                all += 1.0;
                if nearest <= 8.0 {
                    within += 1.0;
                    sum += nearest;
                }
            }
            let stray = |found: &[f64; 3]| truth.iter().all(|&body| distance(*found, body) > 10.0);
            extra += found.iter().filter(|found| stray(&found.mm)).count() as f64;
        }
        Ok(vec![("within_8mm", within / all), ("mean_mm", sum / f64::max(within, 1.0)), ("extra", extra)])
    }
}

/// A run of a spine along a wrong course; `None` if the course misses every body.
fn example(source: &Source, architecture: &StripArchitecture, random: &mut Legacy) -> Option<Example<Truth>> {
    let centres = source.centres();
    let mut points = rough(&centres, random);
    let beside = random.uniform() < BESIDE;
    if beside {
        let (by, angle) = (between(random, BESIDE_BY), std::f64::consts::TAU * random.uniform());
        points.iter_mut().for_each(|[x, y, _]| (*x, *y) = (*x + by * angle.cos(), *y + by * angle.sin()));
    } else if random.uniform() < ASTRAY {
        go_astray(&mut points, random);
    }
    let size = between(random, SIZE);
    let [wide, deep, long] = [(); 3].map(|()| size * between(random, AXIS));
    let views = &architecture.views;
    let mut course = Course::through(&points, BEYOND * long.recip(), BEYOND / long, views.pitch / long)?;
    turn(&mut course, TURN * random.normal());
    let mirrored = if random.uniform() < 0.5 { -1.0 } else { 1.0 };
    let mut across = views.columns();
    across.left.iter_mut().for_each(|left| *left *= mirrored / wide);
    across.back.iter_mut().for_each(|back| *back /= deep);
    let mut block = Block::of(&source.even, &course, &across);
    let length = course.len();
    let reach = |random: &mut Legacy| between(random, [0.0, (BEYOND + 10.0) / views.pitch]) as usize;
    let start = if random.uniform() < NARROW { reach(random) } else { 0 };
    let end = if random.uniform() < NARROW { length.saturating_sub(reach(random)) } else { length };
    block.cut(start, end);
    let placed = |mm: &[f64; 3]| {
        let Place { along, across: [left, back] } = course.place(*mm);
        Place { along, across: [left * wide * mirrored, back * deep] }
    };
    let places: Vec<Place> = centres.iter().map(placed).collect();
    let unsure = |end: bool| {
        let level = if end { &source.bodies[0] } else { &source.bodies[source.bodies.len() - 1] }.level;
        match level.name() {
            "C1" | "S2" => 1.0,
            // A second sacral body is seldom annotated.
            "S1" => 0.0,
            _ => UNSURE,
        }
    };
    let (truth, any) =
        truth(&places, &block.seen, [start, end], architecture, [unsure(true), unsure(false)])?;
    if !any && !beside {
        return None;
    }
    with_vessel(&mut block, &across, random);
    rescanned(&mut block.values, random);
    Some(Example { views: views.of(&block), marks: None, truth })
}

/// Part of a spine as a rough search finds it.
fn rough(centres: &[[f64; 3]], random: &mut Legacy) -> Vec<[f64; 3]> {
    let count = centres.len() as i64;
    let length = random.integer(count.min(3), count + 1) as usize;
    let first = random.integer(0, count - length as i64 + 1) as usize;
    let run = &centres[first..first + length];
    if random.uniform() < ALONE {
        let [x, y, z] = off(run[length / 2], [ALONE_OFF; 3], random);
        return vec![[x, y, z + 13.0], [x, y, z - 13.0]];
    }
    let mut points = run.to_vec();
    if points.len() > 3 && random.uniform() < MERGED {
        let at = random.integer(0, points.len() as i64 - 1) as usize;
        let below = points.remove(at + 1);
        points[at] = std::array::from_fn(|axis| (points[at][axis] + below[axis]) / 2.0);
    }
    if random.uniform() < SHIFTED {
        let by = between(random, [-0.5, 0.5]);
        let last = points.len() - 1;
        let slope = |i: usize, axis: usize| {
            let (low, high) = (i.saturating_sub(1), (i + 1).min(last));
            (points[high][axis] - points[low][axis]) / (high - low).max(1) as f64
        };
        points = (0..points.len())
            .map(|i| std::array::from_fn(|axis| points[i][axis] + by * slope(i, axis)))
            .collect();
    }
    let all = off([0.0; 3], ALL_OFF, random);
    for point in &mut points {
        *point = off(*point, EACH_OFF, random);
        (0..3).for_each(|axis| point[axis] += all[axis]);
    }
    if points.len() > 3 && random.uniform() < SHORT {
        if random.uniform() < 0.5 {
            points.remove(0);
        } else {
            points.pop();
        }
    }
    points.sort_by(|a, b| b[2].total_cmp(&a[2]));
    if points.len() < 2 { run.to_vec() } else { points }
}

/// The course goes on beyond one of its ends, further from the spine with every step.
fn go_astray(points: &mut Vec<[f64; 3]>, random: &mut Legacy) {
    let below = random.uniform() < 0.7;
    let [a, b] = if below { [points.len() - 2, points.len() - 1] } else { [1, 0] };
    let step: [f64; 3] = std::array::from_fn(|axis| points[b][axis] - points[a][axis]);
    let (by, angle) = (between(random, ASTRAY_BY), std::f64::consts::TAU * random.uniform());
    for count in 1..=random.integer(1, ASTRAY_STEPS + 1) {
        let (count, aside) = (count as f64, by * count as f64);
        let [x, y, z] = points[if below { points.len() - 1 } else { 0 }];
        let away = [
            x + step[0] + aside * angle.cos(),
            y + step[1] + aside * angle.sin(),
            z + step[2] * (1.0 - 0.1 * count),
        ];
        let at = if below { points.len() } else { 0 };
        points.insert(at, away);
    }
}

/// A point that is off by normal numbers of these standard deviations.
pub(super) fn off(mm: [f64; 3], spread: [f64; 3], random: &mut Legacy) -> [f64; 3] {
    let mut at = mm;
    at.iter_mut().zip(spread).for_each(|(part, spread)| *part += spread * random.normal());
    at
}

/// Turns the axes about the course.
pub(super) fn turn(course: &mut Course, angle: f64) {
    let (sin, cos) = angle.sin_cos();
    for [left, back] in &mut course.axes {
        let (l, b) = (*left, *back);
        *left = std::array::from_fn(|axis| cos * l[axis] + sin * b[axis]);
        *back = std::array::from_fn(|axis| cos * b[axis] - sin * l[axis]);
    }
}

/// What the network should say of bodies at these places, in pixels and mm; `seen` is the share of each
/// plane inside the scan, which was made to end at `cut`. Says too whether any body is in view; `None` of no place.
fn truth(
    places: &[Place],
    seen: &[f32],
    cut: [usize; 2],
    architecture: &StripArchitecture,
    beyond: [f32; 2],
) -> Option<(Truth, bool)> {
    let (pixels, pitch) = (architecture.pixels_per_step() as f64, architecture.views.pitch);
    let steps = seen.len().div_ceil(architecture.pixels_per_step());
    let middle = |step: usize| architecture.middle(step);
    let [start, end] = cut.map(|pixel| pixel as f64);
    let (edge, ignored) = (EDGE / pitch, IGNORED / pitch);
    let mut truth = Array2::<f32>::zeros((6, steps));
    truth.row_mut(1).fill(1.0);
    let mut any = false;
    for place in places {
        let at = place.along;
        let off = place.across[0].hypot(place.across[1]);
        if off > OFF_COURSE
            || !(-20.0..seen.len() as f64 + 20.0).contains(&at)
            || at < start - 2.0
            || at > end + 2.0
        {
            continue;
        }
        let cut = at < start + edge && start > 0.0 || at > end - edge && end < seen.len() as f64;
        if cut || off > NEAR_COURSE {
            (0..steps).filter(|&s| (middle(s) - at).abs() < ignored).for_each(|s| truth[[1, s]] = 0.0);
            continue;
        }
        any = true;
        for step in 0..steps {
            let off = (at - middle(step)) / pixels;
            let heap = (-(off / HEAP).powi(2)).exp() as f32;
            truth[[0, step]] = truth[[0, step]].max(heap);
            if off.abs() < NEAR {
                truth[[2, step]] = off as f32;
                truth[[3, step]] = (place.across[0] / ACROSS_UNIT) as f32;
                truth[[4, step]] = (place.across[1] / ACROSS_UNIT) as f32;
                truth[[5, step]] = 1.0;
            }
        }
    }
    let (first, last) = (places.first()?.along, places.last()?.along);
    let height = |a: &Place, b: &Place| HALF * (b.along - a.along).abs();
    let above = places.get(1).map_or(0.0, |second| height(&places[0], second));
    let below = places.len().checked_sub(2).map_or(0.0, |i| height(&places[i], &places[i + 1]));
    for step in 0..steps {
        let from = step * architecture.pixels_per_step();
        let planes = &seen[from..(from + architecture.pixels_per_step()).min(seen.len())];
        if planes.iter().all(|&share| share < SEEN) {
            truth[[0, step]] = 0.0;
            truth[[1, step]] = 1.0;
            truth[[5, step]] = 0.0;
        } else if middle(step) < first - above {
            truth[[1, step]] *= beyond[0];
        } else if middle(step) > last + below {
            // What is not annotated may be there, but not for ever.
            let far = beyond[1] == 0.0 && middle(step) > last + FAR_BEYOND / pitch;
            truth[[1, step]] *= if far { UNSURE } else { beyond[1] };
        }
    }
    Some((truth, any))
}

#[cfg(test)]
mod tests {
    use super::super::source::tests::{ladder, sources};
    use super::*;
    use crate::kernels::noise;

    fn lesson() -> BodyLesson {
        let levels = ["T10", "T11", "T12", "L1", "L2"];
        BodyLesson {
            training: sources(vec![ladder("a/1", &levels)]),
            testing: sources(vec![ladder("a/1", &levels)]),
        }
    }

    #[test]
    fn bright_balls_stand_where_the_truth_says() {
        let lesson = lesson();
        let mut steps = 0;
        for seed in 0..12 {
            let example = lesson.draw(&mut Legacy::seeded(seed));
            // The coronal view of bone in and around the midline.
            let [coronal, _] = &example.views;
            for step in 0..example.truth.ncols() {
                if example.truth[[0, step]] < 0.9 || example.truth[[5, step]] == 0.0 {
                    continue;
                }
                let left = f64::from(example.truth[[3, step]]) * ACROSS_UNIT;
                let row = (left / 1.5 + 23.5).round().clamp(0.0, 47.0) as usize;
                let bright = coronal[[2, row, 2 * step]];
                assert!(bright > -0.2, "seed {seed}, step {step}, {left:.0} mm to the left: {bright}");
                steps += 1;
            }
        }
        assert!(steps > 30, "{steps}");
    }

    #[test]
    fn the_gradient_is_that_of_the_loss() {
        let lesson = lesson();
        let examples: Vec<_> = (0..2).map(|seed| lesson.draw(&mut Legacy::seeded(seed))).collect();
        let steps = examples.iter().map(|example| example.truth.ncols()).max().unwrap();
        let truths: Vec<Truth> = examples.into_iter().map(|example| example.truth).collect();
        let answers = Array3::from_shape_vec((2, 4, steps), noise(8 * steps, 5)).unwrap();
        let verdict = lesson.judge(&answers, &truths);
        let mut checked = 0;
        for ((spine, channel, step), &slope) in
            verdict.gradient.indexed_iter().filter(|(_, g)| **g != 0.0).step_by(7)
        {
            let moved = |by: f32| {
                let mut answers = answers.clone();
                answers[[spine, channel, step]] += by;
                lesson.judge(&answers, &truths).loss
            };
            let estimate = (moved(1e-2) - moved(-1e-2)) / 2e-2;
            let bound = 1e-4 + 0.05 * slope.abs();
            assert!((estimate as f32 - slope).abs() < bound, "{estimate} against {slope}");
            checked += 1;
        }
        assert!(checked > 20);
    }
}
