//! Lessons for the networks that name the bodies of a spine.

use anyhow::Result;
use ndarray::{Array3, Axis};

use super::lesson::{Example, Lesson, Verdict};
use super::run::example;
use super::source::Sources;
use crate::anatomy::{Level, Region};
use crate::learning::metrics::Scores;
use crate::network::output::softmax;
use crate::network::{StripArchitecture, StripPredictor};
use crate::random::Legacy;
use crate::spine::Chain;
use crate::spine::names::{self, NONE};

/// Chance that a run goes on with another person's spine. The network that sees the whole spine is shown it as it is: taught on
/// joined runs, too, it is worth less beside the other (-0.047 for -0.032 a body in the folds).
const JOINED: f64 = 0.4;
/// Runs drawn from the scans kept for testing, disturbed as those that are learned from: a few scans named whole are right or
/// wrong by chance, and their loss moves too slowly to choose by.
const DRAWS: u32 = 320;
const DRAWS_SEED: u32 = 77_000;
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
    /// What learns: a network that sees the whole spine, or the bones around a body ([`names::whole`], [`names::near`]).
    pub whole: bool,
}

/// The place of a body in pixels and its class: a level's value less one, or [`NONE`].
pub type Truth = Vec<(f64, usize)>;

impl Lesson for NameLesson {
    type Truth = Truth;

    fn architecture(&self) -> StripArchitecture {
        if self.whole { names::whole() } else { names::near() }
    }

    fn draw(&self, random: &mut Legacy) -> Example<Truth> {
        loop {
            let source = self.training.pick(random);
            let disturbed = !self.whole;
            let lower = (disturbed && random.uniform() < JOINED).then(|| self.training.pick(random));
            if let Some(example) = example(source, lower, disturbed, &self.architecture(), random) {
                return example;
            }
        }
    }

    fn judge(&self, answers: &Array3<f32>, truths: &[Truth]) -> Verdict {
        let (spines, _, steps) = answers.dim();
        let architecture = self.architecture();
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
        let (mut right, mut all, mut whole) = (0.0, 0.0, 0.0);
        for source in &self.testing.all {
            let centres = source.centres();
            let looks = names::probabilities(&source.even, network.as_ref(), &centres)?;
            let named = Chain::default().name(&centres, &looks);
            let hits = named.iter().filter(|named| named.level == source.bodies[named.body].level).count();
            right += hits as f64;
            all += centres.len() as f64;
            whole += f64::from(u8::from(hits == centres.len()));
        }
        let mut loss = 0.0;
        let mut judged = 0;
        for number in 0..DRAWS {
            let random = &mut Legacy::seeded(DRAWS_SEED + number);
            let Some(drawn) = example(self.testing.pick(random), None, true, &self.architecture(), random)
            else {
                continue;
            };
            let answer = network.predict(drawn.views, drawn.marks)?.insert_axis(Axis(0));
            loss += self.judge(&answer, &[drawn.truth]).loss;
            judged += 1;
        }
        Ok(vec![
            ("named", right / all),
            ("whole", whole / self.testing.all.len() as f64),
            ("loss", loss / f64::from(judged.max(1))),
        ])
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
        let weight = Chain::default().weight(bodies.len() as f64) as f32;
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
            whole: false,
        };
        let architecture = lesson.architecture();
        let mut nones = 0;
        for seed in 0..30 {
            let Example { views, marks, truth } = lesson.draw(&mut Legacy::seeded(seed));
            assert_eq!((views[0].dim().0, views[0].dim().1, views[1].dim().1), (7, 64, 48));
            let marks = marks.unwrap();
            assert!(truth.windows(2).all(|pair| pair[0].0 < pair[1].0), "{truth:?}");
            for &(place, class) in &truth {
                let (step, _) = names::reading(&architecture, place, marks.ncols());
                assert!(marks[[0, step]].max(marks[[0, (step + 1).min(marks.ncols() - 1)]]) > 0.3);
                nones += usize::from(class == NONE);
            }
        }
        assert!(nones > 0);
    }
}
