//! What each body looks like, judged with its neighbours: a small network over a window of bodies.

use std::sync::OnceLock;

use anyhow::{Context, Result, ensure};
use safetensors::tensor::SafeTensors;

use super::body::Body;
use super::chain::{self, Judged};
use crate::network::weights::safetensors::numbers;

/// Bodies on either side that are looked at.
pub const REACH: usize = 6;
/// Numbers that describe a neighbour.
const PER_BODY: usize = 12;
/// Numbers that describe a body and its neighbours.
pub const INPUTS: usize = (2 * REACH + 1) * PER_BODY;
/// Levels that are told apart: C1 to L6 and S1, in order.
pub const LEVELS: usize = 26;
/// The levels, then "no vertebra".
pub const CLASSES: usize = LEVELS + 1;
/// The class of what is no vertebra.
pub const NONE: usize = LEVELS;

/// Logarithm of how likely a level is that the network does not know.
const UNKNOWN: f64 = -30.0;

/// Middle and spread of the pedicles' width, distance behind and above, in mm.
const PEDICLES: [[f64; 2]; 3] = [[30.0, 15.0], [20.0, 8.0], [4.0, 6.0]];

/// The network: weights `[outputs][inputs]` and biases of each layer, a ReLU between.
#[derive(Clone, Debug)]
pub struct Evidence {
    layers: Vec<(Vec<f32>, Vec<f32>)>,
}

/// Describes every body and its neighbours, `INPUTS` numbers each: present, position relative to
/// the body, segments, pedicles, seen.
pub fn describe(bodies: &[Body]) -> Vec<f32> {
    let mut rows = vec![0.0; bodies.len() * INPUTS];
    for (index, row) in rows.chunks_exact_mut(INPUTS).enumerate() {
        for (slot, part) in row.chunks_exact_mut(PER_BODY).enumerate() {
            let Some(other) = (index + slot).checked_sub(REACH).and_then(|at| bodies.get(at)) else {
                continue;
            };
            part[0] = 1.0;
            for axis in 0..3 {
                part[1 + axis] = ((other.mm[axis] - bodies[index].mm[axis]) / 100.0) as f32;
                part[4 + axis] = (other.segments[axis].clamp(0.005, 1.0).ln() / 4.0) as f32;
            }
            if let Some(pedicles) = other.pedicles {
                let values = [pedicles.width, pedicles.behind, pedicles.above];
                for (at, (value, [middle, spread])) in values.into_iter().zip(PEDICLES).enumerate() {
                    part[7 + at] = ((value - middle) / spread) as f32;
                }
                part[10] = 1.0;
            }
            part[11] = if other.seen { 0.0 } else { 1.0 };
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
                let mut levels = [UNKNOWN; chain::LEVELS];
                levels[..LEVELS].copy_from_slice(&chances[..LEVELS]);
                Ok(Judged { levels, none: chances[NONE] })
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(z: f64) -> Body {
        Body { mm: [0.0, 0.0, z], segments: [0.1, 0.1, 0.9], pedicles: None, seen: true }
    }

    #[test]
    fn a_window_holds_the_neighbours_in_their_slots() {
        let rows = describe(&[body(100.0), body(65.0)]);
        let part = |row: usize, slot: usize| &rows[row * INPUTS + slot * PER_BODY..][..PER_BODY];
        assert_eq!(part(0, REACH)[..4], [1.0, 0.0, 0.0, 0.0]);
        assert_eq!(part(0, REACH + 1)[3], -0.35);
        assert_eq!(part(1, REACH - 1)[3], 0.35);
        assert!(part(1, REACH + 1).iter().all(|&value| value == 0.0));
    }

    #[test]
    fn the_shipped_network_is_whole_and_its_answers_are_probabilities() {
        let judged = Evidence::shipped().judge(&[body(100.0), body(65.0)]).unwrap();
        for body in judged {
            let sum: f64 = body.levels.iter().chain([&body.none]).map(|value| value.exp()).sum();
            assert!((sum - 1.0).abs() < 1e-5, "{sum}");
        }
    }
}
