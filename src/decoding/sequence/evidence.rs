//! What each body looks like, judged with its neighbours: a small network over a window of bodies.

use std::sync::OnceLock;

use anyhow::{Context, Result, ensure};
use safetensors::tensor::SafeTensors;

use super::body::Body;
use super::chain::Judged;
use super::prices::T13;
use crate::network::weights::safetensors::numbers;
use crate::scan::distance;

/// Bodies on either side that are looked at.
pub const REACH: usize = 8;
/// Numbers that describe a body.
const PER_BODY: usize = 28;
/// Numbers that describe a body and its neighbours.
pub const INPUTS: usize = (2 * REACH + 1) * PER_BODY;
/// Levels that are told apart: C1 to T12, L1 to L6 and S1, in order. A T13 looks like a T12.
pub const LEVELS: usize = 26;
/// The levels, then "no vertebra".
pub const CLASSES: usize = LEVELS + 1;
/// The class of what is no vertebra.
pub const NONE: usize = LEVELS;

/// The class of a level, by its index.
pub fn class(level: usize) -> Option<usize> {
    let class = if level < T13 { level } else { level - 1 };
    (class < LEVELS).then_some(class)
}

/// Logarithm of how likely a level is that the network does not know.
const UNKNOWN: f64 = -30.0;

/// Usual place of a left pedicle relative to its body and its spread over levels and people, in mm; a
/// right one is its mirror image.
const PEDICLE: [[f64; 2]; 3] = [[15.0, 8.0], [20.0, 8.0], [4.0, 6.0]];
/// The same of the distance between the two.
const WIDTH: [f64; 2] = [30.0, 15.0];
/// A step to the next body is about this long, and leads so far to the side, in mm.
const STEP: f64 = 30.0;
const ASIDE: f64 = 10.0;
/// Segments are never thought less likely than this: below it the source only rounds.
const LEAST: f64 = 0.005;

/// The network: weights `[outputs][inputs]` and biases of each layer, a ReLU between.
#[derive(Clone, Debug)]
pub struct Evidence {
    layers: Vec<(Vec<f32>, Vec<f32>)>,
}

/// Where `to` lies as seen from `from`: aside, back, down and how far, each about 1 at most.
fn step(from: &Body, to: &Body) -> [f64; 4] {
    let [x, y, z]: [f64; 3] = std::array::from_fn(|axis| to.mm[axis] - from.mm[axis]);
    let length = (x * x + y * y + z * z).sqrt();
    [x / ASIDE, y / ASIDE, z / STEP + 1.0, length / STEP - 1.0]
}

/// Describes one body: present, the steps to the next one and from the one before, whether there are
/// such, segments (logarithms and themselves), each pedicle, which were found, their distance, whether
/// the body was only inferred.
fn describe_one(bodies: &[Body], index: usize) -> Vec<f64> {
    let body = &bodies[index];
    let next = bodies.get(index + 1).map(|next| step(body, next));
    let before = index.checked_sub(1).map(|above| step(&bodies[above], body));
    let chances = body.segments.map(|chance| chance.clamp(LEAST, 1.0));
    // Both sides are described as a left one.
    let place = |pedicle: Option<[f64; 3]>, side: f64| {
        let middled = |[x, y, z]: [f64; 3]| -> [f64; 3] {
            let left = [side * x, y, z];
            std::array::from_fn(|axis| (left[axis] - PEDICLE[axis][0]) / PEDICLE[axis][1])
        };
        pedicle.map(middled)
    };
    let (left, right) = (place(body.pedicles[0], 1.0), place(body.pedicles[1], -1.0));
    let width = body.pair().map(|[left, right]| (distance(left, right) - WIDTH[0]) / WIDTH[1]);
    let flag = |holds: bool| if holds { 1.0 } else { 0.0 };
    let parts: [&[f64]; 9] = [
        &[1.0],
        &next.unwrap_or_default(),
        &before.unwrap_or_default(),
        &[flag(next.is_some()), flag(before.is_some())],
        &chances.map(|chance| chance.ln() / 4.0),
        &chances,
        &left.unwrap_or_default(),
        &right.unwrap_or_default(),
        &[
            flag(left.is_some()),
            flag(right.is_some()),
            width.unwrap_or_default(),
            flag(width.is_some()),
            flag(!body.seen),
        ],
    ];
    parts.concat()
}

/// Describes every body with its neighbours, `INPUTS` numbers each, zero where there is none.
pub fn describe(bodies: &[Body]) -> Vec<f32> {
    let each: Vec<Vec<f64>> = (0..bodies.len()).map(|index| describe_one(bodies, index)).collect();
    let mut rows = vec![0.0; bodies.len() * INPUTS];
    for (index, row) in rows.chunks_exact_mut(INPUTS).enumerate() {
        for (slot, part) in row.chunks_exact_mut(PER_BODY).enumerate() {
            if let Some(other) = (index + slot).checked_sub(REACH).and_then(|at| each.get(at)) {
                part.iter_mut().zip(other).for_each(|(part, &number)| *part = number as f32);
            }
        }
    }
    rows
}

impl Evidence {
    /// The network that comes with the program, fitted by `examples/fit_decoder.rs`.
    pub fn shipped() -> &'static Evidence {
        static SHIPPED: OnceLock<Evidence> = OnceLock::new();
        const FILE: &[u8] = include_bytes!("../../../assets/decoder.safetensors");
        SHIPPED.get_or_init(|| match Evidence::parse(FILE) {
            Ok(evidence) => evidence,
            Err(error) => unreachable!("the shipped decoder is whole, a test says: {error:#}"),
        })
    }

    /// A network with the given layers.
    pub fn new(layers: Vec<(Vec<f32>, Vec<f32>)>) -> Evidence {
        Evidence { layers }
    }

    /// Reads a network from a safetensors file's bytes: `layerN.weight`, `layerN.bias`, half or
    /// single precision.
    pub fn parse(bytes: &[u8]) -> Result<Evidence> {
        let tensors = SafeTensors::deserialize(bytes)?;
        let numbers = |name: String| numbers(&tensors.tensor(&name)?).context(name);
        let mut layers = Vec::new();
        let mut inputs = INPUTS;
        while tensors.tensor(&format!("layer{}.bias", layers.len())).is_ok() {
            let index = layers.len();
            let weight = numbers(format!("layer{index}.weight"))?;
            let bias = numbers(format!("layer{index}.bias"))?;
            ensure!(weight.len() == inputs * bias.len(), "layer {index} does not fit the one before");
            inputs = bias.len();
            layers.push((weight, bias));
        }
        ensure!(inputs == CLASSES, "{inputs} classes instead of {CLASSES}");
        Ok(Evidence { layers })
    }

    /// Logarithms of how likely each body is each label, or none.
    pub fn judge(&self, bodies: &[Body]) -> Result<Vec<Judged>> {
        describe(bodies)
            .chunks_exact(INPUTS)
            .map(|row| {
                let mut values = row.to_vec();
                for (index, (weight, bias)) in self.layers.iter().enumerate() {
                    let inputs = values.len();
                    let last = index + 1 == self.layers.len();
                    values = weight
                        .chunks_exact(inputs)
                        .zip(bias)
                        .map(|(weight, bias)| {
                            let sum = weight.iter().zip(&values).map(|(w, v)| w * v).sum::<f32>() + bias;
                            if last { sum } else { sum.max(0.0) }
                        })
                        .collect();
                }
                let values: [f32; CLASSES] =
                    values.try_into().ok().context("the network has another number of classes")?;
                let largest = values.iter().copied().fold(f32::MIN, f32::max);
                let sum: f64 = values.iter().map(|value| f64::from(value - largest).exp()).sum();
                let chances = values.map(|value| f64::from(value - largest) - sum.ln());
                let levels =
                    std::array::from_fn(|level| class(level).map_or(UNKNOWN, |class| chances[class]));
                Ok(Judged { levels, none: chances[NONE] })
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::super::prices;
    use super::*;

    fn body(z: f64) -> Body {
        Body { mm: [0.0, 0.0, z], segments: [0.1, 0.1, 0.9], pedicles: [None; 2], seen: true }
    }

    #[test]
    fn a_window_holds_the_neighbours_in_their_slots() {
        assert_eq!(describe_one(&[body(100.0)], 0).len(), PER_BODY);
        let rows = describe(&[body(100.0), body(55.0)]);
        let part = |row: usize, slot: usize| &rows[row * INPUTS + slot * PER_BODY..][..PER_BODY];
        // 45 mm down is half a step further than usual, from here to the next and there from the last.
        assert_eq!(part(0, REACH)[..6], [1.0, 0.0, 0.0, -0.5, 0.5, 0.0]);
        assert_eq!(part(0, REACH + 1)[5..9], [0.0, 0.0, -0.5, 0.5]);
        assert_eq!(part(1, REACH - 1), part(0, REACH));
        assert!(part(1, REACH + 1).iter().all(|&value| value == 0.0));
    }

    #[test]
    fn the_shipped_network_is_whole_and_its_answers_are_probabilities() {
        let judged = Evidence::shipped().judge(&[body(100.0), body(65.0)]).unwrap();
        for body in judged {
            let own = (0..prices::LEVELS).filter(|&level| level != T13).map(|level| body.levels[level]);
            let sum: f64 = own.chain([body.none]).map(f64::exp).sum();
            assert_eq!(body.levels[T13], body.levels[T13 - 1]);
            assert!((sum - 1.0).abs() < 1e-5, "{sum}");
        }
    }
}
