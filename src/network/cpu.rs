//! A trained network on the CPU: normalisation folded into the kernels, activations fused, weights
//! laid out once.

use std::sync::{Arc, Mutex};

use anyhow::Result;
use ndarray::Array5;

use super::architecture::{Architecture, DEPTH, Kind, LayerShape};
use super::blocks::EPSILON;
use super::predictor::Predictor;
use super::weights::{LayerWeights, Weights};
use crate::kernels::direct::convolve;
use crate::kernels::packed::{Direction, Packed};
use crate::kernels::planes::Planes;
use crate::kernels::simd::Isa;
use crate::kernels::{normalisation, pooling};

/// A network computed by our own kernels.
pub struct CpuPredictor {
    architecture: Architecture,
    shapes: Vec<LayerShape>,
    layers: Vec<Folded>,
    isa: Isa,
    /// Kernels laid out for inputs of one extent, the last one that was asked for.
    packed: Mutex<Option<Layout>>,
}

/// Kernels laid out for inputs of one extent.
type Layout = ([usize; 3], Arc<Vec<Packed>>);

/// A convolution whose normalisation is part of its weights.
struct Folded {
    kernel: Vec<f32>,
    bias: Vec<f32>,
}

impl Folded {
    fn new(weights: &LayerWeights) -> Self {
        let mut folded = Folded { kernel: weights.kernel.clone(), bias: weights.bias.clone() };
        if let Some(norm) = &weights.norm {
            let scales = normalisation::scales(&norm.gamma, &norm.beta, &norm.mean, &norm.variance, EPSILON);
            let per_output = folded.kernel.len() / folded.bias.len();
            for (output, [factor, offset]) in scales.into_iter().enumerate() {
                for weight in &mut folded.kernel[output * per_output..][..per_output] {
                    *weight *= factor;
                }
                folded.bias[output] = folded.bias[output] * factor + offset;
            }
        }
        folded
    }
}

/// Values `[image, channel, x, y, z]` on the way through the network.
struct Activations {
    values: Vec<f32>,
    channels: usize,
    size: [usize; 3],
}

impl CpuPredictor {
    /// The network with the given weights on the best instruction set of this machine.
    pub fn new(weights: &Weights) -> Self {
        Self::on(Isa::detect(), weights)
    }

    /// The network on a given instruction set, which this machine has to have.
    pub fn on(isa: Isa, weights: &Weights) -> Self {
        CpuPredictor {
            architecture: weights.architecture,
            shapes: weights.architecture.layers(),
            layers: weights.layers.iter().map(Folded::new).collect(),
            isa,
            packed: Mutex::new(None),
        }
    }

    /// The kernels laid out for inputs of `size`.
    fn packed(&self, size: [usize; 3]) -> Arc<Vec<Packed>> {
        let mut packed = self.packed.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        match &*packed {
            Some((known, kernels)) if *known == size => Arc::clone(kernels),
            _ => {
                let layout = |(index, (shape, layer)): (usize, (&LayerShape, &Folded))| {
                    let size = self.size_at(index, size);
                    let channels = [shape.outputs, shape.inputs];
                    Packed::new(self.isa, &layer.kernel, channels, shape.kernel, size, Direction::Forward)
                };
                let kernels: Arc<Vec<Packed>> =
                    Arc::new(self.shapes.iter().zip(&self.layers).enumerate().map(layout).collect());
                *packed = Some((size, Arc::clone(&kernels)));
                kernels
            }
        }
    }

    /// Extent of the volumes that convolution `index` works on.
    fn size_at(&self, index: usize, size: [usize; 3]) -> [usize; 3] {
        let block = index / 2;
        let level = if block <= DEPTH { block } else { 2 * DEPTH - block.min(2 * DEPTH) };
        let pooling = self.architecture.pooling();
        std::array::from_fn(|axis| size[axis] / pooling[axis].pow(level as u32))
    }

    fn layer(&self, index: usize, kernels: &[Packed], images: usize, x: &Activations) -> Activations {
        let shape = &self.shapes[index];
        let (before, after) = Packed::frame(shape.kernel, Direction::Forward);
        let planes = Planes::framed(&x.values, images, x.channels, x.size, before, after);
        let mut values = vec![0.0; images * shape.outputs * x.size.iter().product::<usize>()];
        convolve(&planes, &kernels[index], Some(&self.layers[index].bias), shape.rectified, &mut values);
        Activations { values, channels: shape.outputs, size: x.size }
    }
}

impl Predictor for CpuPredictor {
    fn architecture(&self) -> Architecture {
        self.architecture
    }

    fn predict(&self, input: Array5<f32>) -> Result<Array5<f32>> {
        let [images, channels, a, b, c]: [usize; 5] = input.dim().into();
        let kernels = self.packed([a, b, c]);
        let factor = self.architecture.pooling();
        let mut indices = 0..self.layers.len();
        let mut pair = |x: Activations| {
            indices.by_ref().take(2).fold(x, |x, index| self.layer(index, &kernels, images, &x))
        };
        let values = input.as_standard_layout().into_owned().into_raw_vec_and_offset().0;
        let mut x = Activations { values, channels, size: [a, b, c] };
        let mut skips = Vec::with_capacity(DEPTH);
        for _ in 0..DEPTH {
            let skip = pair(x);
            x = Activations {
                values: pooling::pool(&skip.values, skip.size, factor),
                channels: skip.channels,
                size: pooling::pooled(skip.size, factor),
            };
            skips.push(skip);
        }
        x = pair(x);
        while let Some(skip) = skips.pop() {
            let channels = [skip.channels, x.channels];
            x = pair(Activations {
                values: pooling::join(&skip.values, &x.values, images, channels, skip.size, factor),
                channels: channels[0] + channels[1],
                size: skip.size,
            });
        }
        let mut output = self.layer(self.layers.len() - 1, &kernels, images, &x);
        if self.architecture.kind == Kind::Detection {
            softmax(&mut output.values, a * b * c);
        }
        Ok(Array5::from_shape_vec((images, output.channels, a, b, c), output.values)?)
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
        for (kind, dims) in [(Kind::Detection, [2, 1, 16, 32, 48]), (Kind::Identification, [2, 8, 1, 32, 96])]
        {
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
}
