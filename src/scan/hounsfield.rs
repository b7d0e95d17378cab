//! Whether intensities are Hounsfield units, judged by where most of them lie.
//!
//! The lowest and the highest voxel say little: padding of -2000 hides that air lies at 24, and one bright
//! voxel of metal that a picture was cut off at 240. In a CT nearly everything is air, lung, fat or
//! flesh, and little is in between or brighter.

use ndarray::{Array3, Axis, parallel::prelude::*};
use serde::{Deserialize, Serialize};

/// What is wrong with intensities.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Problem {
    /// All voxels are alike.
    Constant,
    /// Flesh lies some thousand units too high or too low.
    Shifted,
    /// Air is bright and bone is dark.
    Inverted,
    /// What is darker or brighter than a window was cut off.
    Windowed,
    /// Many voxels hold one number that no tissue has.
    Padded,
    /// They lie where those of a CT do not.
    NotHounsfield,
}

/// What is wrong, and a sentence that says how that shows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Finding {
    /// What is wrong.
    pub problem: Problem,
    /// How that shows.
    pub sentence: String,
}

/// Hounsfield units of a bin, and where bins begin and end; padding below is not counted.
const BIN: f64 = 8.0;
const LOWEST: f64 = -1536.0;
const HIGHEST: f64 = 4096.0;
const BINS: usize = ((HIGHEST - LOWEST) / BIN) as usize;
/// Air and lung, and fat to flesh and blood with contrast, in Hounsfield units.
const AIR: [f64; 2] = [-1120.0, -640.0];
const FLESH: [f64; 2] = [-240.0, 260.0];
/// Above this only dense bone and metal lie, a small part of any CT.
const DENSE: f64 = 700.0;
/// Of all voxels, at least this share of a CT is air, lung, fat or flesh, and at most this share is dense.
/// (Of the 72 annotated CTs of docs/accuracy.md the first is 82 % at least, the second 3.4 % at most.)
const LIKELY: f64 = 0.65;
/// Shares of flesh and of bone that are in every picture of a trunk.
const LEAST_FLESH: f64 = 0.1;
const LEAST_BONE: f64 = 0.003;
const MOST_DENSE: f64 = 0.2;
/// Where air lies with the other sign, where dense bone ends before that, and the smallest heap of air.
const HEAP: [f64; 2] = [720.0, 1120.0];
const SLOPE: [f64; 2] = [320.0, 720.0];
const LEAST_HEAP: f64 = 0.02;
/// The heap against the slope before it: of bone alone 0.45 at most on those 72 scans, 0.83 of one of them with the other
/// sign.
const STEEP: f64 = 0.6;
/// Offsets that scanners' raw numbers and careless programs have.
const OFFSETS: [f64; 4] = [1024.0, 1000.0, -1024.0, -1000.0];
/// A share of voxels that hold exactly one number; air outside the patient often does, other tissue never.
const SPIKE: f64 = 0.02;
/// One number above all tissue, or any above the second share, is padding.
const PADDING: f64 = 0.03;

/// What is known of the intensities of a volume.
struct Histogram {
    /// Voxels in each bin.
    bins: Vec<u64>,
    /// Voxels that were counted: finite and above padding.
    counted: u64,
    all: u64,
    lowest: f32,
    highest: f32,
    /// Voxels that hold exactly the lowest and the highest number.
    at_ends: [u64; 2],
    /// Voxels above [`HIGHEST`].
    beyond: u64,
}

impl Histogram {
    fn of(voxels: &Array3<f32>) -> Histogram {
        let merge = |mut a: Histogram, b: Histogram| {
            a.bins.iter_mut().zip(&b.bins).for_each(|(a, b)| *a += b);
            a.counted += b.counted;
            a.all += b.all;
            a.beyond += b.beyond;
            for (end, better) in [(0, b.lowest < a.lowest), (1, b.highest > a.highest)] {
                let (own, other) = if end == 0 { (a.lowest, b.lowest) } else { (a.highest, b.highest) };
                if better {
                    a.at_ends[end] = b.at_ends[end];
                } else if own == other {
                    a.at_ends[end] += b.at_ends[end];
                }
            }
            a.lowest = a.lowest.min(b.lowest);
            a.highest = a.highest.max(b.highest);
            a
        };
        let planes = voxels.axis_iter(Axis(0)).into_par_iter();
        planes
            .map(|plane| {
                let mut own = Histogram::empty();
                for &value in plane {
                    own.add(value);
                }
                own
            })
            .reduce(Histogram::empty, merge)
    }

    fn empty() -> Histogram {
        Histogram {
            bins: vec![0; BINS],
            counted: 0,
            all: 0,
            lowest: f32::INFINITY,
            highest: f32::NEG_INFINITY,
            at_ends: [0; 2],
            beyond: 0,
        }
    }

    fn add(&mut self, value: f32) {
        self.all += 1;
        for (end, better, same) in
            [(0, value < self.lowest, value == self.lowest), (1, value > self.highest, value == self.highest)]
        {
            if better {
                self.at_ends[end] = 1;
            } else if same {
                self.at_ends[end] += 1;
            }
        }
        self.lowest = self.lowest.min(value);
        self.highest = self.highest.max(value);
        let bin = (f64::from(value) - LOWEST) / BIN;
        if bin >= BINS as f64 {
            self.beyond += 1;
            self.counted += 1;
        } else if bin >= 0.0 {
            self.bins[bin as usize] += 1;
            self.counted += 1;
        }
    }

    /// Share of the counted voxels between two intensities.
    fn share(&self, [low, high]: [f64; 2]) -> f64 {
        let index = |value: f64| (((value - LOWEST) / BIN).round().max(0.0) as usize).min(BINS);
        let beyond = if high >= HIGHEST { self.beyond } else { 0 };
        let sum: u64 = self.bins[index(low)..index(high).max(index(low))].iter().sum();
        (sum + beyond) as f64 / self.counted.max(1) as f64
    }

    /// How well intensities fit a CT whose numbers are `offset` too high: air, lung, fat and flesh where they
    /// should be, and some flesh and some bone at least.
    fn fits(&self, offset: f64) -> f64 {
        let flesh = self.share(FLESH.map(|hu| hu + offset));
        let bone = self.share([FLESH[1] + offset, HIGHEST]);
        let seen = flesh > LEAST_FLESH && (offset == 0.0 || bone > LEAST_BONE);
        if seen { flesh + self.share(AIR.map(|hu| hu + offset)) } else { 0.0 }
    }

    /// Whether numbers have the other sign: there is a heap where air would be with it, and none where air
    /// is. Bone alone makes none: the denser, the less there is of it.
    fn inverted(&self) -> bool {
        let heap = self.share(HEAP);
        heap > LEAST_HEAP && heap > STEEP * self.share(SLOPE) && self.share(AIR) < heap / 3.0
    }
}

/// What is wrong with the intensities of a volume, as far as that can be told.
pub fn judge(voxels: &Array3<f32>) -> Option<Finding> {
    let histogram = Histogram::of(voxels);
    let Histogram { lowest, highest, at_ends, all, .. } = histogram;
    let finding = |problem, sentence: String| {
        Some(Finding {
            problem,
            sentence: format!("{sentence}; if the values are no Hounsfield units, the result means nothing"),
        })
    };
    if lowest == highest {
        return finding(Problem::Constant, format!("every voxel is {lowest}"));
    }
    let percent = |share: f64| format!("{:.0} %", 100.0 * share);
    let spikes = at_ends.map(|count| count as f64 / all as f64);
    if f64::from(highest) >= 2500.0 && spikes[1] > PADDING {
        return finding(
            Problem::Padded,
            format!("{} of the voxels are exactly {highest}, which no tissue is", percent(spikes[1])),
        );
    }
    let fits = histogram.fits(0.0);
    let dense = histogram.share([DENSE, HIGHEST]);
    let wrong = fits < LIKELY || dense > MOST_DENSE;
    if wrong {
        let shifted = |&offset: &f64| histogram.fits(offset);
        let offset = OFFSETS.into_iter().max_by(|a, b| shifted(a).total_cmp(&shifted(b))).unwrap_or(0.0);
        if histogram.fits(offset) > fits.max(LIKELY) {
            return finding(
                Problem::Shifted,
                format!(
                    "air and flesh lie about {:.0} Hounsfield units too {} ({} of the voxels are where those of a CT are \
                     after that)",
                    offset.abs(),
                    if offset > 0.0 { "high" } else { "low" },
                    percent(histogram.fits(offset))
                ),
            );
        }
    }
    if histogram.inverted() {
        return finding(
            Problem::Inverted,
            format!("air is bright and bone is dark ({} of the voxels are above {DENSE})", percent(dense)),
        );
    }
    // A picture that was cut off ends in a heap at either side.
    let cut = f64::from(lowest) > AIR[1] && (spikes[0] > SPIKE || f64::from(lowest) > FLESH[0] + 40.0);
    if cut {
        return finding(
            Problem::Windowed,
            format!(
                "no voxel is as dark as air (the lowest is {lowest}, of {} of the voxels)",
                percent(spikes[0])
            ),
        );
    }
    if highest < 150.0 {
        return finding(
            Problem::Windowed,
            format!("no voxel is as bright as bone (the highest is {highest})"),
        );
    }
    if wrong {
        return finding(
            Problem::NotHounsfield,
            format!(
                "only {} of the voxels are as dark or bright as air, lung, fat or flesh in a CT",
                percent(fits)
            ),
        );
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Legacy;

    /// A trunk: air, lung, fat, flesh and bone with noise.
    fn trunk(change: impl Fn(f64) -> f64) -> Array3<f32> {
        let mut random = Legacy::seeded(1);
        Array3::from_shape_fn((30, 30, 40), |_| {
            let (share, noise) = (random.uniform(), 15.0 * random.normal());
            let tissue = match share {
                s if s < 0.25 => -1000.0,
                s if s < 0.35 => -830.0,
                s if s < 0.55 => -95.0,
                s if s < 0.92 => 50.0,
                s if s < 0.98 => 350.0,
                _ => 900.0,
            };
            change(tissue + noise) as f32
        })
    }

    fn problem(change: impl Fn(f64) -> f64) -> Option<Problem> {
        judge(&trunk(change)).map(|finding| finding.problem)
    }

    #[test]
    fn a_ct_is_one_with_and_without_air_and_with_padding() {
        assert_eq!(problem(|hu| hu), None);
        // Cropped to the spine: flesh and bone, no air outside.
        assert_eq!(problem(|hu| if hu < -900.0 { 60.0 } else { hu }), None);
        assert_eq!(problem(|hu| if hu < -990.0 { -3024.0 } else { hu }), None);
    }

    #[test]
    fn numbers_that_are_shifted_are_told_by_where_flesh_lies_whatever_the_padding() {
        let finding = judge(&trunk(|hu| hu + 1024.0)).unwrap();
        assert_eq!(finding.problem, Problem::Shifted);
        assert!(finding.sentence.contains("too high"), "{}", finding.sentence);
        let padded = |hu: f64| if hu < -995.0 { -2000.0 } else { hu + 1024.0 };
        assert_eq!(problem(padded), Some(Problem::Shifted));
        assert_eq!(problem(|hu| hu - 1000.0), Some(Problem::Shifted));
    }

    #[test]
    fn inverted_windowed_constant_and_foreign_pictures_are_told_apart() {
        assert_eq!(problem(|hu| -hu), Some(Problem::Inverted));
        assert_eq!(problem(|hu| hu.clamp(-160.0, 240.0)), Some(Problem::Windowed));
        assert_eq!(problem(|hu| ((hu + 160.0) / 400.0 * 255.0).clamp(0.0, 255.0)), Some(Problem::Windowed));
        assert_eq!(problem(|_| 7.0), Some(Problem::Constant));
        // Magnetic resonance, about its mean: no bone and no air, bright fat.
        let resonance = |hu: f64| match hu {
            hu if hu < -300.0 => -500.0,
            hu if hu < -20.0 => 400.0,
            hu if hu < 150.0 => -100.0,
            _ => -420.0,
        };
        let noisy = |hu: f64| resonance(hu) + 0.5 * (hu % 37.0);
        assert_eq!(problem(noisy), Some(Problem::NotHounsfield));
    }

    #[test]
    fn numbers_that_wrapped_around_or_pad_above_all_tissue_are_named() {
        let finding = judge(&trunk(|hu| if hu < -990.0 { 64_512.0 } else { hu })).unwrap();
        assert_eq!(finding.problem, Problem::Padded);
        assert!(finding.sentence.contains("64512"), "{}", finding.sentence);
    }
}
