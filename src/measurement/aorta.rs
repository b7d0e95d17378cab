//! Contrast agent, told from the blood in the aorta.

use ndarray::Array2;
use serde::{Deserialize, Serialize};

use super::edge::smoothed;
use super::median;
use super::outline::Outline;
use super::site::{PITCH, Window};
use crate::scan::Volume;

/// Where the middle of the aorta can lie beside T10 to L4: mm to the left of the body's middle, and in front of its front
/// wall. The vena cava lies to the right.
const LEFT: [f64; 2] = [-8.0, 32.0];
const FRONT: [f64; 2] = [6.0, 30.0];
/// Radii in mm.
const RADII: [f64; 2] = [6.0, 16.0];
/// Directions in which an edge is looked for.
const RAYS: usize = 24;
/// An edge between what lies so many mm within the circle and so far outside, of at least so many HU.
const BESIDE: f64 = 1.5;
const EDGE: f32 = 15.0;
/// Blood is as even as this: the mean deviation within the circle in HU.
const EVEN: f32 = 25.0;
/// Share of the directions that must show an edge.
const ROUND: f64 = 0.7;
/// Half the slab along the spine, in mm: noise is averaged, and the aorta runs along.
const SLAB: f64 = 5.0;
/// What blood can have, in HU.
const BLOOD: [f32; 2] = [15.0, 700.0];

/// HU from which on blood holds contrast agent, and from which on it has come with the arteries alone: blood without any
/// has 30 to 60, in the portal phase 120 to 180.
const CONTRAST: f64 = 85.0;
const ARTERIAL: f64 = 220.0;

/// When a scan was made after contrast agent was given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// None was given, or it is gone.
    None,
    /// Arteries and veins hold about as much.
    Portal,
    /// Mainly the arteries hold it.
    Arterial,
    /// The aorta was not found.
    Unknown,
}

impl Phase {
    /// Whether contrast agent was seen.
    pub fn is_enhanced(self) -> bool {
        matches!(self, Phase::Portal | Phase::Arterial)
    }
}

/// What the aorta says.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Contrast {
    /// The phase.
    pub phase: Phase,
    /// Mean HU of the aorta, the median over the levels that show it.
    pub aorta: Option<f64>,
    /// How round it is: the share of directions in which it has an edge, from 0 to 1; 0 where it was not found.
    pub quality: f64,
    /// Levels that show it.
    pub levels: usize,
}

/// An aorta beside one body.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Lumen {
    pub mean: f64,
    pub round: f64,
}

/// Puts together what the levels show.
pub(crate) fn contrast(found: &[Lumen]) -> Contrast {
    let aorta = median(found.iter().map(|lumen| lumen.mean).collect());
    let phase = match aorta {
        None => Phase::Unknown,
        Some(hu) if hu < CONTRAST => Phase::None,
        Some(hu) if hu < ARTERIAL => Phase::Portal,
        Some(_) => Phase::Arterial,
    };
    let quality = median(found.iter().map(|lumen| lumen.round).collect()).unwrap_or(0.0);
    Contrast { phase, aorta, quality, levels: found.len() }
}

/// The aorta beside an outlined body, if it is seen there.
pub(crate) fn lumen(volume: &Volume, outline: &Outline) -> Option<Lumen> {
    let wall = outline.walls[0];
    let reach = RADII[1] + 4.0;
    let window = Window::around(
        volume,
        &outline.site,
        [LEFT[0] - reach, wall - FRONT[1] - reach, -SLAB],
        [LEFT[1] + reach, wall + 4.0, SLAB],
    );
    let picture = smoothed(window.slab(2, -SLAB, SLAB, f32::NEG_INFINITY).view());
    let mut best: Option<(f64, Lumen)> = None;
    let step = 2.0 * PITCH;
    let steps =
        |[low, high]: [f64; 2]| (0..).map(move |at| low + at as f64 * step).take_while(move |&at| at <= high);
    for left in steps(LEFT) {
        for front in steps(FRONT) {
            let middle = [window.index(0, left), window.index(1, wall - front)];
            for radius in steps([RADII[0], RADII[1].min(front + 2.0)]) {
                let Some((worth, lumen)) = judged(&picture, middle, radius) else { continue };
                if best.is_none_or(|(most, _)| worth > most) {
                    best = Some((worth, lumen));
                }
            }
        }
    }
    best.map(|(_, lumen)| lumen)
}

/// How much a circle looks like an aorta, if it does.
fn judged(picture: &Array2<f32>, middle: [f64; 2], radius: f64) -> Option<(f64, Lumen)> {
    let at = |distance: f64, ray: usize| {
        let angle = ray as f64 / RAYS as f64 * std::f64::consts::TAU;
        let (sin, cos) = angle.sin_cos();
        let place = [middle[0] + cos * distance / PITCH, middle[1] + sin * distance / PITCH];
        let [x, y] = place.map(|place| place.round().max(0.0) as usize);
        picture.get((x, y)).copied().unwrap_or(f32::NAN)
    };
    let centre = at(0.0, 0);
    if !(BLOOD[0]..BLOOD[1]).contains(&centre) {
        return None;
    }
    let mut inner: Vec<f32> = vec![centre];
    for part in [0.35, 0.7] {
        inner.extend((0..RAYS).step_by(2).map(|ray| at(part * radius, ray)));
    }
    let mean = inner.iter().sum::<f32>() / inner.len() as f32;
    let deviation = inner.iter().map(|value| (value - mean).abs()).sum::<f32>() / inner.len() as f32;
    // Not-a-number is not even.
    if !(deviation <= EVEN && (BLOOD[0]..BLOOD[1]).contains(&mean)) {
        return None;
    }
    let (mut edges, mut same) = (0usize, 0usize);
    for ray in 0..RAYS {
        let (within, outside) = (at(radius - BESIDE, ray), at(radius + BESIDE, ray));
        same += usize::from((within - mean).abs() <= 2.0 * EVEN.min(0.25 * mean.abs() + 8.0));
        edges += usize::from((within - outside).abs() >= EDGE);
    }
    let round = edges.min(same) as f64 / RAYS as f64;
    let lumen = Lumen { mean: f64::from(mean), round };
    // Of circles that are as round the larger is the whole vessel.
    (round >= ROUND).then(|| (round + 0.01 * radius - 0.01 * f64::from(deviation), lumen))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vessel(hu: f32, around: f32) -> Array2<f32> {
        Array2::from_shape_fn((80, 80), |(x, y)| {
            let apart = ((x as f64 - 40.0).hypot(y as f64 - 38.0)) * PITCH;
            if apart < 10.0 { hu } else { around }
        })
    }

    #[test]
    fn a_round_vessel_is_found_and_flesh_without_one_is_none() {
        let (_, lumen) = judged(&vessel(180.0, -90.0), [40.0, 38.0], 10.0).unwrap();
        assert!((lumen.mean - 180.0).abs() < 5.0 && lumen.round > 0.9);
        assert!(judged(&vessel(180.0, -90.0), [46.0, 38.0], 10.0).is_none_or(|(_, lumen)| lumen.round < 0.9));
        assert!(judged(&vessel(50.0, 50.0), [40.0, 38.0], 10.0).is_none());
    }

    #[test]
    fn phases_are_told_by_the_median_level() {
        let of = |values: &[f64]| {
            contrast(&values.iter().map(|&mean| Lumen { mean, round: 0.9 }).collect::<Vec<_>>())
        };
        assert_eq!(of(&[45.0, 50.0, 300.0]).phase, Phase::None);
        assert_eq!(of(&[150.0]).phase, Phase::Portal);
        assert_eq!((of(&[310.0, 330.0]).phase, of(&[310.0, 330.0]).levels), (Phase::Arterial, 2));
        assert_eq!((of(&[]).phase, of(&[]).aorta), (Phase::Unknown, None));
    }
}
