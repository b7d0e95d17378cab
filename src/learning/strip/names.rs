//! Lessons for the network that names the bodies of a spine.

use anyhow::Result;
use ndarray::{Array3, s};

use super::bodies::{SIZE, turn};
use super::lesson::{Example, Lesson, Verdict};
use super::scanner::{between, rescanned};
use super::source::{Source, Sources};
use crate::anatomy::{Level, Region};
use crate::learning::metrics::Scores;
use crate::network::output::softmax;
use crate::network::{StripArchitecture, StripPredictor};
use crate::random::Legacy;
use crate::scan::distance;
use crate::spine::Chain;
use crate::spine::names::{self, BEYOND, NONE, architecture, marks};
use crate::spine::turned::reading;
use crate::straighten::{Block, Course, UNSEEN};

/// Chance that the whole annotated run is shown; else a part of it, from three bodies on.
const WHOLE: f64 = 0.25;
/// Standard deviations in mm of what is wrong with each centre, to the left, back and head.
const OFF: [f64; 3] = [1.5, 2.0, 2.0];
/// Chance that a scan ends close beyond the run where it goes on, and how many half steps from it.
const NARROW: f64 = 0.75;
const ENDS: [f64; 2] = [0.45, 2.2];
/// How much the axes across may differ from the person's size.
const AXIS: [f64; 2] = [0.92, 1.08];
/// Standard deviations of the course's offset in mm and of its turn in radians.
const SHIFT: f64 = 4.0;
const TURN: f64 = 0.12;
/// Chance of a field of view that ends to the sides, so many mm from the course, and in front.
const NARROW_SIDES: f64 = 0.35;
const SIDES: [f64; 2] = [30.0, 100.0];
const NARROW_FRONT: f64 = 0.3;
const FRONT: [f64; 2] = [25.0, 90.0];
/// Chance of a point that is no vertebra: above C1, below S2, or between two bodies; and that a body is
/// missing.
const FALSE_END: f64 = 0.4;
const FALSE_BETWEEN: f64 = 0.07;
const MISSING: f64 = 0.12;
/// Share of the true level in what is aimed at, of each neighbour, and of all levels together.
const TRUE: f32 = 0.84;
const NEIGHBOUR: f32 = 0.03;
const ANY: f32 = 0.1;
/// Weights of the region's and of the whole run's loss.
const REGION: f32 = 0.5;
const RUN: f32 = 0.5;
/// Evidence in a run is never surer than this.
const DOUBT: f32 = 0.03;

/// Naming the bodies of annotated scans.
pub struct NameLesson {
    /// Scans to learn from.
    pub training: Sources,
    /// Scans to check with.
    pub testing: Sources,
}

/// The place of a body in pixels and its class: a level's value less one, or [`NONE`].
pub type Truth = Vec<(f64, usize)>;

impl Lesson for NameLesson {
    type Truth = Truth;

    fn architecture(&self) -> StripArchitecture {
        architecture()
    }

    fn draw(&self, random: &mut Legacy) -> Example<Truth> {
        loop {
            if let Some(example) = example(self.training.pick(random), &architecture(), random) {
                return example;
            }
        }
    }

    fn judge(&self, answers: &Array3<f32>, truths: &[Truth]) -> Verdict {
        let (spines, _, steps) = answers.dim();
        let architecture = architecture();
        let mut gradient = Array3::zeros(answers.dim());
        let (mut loss, mut right, mut region) = (0.0, 0.0, 0.0);
        for (spine, truth) in truths.iter().enumerate() {
            let places: Vec<(usize, f32)> =
                truth.iter().map(|&(place, _)| names::reading(&architecture, place, steps)).collect();
            let next = |step: usize| (step + 1).min(steps - 1);
            let logits: Vec<[f32; NONE + 1]> = places
                .iter()
                .map(|&(step, part)| {
                    let at = |k: usize, step: usize| answers[[spine, k, step]];
                    std::array::from_fn(|k| at(k, step) * (1.0 - part) + at(k, next(step)) * part)
                })
                .collect();
            let classes: Vec<usize> = truth.iter().map(|&(_, class)| class).collect();
            let spine_verdict = judge(&logits, &classes);
            loss += spine_verdict.loss / spines as f64;
            right += spine_verdict.right / spines as f64;
            region += spine_verdict.region / spines as f64;
            for (&(step, part), slopes) in places.iter().zip(&spine_verdict.slopes) {
                for (k, slope) in slopes.iter().enumerate() {
                    gradient[[spine, k, step]] += slope * (1.0 - part) / spines as f32;
                    gradient[[spine, k, next(step)]] += slope * part / spines as f32;
                }
            }
        }
        Verdict { loss, gradient, scores: vec![("right", right), ("region", region)] }
    }

    fn examine(&self, network: Box<dyn StripPredictor>) -> Result<Scores> {
        let networks = [network];
        let (mut right, mut all, mut whole) = (0.0, 0.0, 0.0);
        for source in &self.testing.all {
            let centres = source.centres();
            let named = reading(&source.even, &networks, &Chain::default(), &centres)?.named;
            let hits = named.iter().filter(|named| named.level == source.bodies[named.body].level).count();
            right += hits as f64;
            all += centres.len() as f64;
            whole += f64::from(u8::from(hits == centres.len()));
        }
        Ok(vec![("named", right / all), ("whole", whole / self.testing.all.len() as f64)])
    }
}

fn example(source: &Source, architecture: &StripArchitecture, random: &mut Legacy) -> Option<Example<Truth>> {
    let all = &source.bodies;
    let count = all.len() as i64;
    let length = if random.uniform() < WHOLE { count } else { random.integer(count.min(3), count + 1) };
    let first = random.integer(0, count - length + 1) as usize;
    let last = first + length as usize - 1;
    let mut points: Vec<([f64; 3], usize)> = Vec::new();
    for body in &all[first..=last] {
        let mut mm = body.mm;
        mm.iter_mut().zip(OFF).for_each(|(part, off)| *part += off * random.normal());
        points.push((mm, usize::from(body.level.value()) - 1));
    }
    let ends = [points[0].0, points[points.len() - 1].0];
    disturb(&mut points, random);
    let size = between(random, SIZE);
    let [wide, deep, long] = [AXIS, AXIS, [0.95, 1.05]].map(|axis| size * between(random, axis));
    let views = &architecture.views;
    let places: Vec<[f64; 3]> = points.iter().map(|(mm, _)| *mm).collect();
    let mut course = Course::through(&places, BEYOND / long, BEYOND / long, views.pitch / long)?;
    turn(&mut course, TURN * random.normal());
    let mirrored = if random.uniform() < 0.5 { -1.0 } else { 1.0 };
    let mut across = views.columns();
    let shifts = [SHIFT * random.normal(), SHIFT * random.normal()];
    across.left.iter_mut().for_each(|left| *left = *left * mirrored / wide + shifts[0]);
    across.back.iter_mut().for_each(|back| *back = *back / deep + shifts[1]);
    let mut block = Block::of(&source.even, &course, &across);
    // The scan may end close beyond the run where it goes on in truth.
    let second = (first + 1).min(all.len() - 1);
    let half = (distance(all[first].mm, all[second].mm) / 2.0).max(12.0);
    let mut cut = [0, course.len()];
    for (side, goes_on) in [first > 0, last + 1 < all.len()].into_iter().enumerate() {
        if goes_on && random.uniform() < NARROW {
            let beyond = between(random, ENDS) * half / course.step;
            let at = course.place(ends[side]).along;
            cut[side] =
                if side == 0 { (at - beyond).max(0.0) as usize } else { (at + beyond).max(0.0) as usize };
        }
    }
    block.cut(cut[0], cut[1]);
    if random.uniform() < NARROW_SIDES {
        let [right, left] = [(); 2].map(|()| between(random, SIDES));
        for (index, &column) in across.left.iter().enumerate() {
            if column < -right || column > left {
                block.values.slice_mut(s![index, .., ..]).fill(UNSEEN);
            }
        }
    }
    if random.uniform() < NARROW_FRONT {
        let front = between(random, FRONT);
        for (index, &column) in across.back.iter().enumerate() {
            if column < -front {
                block.values.slice_mut(s![.., index, ..]).fill(UNSEEN);
            }
        }
    }
    rescanned(&mut block.values, random);
    let truth: Truth = points.iter().map(|&(mm, class)| (course.place(mm).along, class)).collect();
    let along: Vec<f64> = truth.iter().map(|&(place, _)| place).collect();
    let steps = course.len().div_ceil(architecture.pixels_per_step());
    let marks = marks(architecture, &along, steps);
    Some(Example { views: views.of(&block), marks: Some(marks), truth })
}

/// Points that are no vertebra come in, and a body is missing, as it happens to those who find them.
fn disturb(points: &mut Vec<([f64; 3], usize)>, random: &mut Legacy) {
    const C1: usize = 0;
    const S2: usize = Level::MAX_VALUE as usize - 1;
    let between_points = |a: [f64; 3], b: [f64; 3], share: f64| {
        std::array::from_fn(|axis| a[axis] + share * (b[axis] - a[axis]))
    };
    if points.len() > 4 && random.uniform() < MISSING {
        points.remove(random.integer(1, points.len() as i64 - 1) as usize);
    }
    if points.len() > 2 && random.uniform() < FALSE_BETWEEN {
        let at = random.integer(0, points.len() as i64 - 1) as usize;
        let false_one = between_points(points[at].0, points[at + 1].0, 0.5);
        points.insert(at + 1, (false_one, NONE));
    }
    if points.len() < 2 {
        return;
    }
    if points[0].1 == C1 && random.uniform() < FALSE_END {
        let above = between_points(points[0].0, points[1].0, -between(random, [0.8, 1.4]));
        points.insert(0, (above, NONE));
    }
    let last = points.len() - 1;
    if points[last].1 == S2 && random.uniform() < FALSE_END {
        let below = between_points(points[last].0, points[last - 1].0, -between(random, [0.7, 1.2]));
        points.push((below, NONE));
    }
}

struct SpineVerdict {
    loss: f64,
    right: f64,
    region: f64,
    /// Of the logits of each body.
    slopes: Vec<[f32; NONE + 1]>,
}

fn region_of(class: usize) -> Option<Region> {
    Level::from_value(class as u8 + 1).map(Level::region)
}

/// The loss of one spine: each body's level and region, and how likely the true names are among all
/// that are shifted by the same number of levels.
fn judge(logits: &[[f32; NONE + 1]], classes: &[usize]) -> SpineVerdict {
    let count = logits.len().max(1) as f32;
    let bodies: Vec<usize> = (0..classes.len()).filter(|&i| classes[i] != NONE).collect();
    let real = bodies.len().max(1) as f32;
    let chances: Vec<[f32; NONE + 1]> = logits
        .iter()
        .map(|row| {
            let mut chances = *row;
            softmax(&mut chances);
            chances
        })
        .collect();
    let mut verdict =
        SpineVerdict { loss: 0.0, right: 0.0, region: 0.0, slopes: vec![[0.0; NONE + 1]; logits.len()] };
    // Slopes with respect to the probabilities, brought back to the logits at the end.
    let mut to_chances = vec![[0f32; NONE + 1]; logits.len()];
    for (i, (chance, &class)) in chances.iter().zip(classes).enumerate() {
        let mut wanted = [ANY / (NONE + 1) as f32; NONE + 1];
        if class == NONE {
            wanted[NONE] += 1.0 - ANY;
        } else {
            wanted[class] += TRUE;
            wanted[class.saturating_sub(1)] += NEIGHBOUR;
            wanted[(class + 1).min(NONE - 1)] += NEIGHBOUR;
        }
        for k in 0..=NONE {
            verdict.loss -= f64::from(wanted[k] * chance[k].max(1e-12).ln() / count);
            verdict.slopes[i][k] += (chance[k] - wanted[k]) / count;
        }
        let likeliest = (0..=NONE).fold(0, |a, b| if chance[b] > chance[a] { b } else { a });
        verdict.right += f64::from(f32::from(likeliest == class) / count);
        if let Some(region) = region_of(class) {
            let members = || (0..NONE).filter(move |&k| region_of(k) == Some(region));
            let share = members().map(|k| chance[k]).sum::<f32>().max(1e-6);
            verdict.loss -= f64::from(REGION * share.ln() / real);
            members().for_each(|k| to_chances[i][k] -= REGION / share / real);
            verdict.region += f64::from(f32::from(region_of(likeliest) == Some(region)) / real);
        }
    }
    if let (Some(&first), Some(&last)) = (bodies.first(), bodies.last()) {
        // Classes ascend, so all names fit if the first and the last do.
        let offsets: Vec<i32> = (-(NONE as i32)..=NONE as i32)
            .filter(|offset| {
                let fits = |body: usize| (0..NONE as i32).contains(&(classes[body] as i32 + offset));
                fits(first) && fits(last)
            })
            .collect();
        let at = |body: usize, offset: i32| (classes[body] as i32 + offset) as usize;
        let weight = Chain::default().weight(bodies.len()) as f32;
        let doubted = |chance: f32| chance * (1.0 - DOUBT) + DOUBT / (NONE + 1) as f32;
        let sums: Vec<f64> = offsets
            .iter()
            .map(|&offset| {
                let sum = bodies.iter().map(|&i| doubted(chances[i][at(i, offset)]).ln()).sum::<f32>();
                f64::from(weight * sum)
            })
            .collect();
        let all = names::log_sum(&sums);
        for (&offset, &sum) in offsets.iter().zip(&sums) {
            let likely = (sum - all).exp() as f32;
            if offset == 0 {
                verdict.loss -= f64::from(RUN) * (sum - all);
            }
            let slope = RUN * weight * (likely - f32::from(offset == 0));
            for &i in &bodies {
                let k = at(i, offset);
                to_chances[i][k] += slope * (1.0 - DOUBT) / doubted(chances[i][k]);
            }
        }
    }
    for ((slopes, chance), slope) in verdict.slopes.iter_mut().zip(&chances).zip(&to_chances) {
        let mean: f32 = chance.iter().zip(slope).map(|(p, s)| p * s).sum();
        for k in 0..=NONE {
            slopes[k] += chance[k] * (slope[k] - mean);
        }
    }
    verdict
}

#[cfg(test)]
mod tests {
    use super::super::source::tests::{ladder, sources};
    use super::*;
    use crate::kernels::noise;

    #[test]
    fn the_gradient_is_that_of_the_loss() {
        let classes = [17, 18, NONE, 19, 20];
        let values = noise(classes.len() * (NONE + 1), 3);
        let logits: Vec<[f32; NONE + 1]> =
            values.chunks_exact(NONE + 1).map(|row| std::array::from_fn(|k| 2.0 * row[k])).collect();
        let verdict = judge(&logits, &classes);
        for (i, slopes) in verdict.slopes.iter().enumerate() {
            for (k, &slope) in slopes.iter().enumerate() {
                let moved = |by: f32| {
                    let mut logits = logits.clone();
                    logits[i][k] += by;
                    judge(&logits, &classes).loss
                };
                let estimate = (moved(1e-2) - moved(-1e-2)) / 2e-2;
                assert!((estimate as f32 - slope).abs() < 2e-3, "{i} {k}: {estimate} against {slope}");
            }
        }
    }

    #[test]
    fn sure_and_right_is_cheap_and_shifted_by_one_is_dear() {
        let sure = |shift: usize| -> Vec<[f32; NONE + 1]> {
            (10..16)
                .map(|class| std::array::from_fn(|k| if k == class + shift { 8.0 } else { 0.0 }))
                .collect()
        };
        let classes: Vec<usize> = (10..16).collect();
        let (right, wrong) = (judge(&sure(0), &classes), judge(&sure(1), &classes));
        assert!(right.loss < 1.4 && wrong.loss > 5.0, "{} {}", right.loss, wrong.loss);
        assert_eq!((right.right as f32, wrong.right), (1.0, 0.0));
    }

    #[test]
    fn an_example_marks_its_bodies_in_order() {
        let levels = ["T12", "L1", "L2", "L3", "L4", "L5", "S1", "S2"];
        let lesson = NameLesson {
            training: sources(vec![ladder("a/1", &levels)]),
            testing: sources(vec![ladder("a/1", &levels)]),
        };
        let mut nones = 0;
        for seed in 0..30 {
            let Example { views, marks, truth } = lesson.draw(&mut Legacy::seeded(seed));
            assert_eq!((views[0].dim().0, views[0].dim().1, views[1].dim().1), (6, 80, 64));
            let marks = marks.unwrap();
            assert!(truth.windows(2).all(|pair| pair[0].0 < pair[1].0), "{truth:?}");
            for &(place, class) in &truth {
                let (step, _) = names::reading(&architecture(), place, marks.ncols());
                assert!(marks[[0, step]].max(marks[[0, (step + 1).min(marks.ncols() - 1)]]) > 0.3);
                nones += usize::from(class == NONE);
            }
        }
        assert!(nones > 0);
    }
}
