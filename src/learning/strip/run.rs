//! Runs of spines for the network of names: a part of one spine, or of two people's, as it might have been scanned.

use ndarray::{ArrayViewMut1, Axis, concatenate, s};

use super::bodies::{SIZE, off, turn};
use super::lesson::Example;
use super::names::Truth;
use super::scanner::{between, rescanned};
use super::source::Source;
use crate::anatomy::Level;
use crate::network::StripArchitecture;
use crate::random::Legacy;
use crate::scan::distance;
use crate::spine::names::{BEYOND, NONE, marks};
use crate::straighten::{Across, Block, Course, UNSEEN};

/// Chance that the whole annotated run is shown; else a part of it, from three bodies on.
const WHOLE: f64 = 0.25;
/// Standard deviations in mm of what is wrong with each centre, to the left, back and head.
const OFF: [f64; 3] = [1.5, 2.0, 2.0];
/// Chance that a scan ends close beyond the run where it goes on, and how many half steps from it.
const NARROW: f64 = 0.75;
const ENDS: [f64; 2] = [0.45, 2.2];
/// How much the axes differ from the person's size: across, and along.
const AXIS: [f64; 2] = [0.92, 1.08];
const LONG: [f64; 2] = [0.95, 1.05];
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
/// Standard deviation of the slope at which ribs and what lies in front are moved along the spine, and the mm from the
/// course from which on they are: people breathe in or out, and organs do not lie at the same level in all.
const SLOPE: f64 = 0.15;
const STILL: f64 = 20.0;
/// A lower part that is joined begins so many mm above its first body, which is cut away.
const JOINED: f64 = 10.0;

/// What is seen of a run, and where its bodies lie in it.
struct Run {
    /// Hounsfield units `[left, back, along]`.
    block: Block,
    /// Places in pixels and classes, from the head down.
    points: Truth,
    /// Whether the spine goes on above and below in truth.
    goes_on: [bool; 2],
    /// Millimetres a pixel along the spine.
    step: f64,
    /// Where the block's columns were taken.
    across: Across,
}

/// A run of `source`, or of it and below that of `lower` where that has the same two neighbours; with
/// `breathing` ribs and organs lie higher or lower than they do. `None` of a spine that cannot be straightened.
pub(super) fn example(
    source: &Source,
    lower: Option<&Source>,
    breathing: bool,
    architecture: &StripArchitecture,
    random: &mut Legacy,
) -> Option<Example<Truth>> {
    let views = &architecture.views;
    let all = &source.bodies;
    let count = all.len() as i64;
    let length = if random.uniform() < WHOLE { count } else { random.integer(count.min(3), count + 1) };
    let first = random.integer(0, count - length + 1) as usize;
    let last = first + length as usize - 1;
    let mut bodies = roughly(source, first, last, random);
    disturb(&mut bodies, random);
    let size = between(random, SIZE);
    let [wide, deep, long] = [AXIS, AXIS, LONG].map(|axis| size * between(random, axis));
    let centres: Vec<[f64; 3]> = bodies.iter().map(|(mm, _)| *mm).collect();
    let mut course = Course::through(&centres, BEYOND / long, BEYOND / long, views.pitch / long)?;
    turn(&mut course, TURN * random.normal());
    let mirrored = if random.uniform() < 0.5 { -1.0 } else { 1.0 };
    let mut across = views.columns();
    let shifts = [SHIFT * random.normal(), SHIFT * random.normal()];
    across.left.iter_mut().for_each(|left| *left = *left * mirrored / wide + shifts[0]);
    across.back.iter_mut().for_each(|back| *back = *back / deep + shifts[1]);
    let mut run = Run {
        block: Block::of(&source.even, &course, &across),
        points: bodies.iter().map(|&(mm, class)| (course.place(mm).along, class)).collect(),
        goes_on: [first > 0, last + 1 < all.len()],
        step: course.step,
        across,
    };
    if let Some(lower) = lower {
        run.join(lower, BEYOND / long, random)?;
    }
    if breathing {
        run.breathe(&views.columns(), views.pitch, random);
    }
    let second = (first + 1).min(all.len() - 1);
    let half = (distance(all[first].mm, all[second].mm) / 2.0).max(12.0);
    run.narrow(half, random);
    rescanned(&mut run.block.values, random);
    let places: Vec<f64> = run.points.iter().map(|&(place, _)| place).collect();
    let steps = run.block.values.len_of(Axis(2)).div_ceil(architecture.pixels_per_step());
    let marks = marks(architecture, &places, steps);
    Some(Example { views: views.of(&run.block), marks: Some(marks), truth: run.points })
}

/// Bodies of a source as somebody would find them who is a little off: centres in mm and classes.
fn roughly(source: &Source, first: usize, last: usize, random: &mut Legacy) -> Vec<([f64; 3], usize)> {
    (first..=last).map(|index| (off(source.bodies[index].mm, OFF, random), class(source, index))).collect()
}

fn class(source: &Source, index: usize) -> usize {
    usize::from(source.bodies[index].level.value()) - 1
}

impl Run {
    /// Goes on with another person's spine below two bodies that both have: what is seen above then says nothing of the rib
    /// cage, the organs or the last ribs below, and each level has to be told by what is at it. The other's spine ends `beyond`
    /// mm below its last body, at no lower level than this one did. `None` if the other cannot be straightened.
    fn join(&mut self, other: &Source, beyond: f64, random: &mut Legacy) -> Option<()> {
        let both = |&(at, upper): &(usize, usize)| {
            let pair = [self.points[at].1, self.points[at + 1].1];
            pair == [class(other, upper), class(other, upper + 1)]
        };
        let pairs: Vec<(usize, usize)> = (0..self.points.len() - 1)
            .flat_map(|at| (0..other.bodies.len() - 1).map(move |upper| (at, upper)))
            .filter(both)
            .collect();
        if pairs.is_empty() {
            return Some(());
        }
        let (at, upper) = pairs[random.integer(0, pairs.len() as i64) as usize];
        let lowest = self.points.iter().rev().find(|point| point.1 != NONE).map_or(0, |point| point.1);
        let end =
            (upper + 1..other.bodies.len()).take_while(|&index| class(other, index) <= lowest).last()?;
        let bodies = roughly(other, upper, end, random);
        let centres: Vec<[f64; 3]> = bodies.iter().map(|(mm, _)| *mm).collect();
        // The other person is made as large as this one is between the two bodies.
        let apart = (self.points[at + 1].0 - self.points[at].0).max(2.0);
        let step = distance(centres[0], centres[1]) / apart;
        let larger = step / self.step;
        let mut course = Course::through(&centres, JOINED, beyond * larger, step)?;
        turn(&mut course, TURN * random.normal());
        let mut across = self.across.clone();
        across.left.iter_mut().chain(&mut across.back).for_each(|column| *column *= larger);
        let below = Block::of(&other.even, &course, &across).values;
        let places: Vec<f64> = centres.iter().map(|&mm| course.place(mm).along).collect();
        let from = ((places[0] + places[1]) / 2.0).round().max(0.0) as usize;
        let until = ((self.points[at].0 + self.points[at + 1].0) / 2.0).round().max(1.0) as usize;
        let above = &self.block.values;
        if from >= below.len_of(Axis(2)) || until > above.len_of(Axis(2)) {
            return Some(());
        }
        let parts = [above.slice(s![.., .., ..until]), below.slice(s![.., .., from..])];
        self.block.values = concatenate(Axis(2), &parts).ok()?.as_standard_layout().into_owned();
        self.points.truncate(at + 1);
        let moved = places
            .iter()
            .zip(&bodies)
            .map(|(place, &(_, class))| (place - from as f64 + until as f64, class));
        self.points.extend(moved.skip(1));
        self.goes_on[1] = end + 1 < other.bodies.len();
        Some(())
    }

    /// Moves ribs and what lies in front along the spine, the more the farther from it; `columns` are those of the views.
    fn breathe(&mut self, columns: &Across, pitch: f64, random: &mut Legacy) {
        let [ribs, front] = [(); 2].map(|()| SLOPE * random.normal());
        let far = |mm: f64| (mm - STILL).max(0.0) / pitch;
        let mut copy = Vec::new();
        for (mut plane, left) in self.block.values.outer_iter_mut().zip(&columns.left) {
            for (row, back) in plane.outer_iter_mut().zip(&columns.back) {
                let shift = ribs * far(left.abs()) + front * far(-back);
                if shift.abs() >= 0.05 {
                    moved(row, shift, &mut copy);
                }
            }
        }
    }

    /// Ends the scan close beyond the run where the spine goes on in truth, and at times to the sides and in front; `half` mm
    /// are half the way from body to body.
    fn narrow(&mut self, half: f64, random: &mut Legacy) {
        let mut cut = [0, self.block.values.len_of(Axis(2))];
        let ends = [self.points[0].0, self.points[self.points.len() - 1].0];
        for (side, goes_on) in self.goes_on.into_iter().enumerate() {
            if goes_on && random.uniform() < NARROW {
                let beyond = between(random, ENDS) * half / self.step;
                let at = if side == 0 { ends[0] - beyond } else { ends[1] + beyond };
                cut[side] = at.max(0.0) as usize;
            }
        }
        self.block.cut(cut[0], cut[1]);
        if random.uniform() < NARROW_SIDES {
            let [right, left] = [(); 2].map(|()| between(random, SIDES));
            for (index, &column) in self.across.left.iter().enumerate() {
                if column < -right || column > left {
                    self.block.values.slice_mut(s![index, .., ..]).fill(UNSEEN);
                }
            }
        }
        if random.uniform() < NARROW_FRONT {
            let front = between(random, FRONT);
            for (index, &column) in self.across.back.iter().enumerate() {
                if column < -front {
                    self.block.values.slice_mut(s![.., index, ..]).fill(UNSEEN);
                }
            }
        }
    }
}

/// Takes each value of a row from `shift` pixels further on; nothing is seen where that lies outside.
fn moved(mut row: ArrayViewMut1<f32>, shift: f64, copy: &mut Vec<f32>) {
    copy.clear();
    copy.extend(row.iter().copied());
    let (whole, part) = (shift.floor() as isize, (shift - shift.floor()) as f32);
    let at = |index: isize| {
        usize::try_from(index).ok().and_then(|index| copy.get(index)).copied().unwrap_or(UNSEEN)
    };
    for (index, value) in row.iter_mut().enumerate() {
        let (here, next) = (at(index as isize + whole), at(index as isize + whole + 1));
        let outside = here.min(next) <= UNSEEN + 1.0;
        *value = if outside { here.min(next) } else { here + (next - here) * part };
    }
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

#[cfg(test)]
mod tests {
    use super::super::source::tests::ladder;
    use super::*;
    use ndarray::Array1;

    #[test]
    fn another_persons_spine_goes_on_where_both_have_the_same_two_bodies() {
        let upper = ladder("a/1", &["T8", "T9", "T10", "T11", "T12", "L1"]);
        let mut lower = ladder("a/2", &["T10", "T11", "T12", "L1", "L2", "L3"]);
        lower.even.voxels.mapv_inplace(|value| value + 1000);
        let classes =
            |source: &Source| (0..source.bodies.len()).map(|i| class(source, i)).collect::<Vec<_>>();
        let across = Across::new([5, 5], 2.5, -5.0);
        for seed in 0..8 {
            let centres = upper.centres();
            let course = Course::through(&centres, 30.0, 30.0, 2.5).unwrap();
            let points = centres.iter().map(|&mm| course.place(mm).along).zip(classes(&upper)).collect();
            let block = Block::of(&upper.even, &course, &across);
            let mut run = Run { block, points, goes_on: [false; 2], step: 2.5, across: across.clone() };
            run.join(&lower, 30.0, &mut Legacy::seeded(seed)).unwrap();
            let names: Vec<usize> = run.points.iter().map(|point| point.1).collect();
            assert_eq!(names, classes(&upper), "as low as the first one went, and no lower");
            assert_eq!(run.goes_on, [false, true], "the other person has L2");
            // Flesh is 40 above and 1040 below; bodies are bone in both.
            let brightness = |place: f64| run.block.values[[2, 2, place.round() as usize]];
            let of_lower = run.points.iter().filter(|point| brightness(point.0) > 1100.0).count();
            assert!((1..=3).contains(&of_lower), "{of_lower}: joined at T10/T11 to T12/L1");
            // Bodies stand 10.4 pixels apart. Centres are off by 2 mm each, and with the two at the joint so is the size.
            let apart: Vec<f64> = run.points.windows(2).map(|pair| pair[1].0 - pair[0].0).collect();
            assert!(apart.iter().all(|pixels| (5.0..18.0).contains(pixels)), "{apart:?}");
        }
    }

    #[test]
    fn strangers_without_a_pair_in_common_are_not_joined() {
        let (upper, lower) = (ladder("a/1", &["T8", "T9", "T10"]), ladder("a/2", &["T10", "T11", "T12"]));
        let architecture = crate::spine::names::whole();
        let drawn = |lower| example(&upper, lower, false, &architecture, &mut Legacy::seeded(4)).unwrap();
        assert_eq!(drawn(None).truth, drawn(Some(&lower)).truth);
    }

    #[test]
    fn a_row_moves_by_parts_of_a_pixel_and_nothing_comes_in_from_outside() {
        let row = |shift: f64| {
            let mut row = Array1::from(vec![0.0, 10.0, 20.0, 30.0]);
            moved(row.view_mut(), shift, &mut Vec::new());
            row.to_vec()
        };
        assert_eq!(row(1.5), [15.0, 25.0, UNSEEN, UNSEEN]);
        assert_eq!(row(-1.0), [UNSEEN, 0.0, 10.0, 20.0]);
    }
}
