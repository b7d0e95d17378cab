//! From a volume to its named vertebrae.

use anyhow::Result;
use ndarray::Array2;

use super::bodies::{Body, locate};
use super::chain::Chain;
use super::course::{Rough, rough};
use super::names;
use super::turned::{self, Turned};
use crate::anatomy::Level;
use crate::annotation::Centroid;
use crate::decoding::sequence::{Flag, Named};
use crate::inference::network::Network;
use crate::network::StripPredictor;
use crate::progress::{Observer, Stage};
use crate::scan::{Geometry, Volume};
use crate::straighten::Even;

/// Voxels in mm of what the networks of bodies and of names are shown; they were taught with these.
pub const BODIES_SPACING: f64 = 1.5;
/// See [`BODIES_SPACING`].
pub const NAMES_SPACING: f64 = 2.0;
/// Millimetres to the sides, the front and the back of the course that are looked at: the views' reach, and for
/// bodies what a curved spine may drift while it is walked along.
const BODIES_MARGIN: f64 = 110.0;
const NAMES_MARGIN: f64 = 125.0;
/// A spine of fewer bodies than this may have been begun in the wrong place.
const FEW: usize = 3;

/// Evidence of a body that is worth nothing: about that of one that looks like no level.
const WORTHLESS: f64 = 2.0;
/// A picture whose best reading has less evidence shows hardly a spine: legs have -3.4, an MRI -3.1, the least known of 72
/// scans -2.0.
const HARDLY: f64 = -2.6;
/// No name of a picture whose reading has less evidence is certain, and a turned reading that has less convinces nobody.
const POOR: f64 = -1.9;
/// A turned reading has so much more evidence than the picture as it is: 71 of 72 scans have 0.46 to 3 more than any of their
/// pictures turned, the other one has 0.02 less.
const CLEARLY: f64 = 0.5;
/// Evidence from which on a reading is too good for a turned picture, so that none is tried: the best of 216 has -1.0.
const DOUBTED: f64 = -0.8;
/// Confidence below which a name is flagged.
const UNCERTAIN: f64 = 0.5;

/// The networks that read a spine.
pub struct Reader {
    /// Finds rough bodies in the whole volume.
    pub course: Network,
    /// Finds exact centres along a course.
    pub bodies: Box<dyn StripPredictor>,
    /// Name them: what several say is averaged.
    pub names: Vec<Box<dyn StripPredictor>>,
    /// What is made of their word.
    pub chain: Chain,
}

/// A named vertebra.
#[derive(Clone, Debug, PartialEq)]
pub struct Vertebra {
    /// Which one.
    pub level: Level,
    /// Centre of its body in mm from the volume's first voxel, LPS.
    pub mm: [f64; 3],
    /// How likely the level is right, from 0 to 1.
    pub confidence: f64,
    /// Other levels it may have, the likeliest first.
    pub alternatives: Vec<(Level, f64)>,
    /// What to look at.
    pub flags: Vec<Flag>,
}

/// How likely all names are off by one.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Shift {
    /// How likely, from 0 to 1.
    pub chance: f64,
    /// The first vertebra's level if so.
    pub first: Level,
}

/// What was read.
#[derive(Clone, Debug, Default)]
pub struct Spine {
    /// From the head down.
    pub vertebrae: Vec<Vertebra>,
    /// All bodies that were found, from the head down, and what each looks like, as
    /// [`names::together`](super::names::together) says.
    pub bodies: Vec<Body>,
    /// See [`Spine::bodies`].
    pub looks: Array2<f64>,
    /// Bodies that have no name: what looks like one beyond the skull and the sacrum, or is none.
    pub unnamed: Vec<Body>,
    /// The likelier of both shifts by one.
    pub shift: Option<Shift>,
    /// Which way the picture reads better than as its header says.
    pub turned: Option<Turned>,
    /// What lies around the spine, as it was shown to the networks; nothing where no body was found.
    pub even: Option<Even>,
}

impl Spine {
    /// The vertebrae with their centres in mm from the volume's first voxel, LPS.
    pub fn centroids(&self) -> Vec<Centroid> {
        self.vertebrae.iter().map(|vertebra| Centroid { level: vertebra.level, mm: vertebra.mm }).collect()
    }
}

/// Bodies that one start led to, and what they read.
struct Attempt {
    bodies: Vec<Body>,
    /// What lies around them.
    even: Even,
    looks: Array2<f64>,
    named: Vec<Named>,
    /// See [`Reader::evidence`].
    evidence: f64,
}

impl Attempt {
    /// How much of a spine it is: bodies, by how well their names fit.
    fn worth(&self) -> f64 {
        self.bodies.len() as f64 * (self.evidence + WORTHLESS)
    }
}

impl Reader {
    /// Reads the spine of a volume of Hounsfield units in LPS order.
    ///
    /// The row that the coarse look shows is where a spine begins. If it leads to few bodies, or is short and the names
    /// fit badly, the surest single bodies are tried, too.
    pub fn read(&self, volume: &Volume) -> Result<Spine> {
        self.read_observed(volume, &mut ())
    }

    /// The same; the observer is told when a stage begins.
    pub(crate) fn read_observed(&self, volume: &Volume, observer: &mut dyn Observer) -> Result<Spine> {
        observer.begins(Stage::Course, 0)?;
        let Rough { row, singles } = rough(volume, &self.course)?;
        let near: Vec<[f64; 3]> = row.iter().chain(&singles).copied().collect();
        if near.is_empty() {
            return Ok(Spine::default());
        }
        observer.begins(Stage::Bodies, 0)?;
        let even = Even::part(volume, &volume.geometry.around(&near, BODIES_MARGIN), BODIES_SPACING);
        let mut best = self.attempt(volume, &even, &row, observer)?;
        // A long row is right about where the spine is, whatever its names are worth.
        let doubtful = |attempt: &Attempt| {
            attempt.bodies.len() < FEW.max(row.len() / 2) || row.len() <= FEW && attempt.evidence < DOUBTED
        };
        if best.as_ref().is_none_or(doubtful) {
            for &single in &singles {
                let other = self.attempt(volume, &even, &[single], observer)?;
                let worth = |attempt: &Option<Attempt>| attempt.as_ref().map_or(0.0, Attempt::worth);
                if worth(&other) > worth(&best) {
                    best = other;
                }
            }
        }
        best.map_or_else(|| Ok(Spine::default()), |best| self.spine(volume, best))
    }

    /// The bodies that can be reached from `start`, and what they read.
    fn attempt(
        &self,
        volume: &Volume,
        even: &Even,
        start: &[[f64; 3]],
        observer: &mut dyn Observer,
    ) -> Result<Option<Attempt>> {
        let mut bodies =
            if start.is_empty() { Vec::new() } else { locate(even, self.bodies.as_ref(), start)? };
        bodies.retain(|body| inside(body.mm, &volume.geometry));
        if bodies.is_empty() {
            return Ok(None);
        }
        observer.begins(Stage::Names, 0)?;
        let centres: Vec<[f64; 3]> = bodies.iter().map(|body| body.mm).collect();
        let even = Even::part(volume, &volume.geometry.around(&centres, NAMES_MARGIN), NAMES_SPACING);
        let each = self.look(&even, &centres)?;
        let evidence = self.evidence(&centres, &each);
        let looks = names::together(&each);
        let named = self.chain.name(&centres, &looks);
        Ok(Some(Attempt { bodies, even, looks, named, evidence }))
    }

    /// What bodies look like to each network of names.
    fn look(&self, even: &Even, centres: &[[f64; 3]]) -> Result<Vec<Array2<f64>>> {
        self.names.iter().map(|network| names::probabilities(even, network.as_ref(), centres)).collect()
    }

    /// How well names fit by each network's own word, on average: what one of them sees of a turned picture may make sense.
    fn evidence(&self, centres: &[[f64; 3]], each: &[Array2<f64>]) -> f64 {
        let sum: f64 = each.iter().map(|looks| self.chain.evidence(centres, looks)).sum();
        sum / each.len().max(1) as f64
    }

    fn spine(&self, volume: &Volume, attempt: Attempt) -> Result<Spine> {
        let Attempt { bodies, even, looks, named, evidence } = attempt;
        let turned = self.turned(&even, &bodies, evidence)?;
        let best = turned.as_ref().map_or(evidence, |turned| turned.evidence);
        if best < HARDLY {
            return Ok(Spine {
                unnamed: bodies.clone(),
                bodies,
                looks,
                even: Some(even),
                ..Spine::default()
            });
        }
        let used: Vec<usize> = named.iter().map(|named| named.body).collect();
        let unnamed =
            (0..bodies.len()).filter(|index| !used.contains(index)).map(|index| bodies[index]).collect();
        let extent = volume.geometry.extent();
        let shift = shift(&named);
        let mut vertebrae: Vec<Vertebra> = named.into_iter().map(|named| vertebra(named, extent)).collect();
        if let Some(Askew { upright, .. }) = turned {
            vertebrae.iter_mut().for_each(|vertebra| vertebra.confidence *= upright);
        }
        let poor = evidence < POOR;
        for vertebra in vertebrae.iter_mut().filter(|vertebra| poor || vertebra.confidence < UNCERTAIN) {
            vertebra.flags.push(Flag::Uncertain);
        }
        let turned = turned.map(|askew| askew.turned);
        Ok(Spine { vertebrae, bodies, looks, unnamed, shift, turned, even: Some(even) })
    }

    /// Which way the picture is turned against its header, if it reads better so; `evidence` is that of the
    /// reading as it is.
    fn turned(&self, even: &Even, bodies: &[Body], evidence: f64) -> Result<Option<Askew>> {
        if evidence > DOUBTED {
            return Ok(None);
        }
        let weight = bodies.len() as f64 * self.chain.weight(bodies.len() as f64);
        let mut best: Option<(Turned, f64)> = None;
        let mut sum = 1.0;
        for turned in Turned::ALL {
            let centres = turned::centres(even, bodies, turned);
            let other = self.evidence(&centres, &self.look(&even.flipped(turned.axes()), &centres)?);
            sum += (weight * (other - evidence)).exp();
            let least = (evidence + CLEARLY).max(POOR);
            if other > best.map_or(least, |(_, evidence)| evidence) {
                best = Some((turned, other));
            }
        }
        Ok(best.map(|(turned, evidence)| Askew { turned, evidence, upright: 1.0 / sum }))
    }
}

/// A picture that reads better turned.
struct Askew {
    turned: Turned,
    /// Evidence of that reading.
    evidence: f64,
    /// How likely it is not turned after all.
    upright: f64,
}

fn vertebra(named: Named, extent: [f64; 3]) -> Vertebra {
    let half = named.level.diameter() / 2.0;
    let cut = (0..3).any(|axis| !(half..=extent[axis] - half).contains(&named.mm[axis]));
    let mut flags = named.flags;
    flags.extend(cut.then_some(Flag::TouchesBorder));
    Vertebra {
        level: named.level,
        mm: named.mm,
        confidence: named.confidence,
        alternatives: named.alternatives,
        flags,
    }
}

/// The likelier shift of all names by one, up or down.
fn shift(named: &[Named]) -> Option<Shift> {
    let first = named.first()?;
    let by = |step: isize| -> Option<Shift> {
        let moved = |level: Level| {
            let value = isize::from(level.value()) + step;
            u8::try_from(value).ok().and_then(Level::from_value)
        };
        let chance = |named: &Named| moved(named.level).map_or(0.0, |level| named.chances[level.index()]);
        let chance = named.iter().map(chance).sum::<f64>() / named.len() as f64;
        Some(Shift { chance, first: moved(first.level)? })
    };
    [by(-1), by(1)].into_iter().flatten().max_by(|a, b| a.chance.total_cmp(&b.chance))
}

/// Whether a body's centre lies in the scan: of one that does not, less than half is there.
fn inside(mm: [f64; 3], geometry: &Geometry) -> bool {
    let extent = geometry.extent();
    (0..3).all(|axis| (0.0..=extent[axis]).contains(&mm[axis]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_whose_centre_lies_outside_the_scan_is_none_of_it() {
        let geometry = Geometry { shape: [200, 100, 50], spacing: [2.0, 2.0, 5.0], affine: [[0.0; 4]; 3] };
        assert!(inside([398.0, 0.0, 10.0], &geometry) && !inside([10.0, 10.0, -0.1], &geometry));
    }

    #[test]
    fn a_shift_is_as_likely_as_all_bodies_say() {
        let named = |name: &str, up: f64| {
            let level: Level = name.parse().unwrap();
            let mut chances = [0.0; 28];
            chances[level.index()] = 1.0 - up;
            chances[Level::from_value(level.value() - 1).unwrap().index()] = up;
            Named {
                body: 0,
                level,
                mm: [0.0; 3],
                confidence: 1.0 - up,
                chances,
                alternatives: vec![],
                flags: vec![],
            }
        };
        let shift = shift(&[named("T12", 0.1), named("L1", 0.2)]).unwrap();
        assert_eq!(shift.first.name(), "T11");
        assert!((shift.chance - 0.15).abs() < 1e-9);
    }
}
