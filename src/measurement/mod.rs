//! From named vertebrae to numbers: heights, density, contrast, curves.
//!
//! Research use: none of this is a diagnosis. Every figure belongs to a body whose name may be doubted; the name's confidence
//! stands beside it in every output.

mod alignment;
mod aorta;
mod density;
mod edge;
mod fit;
mod fracture;
mod labels;
mod outline;
mod site;

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use self::outline::{Expected, Missing, Outline, Plate};
use self::site::Site;
use crate::anatomy::{self, Level, Region};
use crate::annotation::Centroid;
use crate::scan::{Volume, distance};

pub use self::alignment::{Alignment, Angle};
pub use self::aorta::{Contrast, Phase};
pub use self::density::Density;
pub use self::fracture::{Form, Fracture, grade};
pub use self::labels::{bodies, labels, number};

/// Width and depth of a body as shares of its level's diameter.
const WIDE: f64 = 1.2;
const DEEP: f64 = 0.9;
/// Two bodies further apart than so many times the usual distance of their levels are no neighbours.
const APART: f64 = 1.6;
/// Levels that are outlined: the first two have no body between two discs, the sacrum's have grown together.
const OUTLINED: [&str; 2] = ["C3", "L6"];
/// Levels that are graded: those for which Genant's grades were made; further up bodies are wedges by nature.
const GRADED: [&str; 2] = ["T4", "L6"];
/// Levels beside which the aorta is looked for.
const AORTA: [&str; 2] = ["T10", "L4"];
/// Heights are told of voxels of at most so many mm along the body: in thicker slices an end plate is a guess.
const THICK: f64 = 3.2;
/// Mean HU from which on spongy bone is called sclerotic: healthy young bone has up to 300.
const SCLEROTIC: f64 = 350.0;

/// What to look at in a measured body.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Remark {
    /// It has lost a fifth of its height or more; research use.
    SuspectedFracture,
    /// The scan does not show its end plates: its slices are thick, or its edges faint. Its heights are not measured, and of faint
    /// edges nothing is.
    EndplatesUnclear,
    /// The scan ends within it, so nothing is measured.
    Partial,
    /// Its density is beyond that of healthy bone: a dense metastasis, a bone island, cement.
    Sclerotic,
    /// It holds metal, so its density is not measured.
    Metal,
    /// The scan was made with contrast agent, which raises the density of bone by some 10 HU and more.
    ContrastSuspected,
}

/// As it is written in outputs.
impl std::fmt::Display for Remark {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Remark::SuspectedFracture => "suspected-fracture",
            Remark::EndplatesUnclear => "endplates-unclear",
            Remark::Partial => "partial",
            Remark::Sclerotic => "sclerotic",
            Remark::Metal => "metal",
            Remark::ContrastSuspected => "contrast-suspected",
        })
    }
}

/// A plane through an end plate.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Endplate {
    /// Its middle in mm from the volume's first voxel, LPS.
    pub centre: [f64; 3],
    /// The direction at right angles to it, to the head, of length 1, LPS.
    pub normal: [f64; 3],
}

/// Heights of a body in mm.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Heights {
    /// At the front wall.
    pub anterior: f64,
    /// In the middle.
    pub middle: f64,
    /// At the back wall.
    pub posterior: f64,
}

/// What was measured of a body; `None` where the image does not show it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Measured {
    /// Its heights.
    pub heights: Option<Heights>,
    /// From its right to its left wall at the waist, in mm.
    pub width: Option<f64>,
    /// From its front to its back wall at the waist, in mm.
    pub depth: Option<f64>,
    /// Its upper end plate.
    pub upper_plate: Option<Endplate>,
    /// Its lower end plate.
    pub lower_plate: Option<Endplate>,
    /// How good its edges are, from 0 to 1; below 0.25 they count as not seen.
    pub quality: f64,
    /// How much height it has lost.
    pub fracture: Option<Fracture>,
    /// Of its spongy bone.
    pub density: Option<Density>,
    /// What to look at.
    pub remarks: Vec<Remark>,
}

/// A scan's measurements.
#[derive(Clone, Debug)]
pub struct Measurements {
    /// One for each vertebra, in the same order.
    pub vertebrae: Vec<Measured>,
    /// What the aorta says of contrast agent.
    pub contrast: Contrast,
    /// How the spine bends.
    pub alignment: Alignment,
    /// The bodies' outlines, where they are seen.
    outlines: Vec<Option<Outline>>,
}

/// What the density of L1 says of the skeleton: Pickhardt et al., Ann Intern Med 2013;158:588, for scans without contrast
/// agent at 120 kV. Research use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mineral {
    /// 110 HU or less, which nine of ten people without osteoporosis exceed.
    Low,
    /// Between both.
    Intermediate,
    /// More than 160 HU, which nine of ten people with osteoporosis do not reach.
    Normal,
}

impl Mineral {
    /// What a mean density in HU says.
    pub fn of(hu: f64) -> Mineral {
        match hu {
            hu if hu <= 110.0 => Mineral::Low,
            hu if hu <= 160.0 => Mineral::Intermediate,
            _ => Mineral::Normal,
        }
    }
}

/// Measures the vertebrae of a volume of Hounsfield units in LPS order, which stand from the head down.
pub fn measure(volume: &Volume, vertebrae: &[Centroid]) -> Measurements {
    let scale = scale(vertebrae);
    let each: Vec<(Measured, Option<Outline>)> = (0..vertebrae.len())
        .into_par_iter()
        .map(|index| {
            let level = vertebrae[index].level;
            let Some(site) = site(vertebrae, index) else { return Default::default() };
            let expected = expected(vertebrae, index, scale);
            if within(level, OUTLINED) {
                body(volume, site, &expected)
            } else if level.name() == "S1" {
                (sacrum(volume, site, &expected), None)
            } else {
                Default::default()
            }
        })
        .collect();
    let seen: Vec<aorta::Lumen> = each
        .par_iter()
        .zip(vertebrae)
        .filter(|(_, vertebra)| within(vertebra.level, AORTA))
        .filter_map(|((_, outline), _)| aorta::lumen(volume, outline.as_ref()?))
        .collect();
    let contrast = aorta::contrast(&seen);
    let (mut measured, outlines): (Vec<Measured>, Vec<_>) = each.into_iter().unzip();
    graded(&mut measured, vertebrae);
    if contrast.phase.is_enhanced() {
        for body in measured.iter_mut().filter(|body| body.density.is_some()) {
            body.remarks.push(Remark::ContrastSuspected);
        }
    }
    let named: Vec<(Level, &Measured)> =
        vertebrae.iter().map(|vertebra| vertebra.level).zip(&measured).collect();
    let alignment = Alignment::of(&named);
    Measurements { vertebrae: measured, contrast, alignment, outlines }
}

/// Whether a level is one of those from the first to the second.
fn within(level: Level, ends: [&str; 2]) -> bool {
    let [first, last] = ends.map(|name| name.parse::<Level>().ok());
    first.is_some_and(|first| first <= level) && last.is_some_and(|last| level <= last)
}

/// A body outlined, and what it holds.
fn body(volume: &Volume, site: Site, expected: &Expected) -> (Measured, Option<Outline>) {
    let outline = match Outline::of(volume, site, expected) {
        Ok(outline) => outline,
        Err(missing) => return (missed(missing), None),
    };
    let width = outline.sides.map(|_| outline.width);
    let content = density::content(volume, &outline);
    let [anterior, middle, posterior] = outline.heights;
    let mut remarks = Vec::new();
    if content.metal {
        remarks.push(Remark::Metal);
    }
    let density = content.density.filter(|_| !content.metal);
    if density.is_some_and(|density| density.mean > SCLEROTIC) {
        remarks.push(Remark::Sclerotic);
    }
    let [_, between] = outline.middle();
    let thick = outline.voxel > THICK;
    if thick {
        remarks.push(Remark::EndplatesUnclear);
    }
    let measured = Measured {
        heights: (!thick).then_some(Heights { anterior, middle, posterior }),
        width,
        depth: Some(outline.depth),
        upper_plate: (!thick).then(|| endplate(&outline.site, &outline.upper, between)),
        lower_plate: (!thick).then(|| endplate(&outline.site, &outline.lower, between)),
        quality: outline.quality,
        fracture: None,
        density,
        remarks,
    };
    (measured, Some(outline))
}

fn endplate(site: &Site, plate: &Plate, back: f64) -> Endplate {
    let normal = site.direction(plate.normal());
    Endplate {
        centre: site.point([0.0, back, plate.height]),
        normal: site::unit(normal).unwrap_or(site.axes[2]),
    }
}

fn sacrum(volume: &Volume, site: Site, expected: &Expected) -> Measured {
    match outline::upper_plate(volume, site, expected) {
        Ok(plate) => Measured { upper_plate: Some(endplate(&site, &plate, 0.0)), ..Measured::default() },
        Err(missing) => missed(missing),
    }
}

fn missed(missing: Missing) -> Measured {
    let remark = match missing {
        Missing::Partial => Remark::Partial,
        Missing::Unclear => Remark::EndplatesUnclear,
    };
    Measured { remarks: vec![remark], ..Measured::default() }
}

/// Grades all bodies; those that have lost height themselves say nothing of their neighbours.
fn graded(measured: &mut [Measured], vertebrae: &[Centroid]) {
    let own: Vec<Option<(Fracture, f64)>> = measured
        .iter()
        .map(|body| {
            let Heights { anterior, middle, posterior } = body.heights?;
            Some((grade([anterior, middle, posterior], &[]), posterior))
        })
        .collect();
    let beside = |index: Option<usize>, of: usize| {
        let index = index?;
        let (near, there) = (vertebrae.get(index)?.level.index(), vertebrae[of].level.index());
        let (fracture, posterior) = own[index]?;
        (near.abs_diff(there) <= 2 && fracture.grade == 0).then_some(posterior)
    };
    for (index, body) in measured.iter_mut().enumerate() {
        let Some(Heights { anterior, middle, posterior }) = body.heights else { continue };
        if !within(vertebrae[index].level, GRADED) {
            continue;
        }
        let neighbours: Vec<f64> = [beside(index.checked_sub(1), index), beside(Some(index + 1), index)]
            .into_iter()
            .flatten()
            .collect();
        let fracture = grade([anterior, middle, posterior], &neighbours);
        body.fracture = Some(fracture);
        if fracture.grade > 0 {
            body.remarks.push(Remark::SuspectedFracture);
        }
    }
}

/// The way from a body to its neighbour in mm, as a share of what is usual between their levels.
fn usual_share(a: &Centroid, b: &Centroid) -> Option<f64> {
    let share = distance(a.mm, b.mm) / anatomy::between(a.level)?.mean;
    (share < APART).then_some(share)
}

/// How large a person is, 1 on average.
fn scale(vertebrae: &[Centroid]) -> f64 {
    let shares = vertebrae.windows(2).filter_map(|pair| usual_share(&pair[0], &pair[1]));
    median(shares.collect()).map_or(1.0, |share| share.clamp(0.6, 1.4))
}

/// The centres of the bodies above and below, where these are its neighbours.
fn neighbours(vertebrae: &[Centroid], index: usize) -> [Option<[f64; 3]>; 2] {
    let pair = |above: Option<usize>, below: usize, other: usize| {
        usual_share(vertebrae.get(above?)?, vertebrae.get(below)?).map(|_| vertebrae[other].mm)
    };
    let above = index.checked_sub(1);
    [pair(above, index, above.unwrap_or(index)), pair(Some(index), index + 1, index + 1)]
}

/// How a body stands: along the line between its neighbours.
fn site(vertebrae: &[Centroid], index: usize) -> Option<Site> {
    let here = vertebrae[index].mm;
    let up = match neighbours(vertebrae, index) {
        [None, None] => [0.0, 0.0, 1.0],
        ends => {
            let [above, below] = ends.map(|end| end.unwrap_or(here));
            std::array::from_fn(|axis| above[axis] - below[axis])
        }
    };
    Site::standing(here, up)
}

fn expected(vertebrae: &[Centroid], index: usize, scale: f64) -> Expected {
    let Centroid { level, mm } = vertebrae[index];
    let usual = |level: Option<Level>| level.and_then(anatomy::between).map_or(30.0, |spacing| spacing.mean);
    let level_above = level.value().checked_sub(1).and_then(Level::from_value);
    let [above, below] = neighbours(vertebrae, index).map(|next| next.map(|next| distance(next, mm)));
    Expected {
        next: [
            above.unwrap_or_else(|| usual(level_above) * scale),
            below.unwrap_or_else(|| usual(Some(level)) * scale),
        ],
        depth: DEEP * level.diameter() * scale,
        width: WIDE * level.diameter() * scale,
        hollow: level.region() != Region::Cervical,
    }
}

/// The middle value, the upper one of two; `None` of none.
fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied()
}
