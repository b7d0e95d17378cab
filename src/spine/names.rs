//! How likely each body of a spine is each level, as two networks see it: one by the bones around the body, one by the whole spine.

use anyhow::Result;
use ndarray::{Array2, Axis, s};

use crate::anatomy::Level;
use crate::network::{Reading, StripArchitecture, StripPredictor};
use crate::spine::bodies::line;
use crate::straighten::{Block, Course, Even, Kind, View, Views, Window};

/// Millimetres seen above the first and below the last body: the skull's base, the first ribs, the sacrum.
pub(crate) const BEYOND: f64 = 60.0;
/// Channels of the answer: the values of a labelling less one, then that a point is no vertebra.
pub const NONE: usize = Level::MAX_VALUE as usize;
/// Width in steps of the mark that a body leaves, and steps by which the mark of the whole run reaches
/// beyond it, in pixels.
const MARK: f64 = 2.5;
const RUN: f64 = 5.0;
/// Shows bone, in both networks' views.
const BONE: Window = Window { centre: 250.0, width: 500.0, limits: [-1.0, 1.5] };

/// A network that sees the bones within 60 mm of a body along the spine: in slices from the front (bodies, joints of ribs,
/// transverse processes, arches) and from the side. It can neither count from one end nor go by where liver and lungs end, so
/// what it says of a body stands at that body.
pub fn near() -> StripArchitecture {
    let view = |kind, range| View { window: BONE, range, kind };
    let (brightest, mean) = (Kind::Brightest, Kind::Mean);
    StripArchitecture {
        reading: Reading::Names,
        views: Views {
            pitch: 2.0,
            across: [64, 48],
            front: -36.0,
            coronal: vec![
                view(mean, [-12.0, 8.0]),
                view(brightest, [-2.0, 8.0]),
                view(brightest, [8.0, 18.0]),
                view(brightest, [18.0, 26.0]),
                view(brightest, [26.0, 34.0]),
                view(brightest, [34.0, 42.0]),
                view(brightest, [42.0, 60.0]),
            ],
            sagittal: vec![
                view(mean, [-7.5, 7.5]),
                view(brightest, [-25.0, 25.0]),
                view(brightest, [-65.0, 65.0]),
            ],
        },
        widths: vec![32, 48, 64, 96],
        along: vec![1, 2, 1, 2],
        features: 96,
        marks: 2,
        hidden: 96,
        taps: 3,
        blocks: 2,
        outputs: NONE + 1,
    }
}

/// A network that sees the whole spine at once and what lies around it: from the front bone behind (ribs, arches), bone in front
/// (chest, pelvis), flesh at two depths, lungs and the bodies; from the side the midline, all bone, lungs. It knows where in the
/// trunk a body lies, and is wrong about a whole run where the organs lie lower than usual; its errors are others than those of
/// [`near`], so that both together are right more often than either (docs/accuracy.md).
pub fn whole() -> StripArchitecture {
    let soft = Window { centre: 60.0, width: 250.0, limits: [-1.0, 1.0] };
    let air = Window { centre: 0.0, width: 1000.0, limits: [-1.0, 0.3] };
    let view = |window, kind, range| View { window, range, kind };
    let (brightest, mean) = (Kind::Brightest, Kind::Mean);
    StripArchitecture {
        reading: Reading::Names,
        views: Views {
            pitch: 2.5,
            across: [80, 64],
            front: -90.0,
            coronal: vec![
                view(BONE, brightest, [-12.0, 60.0]),
                view(BONE, brightest, [-90.0, -20.0]),
                view(soft, mean, [-12.0, 12.0]),
                view(soft, mean, [18.0, 50.0]),
                view(air, mean, [-60.0, -20.0]),
                view(BONE, mean, [-12.0, 12.0]),
            ],
            sagittal: vec![
                view(soft, mean, [-7.5, 7.5]),
                view(BONE, brightest, [-25.0, 25.0]),
                view(soft, mean, [-35.0, 35.0]),
                view(BONE, brightest, [-95.0, 95.0]),
                view(air, mean, [-95.0, 95.0]),
            ],
        },
        widths: vec![32, 48, 64, 96],
        along: vec![1, 2, 1, 2],
        features: 128,
        marks: 2,
        hidden: 160,
        taps: 5,
        blocks: 4,
        outputs: NONE + 1,
    }
}

/// Marks `[mark, step]` where bodies lie, given their places along the course in pixels: a bump each, and
/// the run from the first to the last.
pub fn marks(architecture: &StripArchitecture, places: &[f64], steps: usize) -> Array2<f32> {
    let first = places.iter().copied().fold(f64::INFINITY, f64::min);
    let last = places.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let mut marks = Array2::zeros((2, steps));
    for step in 0..steps {
        let at = architecture.middle(step);
        let bump = |&place: &f64| (-((at - place) / MARK).powi(2)).exp() as f32;
        marks[[0, step]] = places.iter().map(bump).fold(0.0, f32::max);
        marks[[1, step]] = f32::from((first - RUN..=last + RUN).contains(&at));
    }
    marks
}

/// Where in the answer a place in pixels is read off: a step, and the share of the next one.
pub fn reading(architecture: &StripArchitecture, place: f64, steps: usize) -> (usize, f32) {
    let pixels = architecture.pixels_per_step() as f64;
    let at = ((place - architecture.middle(0)) / pixels).clamp(0.0, (steps as f64 - 1.001).max(0.0));
    (at as usize, (at - at.floor()) as f32)
}

/// Probabilities of the levels by value less one, and of none, `[body, 27]`, as a network sees them; `bodies` are centres in mm
/// from the head down. The scan and its mirror image are asked, as left and right tell nothing.
pub fn probabilities(even: &Even, network: &dyn StripPredictor, bodies: &[[f64; 3]]) -> Result<Array2<f64>> {
    let architecture = network.architecture();
    let views = &architecture.views;
    let mut logs = Array2::<f64>::zeros((bodies.len(), NONE + 1));
    // One body alone stands on a short course of its own.
    if let Some(course) = Course::through(&line(bodies.to_vec()), BEYOND, BEYOND, views.pitch) {
        let places: Vec<f64> = bodies.iter().map(|&mm| course.place(mm).along).collect();
        let [coronal, sagittal] = views.of(&Block::of(even, &course, &views.columns()));
        let steps = course.len().div_ceil(architecture.pixels_per_step());
        let marks = marks(architecture, &places, steps);
        let mirrored = coronal.slice(s![.., ..;-1, ..]).as_standard_layout().into_owned();
        for coronal in [coronal, mirrored] {
            let answer = network.predict([coronal, sagittal.clone()], Some(marks.clone()))?;
            for (&place, mut logs) in places.iter().zip(logs.axis_iter_mut(Axis(0))) {
                let (step, part) = reading(architecture, place, steps);
                let next = (step + 1).min(steps - 1);
                let logits: Vec<f64> = (0..=NONE)
                    .map(|k| f64::from(answer[[k, step]] * (1.0 - part) + answer[[k, next]] * part))
                    .collect();
                let all = log_sum(&logits);
                logs.iter_mut().zip(logits).for_each(|(log, logit)| *log += (logit - all) / 2.0);
            }
        }
    }
    normalise(&mut logs);
    Ok(logs.mapv_into(f64::exp))
}

/// What several networks' [`probabilities`] say together.
///
/// Logarithms are averaged, and not probabilities: what one network rules out stays unlikely. Held-out names of 72 CTs are
/// likelier by 0.005 a body than with the mean of probabilities (docs/accuracy.md).
pub fn together(each: &[Array2<f64>]) -> Array2<f64> {
    let dim = each.first().map_or((0, NONE + 1), Array2::dim);
    let mut logs = Array2::<f64>::zeros(dim);
    for looks in each {
        logs += &looks.mapv(|chance| chance.max(f64::MIN_POSITIVE).ln() / each.len() as f64);
    }
    normalise(&mut logs);
    logs.mapv_into(f64::exp)
}

/// Makes the logarithms of each row those of probabilities.
fn normalise(logs: &mut Array2<f64>) {
    for mut row in logs.axis_iter_mut(Axis(0)) {
        let all = log_sum(row.as_slice().unwrap_or(&[]));
        row -= all;
    }
}

/// log Σ exp.
pub(crate) fn log_sum(values: &[f64]) -> f64 {
    let largest = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    largest + values.iter().map(|value| (value - largest).exp()).sum::<f64>().ln()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::Device;
    use crate::kernels::noise;
    use crate::network::StripWeights;
    use crate::straighten::NOTHING;
    use ndarray::Array3;

    #[test]
    fn what_is_said_of_a_body_does_not_change_with_what_lies_60_mm_away() {
        let architecture = near();
        let [left, back] = architecture.views.across;
        let network = Device::Cpu.strip(&StripWeights::initial(architecture.clone(), 3)).unwrap();
        let long = 160;
        let picture = |views: usize, rows: usize, seed: u32| {
            Array3::from_shape_vec((views, rows, long), noise(views * rows * long, seed)).unwrap()
        };
        let coronal = picture(architecture.views.coronal.len(), left, 1);
        let sagittal = picture(architecture.views.sagittal.len(), back, 2);
        let marks = Array2::zeros((2, long / architecture.pixels_per_step()));
        let middle = marks.ncols() / 2;
        // Changed from so many pixels beyond the step's middle on.
        let answer = |pixels: f64| {
            let from = ((architecture.middle(middle) + pixels) as usize).min(long);
            let [mut coronal, mut sagittal] = [coronal.clone(), sagittal.clone()];
            for picture in [&mut coronal, &mut sagittal] {
                picture.slice_mut(s![.., .., from..]).fill(NOTHING);
            }
            network.predict([coronal, sagittal], Some(marks.clone())).unwrap().column(middle).to_vec()
        };
        let whole = answer(long as f64);
        assert_eq!(answer(60.0 / architecture.views.pitch), whole);
        assert_ne!(answer(30.0 / architecture.views.pitch), whole);
    }

    #[test]
    fn what_one_network_rules_out_stays_unlikely_and_one_alone_is_what_it_says() {
        let mut first = Array2::from_elem((1, NONE + 1), 1e-9);
        let mut second = first.clone();
        (first[[0, 3]], first[[0, 4]]) = (0.5, 0.5);
        second[[0, 4]] = 1.0;
        let both = together(&[first.clone(), second]);
        assert!(both[[0, 4]] > 0.999 && (both.sum() - 1.0).abs() < 1e-9, "{both}");
        assert!((together(&[first])[[0, 3]] - 0.5).abs() < 1e-6);
    }

    #[test]
    fn bodies_are_marked_where_they_are_read() {
        let architecture = near();
        // Steps of four pixels: the middle of step 3 is pixel 13.5.
        let marks = marks(&architecture, &[13.5, 27.0], 10);
        assert_eq!((marks[[0, 3]], marks[[1, 3]], marks[[1, 8]]), (1.0, 1.0, 0.0));
        assert_eq!(reading(&architecture, 13.5, 10), (3, 0.0));
        assert_eq!(reading(&architecture, -5.0, 10), (0, 0.0));
        let (step, part) = reading(&architecture, 1e9, 10);
        assert!(step == 8 && part > 0.99);
    }
}
