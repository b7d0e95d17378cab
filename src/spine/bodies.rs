//! From a rough course to the exact centres of all bodies.
//!
//! A network looks at the straightened spine and says where along it centres lie, and how far from
//! the course. A course through these is better than the one before and reaches further, so this is
//! done again until no centre moves and no end grows: one body anywhere is enough to begin with.

use anyhow::Result;

use crate::network::output::sigmoid;
use crate::network::{Reading, StripArchitecture, StripPredictor};
use crate::scan::distance;
use crate::straighten::{Block, Course, Even, Kind, Place, View, Views, Window};

/// Millimetres that a course goes on beyond its ends, so that the next body can be seen whole: two
/// lumbar bodies and a half.
pub(crate) const BEYOND: f64 = 48.0;
/// Millimetres of the network's offsets for each unit of its answer: along the course one step, across it ten.
pub(crate) const ACROSS_UNIT: f64 = 10.0;
/// A centre is where the network is this sure of one.
const THRESHOLD: f32 = 0.35;
/// Steps of the answer to either side in which a centre has to be the likeliest.
const PEAK: usize = 3;
/// Centres closer than this in mm are one: cervical bodies stand 12 mm apart at least.
const CLOSE: f64 = 9.0;
/// Rounds at most: the longest way is from one body in the middle to both ends, two bodies a round.
const ROUNDS: usize = 20;
/// Done when centres move by no more than this on average and none by more than that, in mm.
const STILL: f64 = 0.8;
const JUMP: f64 = 3.0;
/// A row of so many bodies holds what is found within it to so many mm beside its course. One of its bodies
/// that has no other within so many mm stays, with this score, in place of one that was found about as high.
const HELD: usize = 4;
const ASIDE: f64 = 11.0;
const OWN: f64 = 12.0;
const IN_PLACE: f64 = 20.0;
const ROUGH: f64 = 0.3;
/// The sharpest turn from one step to the next and the largest angle of a step to the axis of the patient, in radians
/// (50 and 80 degrees: at the sacrum a spine turns by 45 and lies nearly flat), and how much longer one step
/// is than its neighbour, where a body is missing too.
const SHARPEST: f64 = 0.87;
const STEEPEST: f64 = 1.4;
const LONGER: f64 = 2.6;
/// One body alone begins a course of so many mm above and below it.
const ALONE: f64 = 13.0;

/// Channels of the answer.
pub(crate) mod channel {
    /// Logit of a centre being at this step.
    pub(crate) const CENTRE: usize = 0;
    /// Steps from here to it.
    pub(crate) const ALONG: usize = 1;
    /// Its distance to the left of the course, in [`super::ACROSS_UNIT`].
    pub(crate) const LEFT: usize = 2;
    /// Its distance to the back.
    pub(crate) const BACK: usize = 3;
}

/// A vertebral body.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Body {
    /// Its centre in mm, LPS.
    pub mm: [f64; 3],
    /// How sure the network is of it, from 0 to 1.
    pub score: f64,
}

/// The network and its views: soft tissue and bone in the midline and around it, from both sides, the
/// arches behind.
pub fn architecture() -> StripArchitecture {
    let soft = Window { centre: 80.0, width: 240.0, limits: [-1.0, 1.0] };
    let bone = Window { centre: 300.0, width: 500.0, limits: [-1.0, 1.5] };
    let mean = |side: f64| View { window: soft, range: [-side, side], kind: Kind::Mean };
    let brightest = |range| View { window: bone, range, kind: Kind::Brightest };
    StripArchitecture {
        reading: Reading::Bodies,
        views: Views {
            pitch: 1.5,
            across: [48, 64],
            front: -48.0,
            coronal: vec![mean(6.0), mean(14.0), brightest([-14.0, 14.0]), brightest([12.0, 36.0])],
            sagittal: vec![mean(4.5), mean(12.0), brightest([-12.0, 12.0]), mean(27.0)],
        },
        widths: vec![32, 32, 48, 64],
        along: vec![1, 2, 1, 1],
        features: 96,
        marks: 0,
        hidden: 128,
        taps: 9,
        blocks: 4,
        outputs: 4,
    }
}

/// All bodies that can be reached from `start`, points in mm along a spine in any order, from the head
/// down; none if there is no body.
pub(crate) fn locate(even: &Even, network: &dyn StripPredictor, start: &[[f64; 3]]) -> Result<Vec<Body>> {
    let mut points = start.to_vec();
    points.sort_by(|a, b| b[2].total_cmp(&a[2]));
    points = line(points);
    let tether = Tether::of(&points);
    let mut bodies: Vec<Body> = Vec::new();
    for _ in 0..ROUNDS {
        let mut found = look(even, network, &points)?;
        if let Some(tether) = &tether {
            tether.hold(&mut found);
        }
        let found = spinal(found);
        let moved: Vec<f64> = found.iter().zip(&bodies).map(|(a, b)| distance(a.mm, b.mm)).collect();
        let same = found.len() == bodies.len()
            && moved.iter().sum::<f64>() <= STILL * moved.len() as f64
            && moved.iter().all(|&mm| mm <= JUMP);
        if same {
            // Two looks from slightly different courses: their mean is nearer than either.
            let mean = |(a, b): (&Body, &Body)| Body {
                mm: std::array::from_fn(|axis| (a.mm[axis] + b.mm[axis]) / 2.0),
                score: (a.score + b.score) / 2.0,
            };
            return Ok(found.iter().zip(&bodies).map(mean).collect());
        }
        bodies = found;
        points = line(bodies.iter().map(|body| body.mm).collect());
    }
    Ok(bodies)
}

/// Points that a course can be laid through: of one alone, one above and one below it.
pub(super) fn line(points: Vec<[f64; 3]>) -> Vec<[f64; 3]> {
    match points[..] {
        [[x, y, z]] => vec![[x, y, z + ALONE], [x, y, z - ALONE]],
        _ => points,
    }
}

/// A rough row of several bodies, which is not wrong by much to the sides: what is found far beside it is
/// something else (a bright vessel), and the row's own body stays in its place.
struct Tether {
    row: Vec<[f64; 3]>,
    course: Course,
}

impl Tether {
    fn of(row: &[[f64; 3]]) -> Option<Tether> {
        // A row that wanders is right about nothing.
        let bodies: Vec<Body> = row.iter().map(|&mm| Body { mm, score: ROUGH }).collect();
        if row.len() < HELD || spinal(bodies).len() < row.len() {
            return None;
        }
        Some(Tether { row: row.to_vec(), course: Course::through(row, 0.0, 0.0, 1.5)? })
    }

    fn hold(&self, bodies: &mut Vec<Body>) {
        let last = (self.course.len() - 1) as f64;
        let aside = |mm: [f64; 3]| {
            let Place { along, across: [left, back] } = self.course.place(mm);
            (0.0..=last).contains(&along) && left.hypot(back) > ASIDE
        };
        let lost = bodies.iter().filter(|body| aside(body.mm)).count();
        // Where most of them lie aside, it is the row that is wrong (along the canal, filled with contrast agent).
        if lost == 0 || 2 * lost > bodies.len() {
            return;
        }
        let dropped: Vec<f64> = bodies.iter().filter(|body| aside(body.mm)).map(|body| body.mm[2]).collect();
        bodies.retain(|body| !aside(body.mm));
        for &mm in &self.row {
            let nearest = bodies.iter().map(|body| distance(body.mm, mm)).fold(f64::INFINITY, f64::min);
            let stood = dropped.iter().any(|height| (height - mm[2]).abs() < IN_PLACE);
            if stood && nearest > OWN {
                bodies.push(Body { mm, score: ROUGH });
            }
        }
        bodies.sort_by(|a, b| b.mm[2].total_cmp(&a.mm[2]));
    }
}

/// The longest part of a row in which every step goes on from the one before: a course that has left the spine
/// wanders, and a spine does not.
fn spinal(bodies: Vec<Body>) -> Vec<Body> {
    let step =
        |i: usize| -> [f64; 3] { std::array::from_fn(|axis| bodies[i + 1].mm[axis] - bodies[i].mm[axis]) };
    let length = |v: [f64; 3]| v.iter().map(|part| part * part).sum::<f64>().sqrt();
    let steps = bodies.len().saturating_sub(1);
    let down = |i: usize| -step(i)[2] >= STEEPEST.cos() * length(step(i));
    let on = |i: usize| {
        let (a, b) = (step(i - 1), step(i));
        let dot: f64 = (0..3).map(|axis| a[axis] * b[axis]).sum();
        let (a, b) = (length(a), length(b));
        dot >= SHARPEST.cos() * a * b && b <= LONGER * a && a <= LONGER * b
    };
    let (mut best, mut start) = (0..bodies.len().min(1), 0);
    for i in 0..steps {
        if !down(i) {
            start = i + 1;
        } else if i > start && !on(i) {
            // The last step may begin a part of its own.
            start = i;
        }
        if i + 2 - start > best.len() && start <= i {
            best = start..i + 2;
        }
    }
    bodies[best].to_vec()
}

/// One look along a course through `points`.
pub fn look(even: &Even, network: &dyn StripPredictor, points: &[[f64; 3]]) -> Result<Vec<Body>> {
    let architecture = network.architecture();
    let views = &architecture.views;
    let Some(course) = Course::through(points, BEYOND, BEYOND, views.pitch) else {
        return Ok(Vec::new());
    };
    let block = Block::of(even, &course, &views.columns());
    let answer = network.predict(views.of(&block), None)?;
    let pixels = architecture.pixels_per_step() as f64;
    let chance = answer.row(channel::CENTRE).mapv(sigmoid);
    let mut found: Vec<(f64, Body)> = Vec::new();
    for step in 0..chance.len() {
        let near = step.saturating_sub(PEAK)..(step + PEAK + 1).min(chance.len());
        if chance[step] < THRESHOLD || near.into_iter().any(|other| chance[other] > chance[step]) {
            continue;
        }
        let value = |channel: usize| f64::from(answer[[channel, step]]);
        let along = architecture.middle(step) + value(channel::ALONG) * pixels;
        if !(0.0..=(course.len() - 1) as f64).contains(&along) {
            continue;
        }
        let across = [channel::LEFT, channel::BACK].map(|channel| value(channel) * ACROSS_UNIT);
        let body = Body { mm: course.point(Place { along, across }), score: f64::from(chance[step]) };
        found.push((along, body));
    }
    found.sort_by(|a, b| b.1.score.total_cmp(&a.1.score));
    let mut kept: Vec<(f64, Body)> = Vec::new();
    for (along, body) in found {
        if kept.iter().all(|(_, other)| distance(other.mm, body.mm) > CLOSE) {
            kept.push((along, body));
        }
    }
    kept.sort_by(|a, b| a.0.total_cmp(&b.0));
    Ok(kept.into_iter().map(|(_, body)| body).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(places: &[[f64; 2]]) -> Vec<Body> {
        places.iter().map(|&[y, z]| Body { mm: [0.0, y, z], score: 1.0 }).collect()
    }

    #[test]
    fn what_is_found_far_beside_a_row_is_none_of_it() {
        let row: Vec<[f64; 3]> = (0..6).map(|i| [60.0, 50.0, 200.0 - 25.0 * f64::from(i)]).collect();
        let tether = Tether::of(&row).unwrap();
        let body = |x: f64, z: f64| Body { mm: [x, 52.0, z], score: 0.9 };
        // The third one lies in a vessel 26 mm to the left; one goes on below the row, wherever that is.
        let mut found = vec![
            body(61.0, 203.0),
            body(64.0, 177.0),
            body(86.0, 150.0),
            body(59.0, 122.0),
            body(95.0, 50.0),
        ];
        tether.hold(&mut found);
        let places: Vec<[f64; 2]> = found.iter().map(|body| [body.mm[0], body.mm[2]]).collect();
        let kept = [[61.0, 203.0], [64.0, 177.0], [60.0, 150.0], [59.0, 122.0], [95.0, 50.0]];
        assert_eq!(places, kept);
        // Of a row that lies beside the spine altogether nothing is kept.
        let spine: Vec<Body> = (0..6).map(|i| body(82.0, 200.0 - 25.0 * f64::from(i))).collect();
        let mut found = spine.clone();
        tether.hold(&mut found);
        assert_eq!(found, spine);
        assert!(Tether::of(&row[..3]).is_none());
        let mut wandering = row.clone();
        wandering[3] = [60.0, 85.0, 130.0];
        assert!(Tether::of(&wandering).is_none());
    }

    #[test]
    fn a_row_that_turns_back_or_jumps_ends_there() {
        let spine = [[0.0, 100.0], [5.0, 80.0], [12.0, 60.0], [16.0, 38.0], [10.0, 12.0]];
        assert_eq!(spinal(row(&spine)), row(&spine));
        // At the end it wanders to the front and up again.
        let astray = [&spine[..], &[[-30.0, 10.0], [-60.0, 40.0]]].concat();
        assert_eq!(spinal(row(&astray)), row(&spine));
        let jump = [&[[0.0, 260.0], [0.0, 180.0]], &spine[..]].concat();
        assert_eq!(spinal(row(&jump)), row(&spine));
        assert_eq!((spinal(row(&[])).len(), spinal(row(&spine[..1])).len()), (0, 1));
    }
}
