//! A trained network on the CPU: normalisation folded into the kernels, activations fused, weights
//! laid out once, every layer writing straight into the frame its successor reads.

use anyhow::Result;
use ndarray::Array5;
use rayon::prelude::*;

use super::architecture::{Architecture, Kind, LayerShape, OUTPUT, Reader, joins, reader, walk};
use super::blocks::EPSILON;
use super::predictor::Predictor;
use super::weights::{LayerWeights, Weights};
use crate::kernels::destination::Destination;
use crate::kernels::direct::{Finish, convolve};
use crate::kernels::isa::Isa;
use crate::kernels::joined::{Joined, PackedJoined, convolve_joined};
use crate::kernels::normalisation;
use crate::kernels::packed::{Direction, Packed};
use crate::kernels::pairs::{paired, words};
use crate::kernels::planes::{self, Planes};
use crate::kernels::pooling::pool;

/// A network computed by our own kernels.
pub struct CpuPredictor {
    architecture: Architecture,
    layers: Vec<Layer>,
}

/// A convolution whose normalisation is part of its weights.
struct Layer {
    shape: LayerShape,
    kernel: Kernel,
    bias: Vec<f32>,
    /// Whether values and weights are rounded to bfloat16.
    half: bool,
}

enum Kernel {
    Plain(Packed),
    Joined(PackedJoined),
}

/// Zeros before and after the volumes that a layer reads.
type Frame = ([usize; 3], [usize; 3]);

impl Layer {
    fn new(isa: Isa, shape: LayerShape, weights: &LayerWeights, coarse: Option<(usize, [usize; 3])>) -> Self {
        let (mut kernel, mut bias) = (weights.kernel.clone(), weights.bias.clone());
        if let Some(norm) = &weights.norm {
            let scales = normalisation::scales(&norm.gamma, &norm.beta, &norm.mean, &norm.variance, EPSILON);
            let per_output = kernel.len() / bias.len();
            for (output, [factor, offset]) in scales.into_iter().enumerate() {
                for weight in &mut kernel[output * per_output..][..per_output] {
                    *weight *= factor;
                }
                bias[output] = bias[output] * factor + offset;
            }
        }
        let LayerShape { inputs, outputs, kernel: taps, .. } = shape;
        let kernel = match coarse {
            None => Kernel::Plain(Packed::new(isa, &kernel, [outputs, inputs], taps, Direction::Forward)),
            Some((far, factor)) => {
                let joined = Joined { outputs, inputs: [inputs - far, far], kernel: taps, factor };
                Kernel::Joined(PackedJoined::new(isa, &kernel, joined))
            }
        };
        Layer { shape, kernel, bias, half: isa.is_bf16() }
    }

    /// The frame of the input, of the skip if it joins one.
    fn frame(&self) -> Frame {
        Packed::frame(self.shape.kernel, Direction::Forward)
    }

    /// The frame of what the layer before hands over: the coarse volumes if it joins a skip.
    fn handed_frame(&self) -> Frame {
        match &self.kernel {
            Kernel::Plain(_) => self.frame(),
            Kernel::Joined(packed) => packed.frame(),
        }
    }

    /// Convolves `x`, behind the channels of `skip` if there is one.
    fn write(&self, x: &Planes, skip: Option<&Planes>, output: &mut Destination) {
        let (bias, rectified) = (Some(self.bias.as_slice()), self.shape.rectified);
        // What was written in floats.
        let halved = |x: &Planes| (self.half && !x.paired).then(|| paired(x));
        let (own, own_skip) = (halved(x), skip.and_then(halved));
        let (x, skip) = (own.as_ref().unwrap_or(x), own_skip.as_ref().or(skip));
        match (&self.kernel, skip) {
            (Kernel::Joined(packed), Some(skip)) => {
                convolve_joined(skip, x, packed, bias, rectified, output);
            }
            (Kernel::Plain(packed), _) => {
                convolve(x, packed, Finish { bias, added: false, rectified }, output)
            }
            (Kernel::Joined(..), None) => unreachable!("layers on the way up are given their skip"),
        }
    }

    /// `pairs` says whether what reads the result takes pairs of bfloat16. A joined convolution adds to what it has written, which
    /// pairs are too coarse for.
    fn apply(&self, x: &Planes, skip: Option<&Planes>, (before, after): Frame, pairs: bool) -> Planes {
        let (outputs, size) = (self.shape.outputs, skip.unwrap_or(x).size);
        let pairs = pairs && outputs.is_multiple_of(2) && matches!(self.kernel, Kernel::Plain(_));
        let channels = if pairs { words(outputs) } else { outputs };
        // SAFETY: a convolution writes all of its destination, both halves of every pair.
        let mut output = unsafe { Planes::vacant(x.images, channels, size, before, after) };
        if pairs {
            output = output.into_pairs();
        }
        self.write(x, skip, &mut output.inside());
        output
    }
}

impl CpuPredictor {
    /// The network with the given weights on the best instruction set of this machine.
    pub fn new(weights: &Weights) -> Self {
        Self::on(Isa::detect(), weights)
    }

    /// The network on a given instruction set, which this machine has to have. On one that multiplies bfloat16 (see [`Isa::bf16`])
    /// values and weights are rounded to it, but for a layer of one input, which would be half of every pair.
    pub fn on(isa: Isa, weights: &Weights) -> Self {
        let architecture = weights.architecture;
        let shapes = architecture.layers();
        let layer = |(index, weights): (usize, &LayerWeights)| {
            let coarse = joins(index).then(|| (shapes[index - 1].outputs, architecture.pooling()));
            Layer::new(isa.reading(shapes[index].inputs), shapes[index], weights, coarse)
        };
        CpuPredictor { architecture, layers: weights.layers.par_iter().enumerate().map(layer).collect() }
    }
}

impl Predictor for CpuPredictor {
    fn architecture(&self) -> Architecture {
        self.architecture
    }

    fn bytes(&self) -> usize {
        // Joined kernels are there once for each phase, with fewer taps.
        4 * self.architecture.parameters() * 3 / 2
    }

    fn bytes_per_voxel(&self) -> usize {
        // A skip, the volumes above and below it, and the buffers kept for reuse.
        4 * (4 * self.architecture.filters + 8)
    }

    fn rest(&self) {
        planes::rest();
    }

    fn predict(&self, input: Array5<f32>) -> Result<Array5<f32>> {
        let [images, channels, a, b, c]: [usize; 5] = input.dim().into();
        let values = input.as_standard_layout();
        let values = values.as_slice().unwrap_or_default();
        let factor = self.architecture.pooling();
        let layers = &self.layers;
        let (before, after) = layers[0].frame();
        let x = Planes::framed(values, images, channels, [a, b, c], before, after);
        drop(input);
        let layer = |index: usize, x: Planes, skip: Option<Planes>| {
            let (read_by, reader) = match reader(index) {
                Reader::Next => (layers[index + 1].handed_frame(), index + 1),
                Reader::Join(join) => (layers[join].frame(), join),
            };
            layers[index].apply(&x, skip.as_ref(), read_by, layers[reader].half)
        };
        let x = walk(x, layer, |next, x| pool(x, factor, layers[next].frame()));
        let output = &layers[OUTPUT];
        let channels = output.shape.outputs;
        let mut values = vec![0.0; images * channels * a * b * c];
        output.write(&x, None, &mut Destination::dense(&mut values, channels, [a, b, c]));
        if self.architecture.kind == Kind::Detection {
            softmax(&mut values, a * b * c);
        }
        Ok(Array5::from_shape_vec((images, channels, a, b, c), values)?)
    }
}

/// Two logits a voxel → two probabilities, `[image, class, voxel]`.
fn softmax(values: &mut [f32], voxels: usize) {
    for image in values.chunks_exact_mut(2 * voxels) {
        let (background, vertebra) = image.split_at_mut(voxels);
        for (background, vertebra) in background.iter_mut().zip(vertebra) {
            let odds = (*vertebra - *background).exp();
            *background = 1.0 / (1.0 + odds);
            *vertebra = 1.0 - *background;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::BurnPredictor;
    use burn::backend::Flex;

    #[test]
    fn every_instruction_set_predicts_what_burn_predicts() {
        let cases = [
            (Kind::Detection, [2, 1, 16, 32, 48]),
            (Kind::Identification, [2, 8, 1, 32, 96]),
            (Kind::Volume, [1, 2, 16, 32, 48]),
        ];
        for (kind, dims) in cases {
            let mut weights = Weights::initial(Architecture { kind, filters: 3 }, 5);
            for (index, layer) in weights.layers.iter_mut().enumerate() {
                layer.bias.fill(0.1 * index as f32);
                if let Some(norm) = &mut layer.norm {
                    norm.mean.fill(0.2);
                    norm.variance.fill(0.7);
                    norm.beta.fill(-0.1);
                }
            }
            let input = Array5::from_shape_fn(dims, |(n, c, x, y, z)| {
                ((n + c + x * 3 + y * 5 + z * 7) % 17) as f32 - 8.0
            });
            let expected =
                BurnPredictor::<Flex>::new(&weights, Default::default()).predict(input.clone()).unwrap();
            for isa in Isa::available() {
                let output = CpuPredictor::on(isa, &weights).predict(input.clone()).unwrap();
                let largest = output.iter().zip(&expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
                assert!(largest < 1e-4, "{kind} on {isa}: {largest}");
            }
        }
    }

    #[test]
    fn in_half_the_bits_predictions_differ_by_as_much_as_they_were_rounded() {
        let cases = [
            (Kind::Detection, 16, [1, 1, 16, 32, 48]),
            (Kind::Identification, 16, [1, 8, 1, 32, 96]),
            (Kind::Volume, 16, [1, 2, 16, 32, 48]),
            (Kind::Detection, 3, [1, 1, 16, 32, 48]),
        ];
        for (kind, filters, dims) in cases {
            let weights = Weights::initial(Architecture { kind, filters }, 5);
            let input = Array5::from_shape_fn(dims, |(n, c, x, y, z)| {
                ((n + c + x * 3 + y * 5 + z * 7) % 17) as f32 / 8.0 - 1.0
            });
            let exact = CpuPredictor::new(&weights).predict(input.clone()).unwrap();
            let most = exact.iter().map(|value| value.abs()).fold(0.0, f32::max);
            for isa in Isa::all_bf16() {
                let half = CpuPredictor::on(isa, &weights).predict(input.clone()).unwrap();
                let mean =
                    half.iter().zip(&exact).map(|(a, b)| (a - b).abs()).sum::<f32>() / exact.len() as f32;
                // A value has 8 bits, and 19 layers follow each other.
                assert!(mean < 0.01 * most && mean > 0.0, "{kind} on {isa}: {mean} of {most}");
            }
        }
    }
}
