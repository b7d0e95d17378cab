//! What a U-Net is built from.

use burn::module::{Module, Param};
use burn::nn::{BatchNorm, BatchNormConfig};
use burn::tensor::activation::relu;
use burn::tensor::backend::Backend;
use burn::tensor::module::max_pool2d;
use burn::tensor::{Tensor, TensorData};

use super::architecture::LayerShape;
use super::weights::{LayerWeights, Norm};
use crate::kernels::{ConvBackend, convolve};

/// Added to the variance before its root is taken (SPEC §6).
pub const EPSILON: f64 = 1e-3;
/// Share of the batch in the running statistics: 1 − Keras's momentum of 0.1.
pub const MOMENTUM: f64 = 0.9;

/// A convolution, its bias, and the normalisation and activation that follow it.
#[derive(Module, Debug)]
pub struct Layer<B: Backend> {
    kernel: Param<Tensor<B, 5>>,
    bias: Param<Tensor<B, 1>>,
    norm: Option<BatchNorm<B>>,
    rectified: bool,
}

impl<B: ConvBackend> Layer<B> {
    /// `[n, inputs, x, y, z]` → `[n, outputs, x, y, z]`.
    pub fn forward(&self, x: Tensor<B, 5>) -> Tensor<B, 5> {
        let x = convolve(x, self.kernel.val());
        let channels = self.bias.dims()[0];
        let mut x = x + self.bias.val().reshape([1, channels, 1, 1, 1]);
        if let Some(norm) = &self.norm {
            x = norm.forward(x);
        }
        if self.rectified { relu(x) } else { x }
    }
}

impl<B: Backend> Layer<B> {
    /// A layer with the given weights.
    pub fn new(shape: &LayerShape, weights: &LayerWeights, device: &B::Device) -> Self {
        let vector = |values: &[f32]| {
            Tensor::<B, 1>::from_data(TensorData::new(values.to_vec(), [values.len()]), device)
        };
        let [x, y, z] = shape.kernel;
        let kernel = TensorData::new(weights.kernel.clone(), [shape.outputs, shape.inputs, x, y, z]);
        let norm = weights.norm.as_ref().map(|norm| {
            let mut module =
                BatchNormConfig::new(shape.outputs).with_epsilon(EPSILON).with_momentum(MOMENTUM).init(device);
            module.gamma = Param::from_tensor(vector(&norm.gamma));
            module.beta = Param::from_tensor(vector(&norm.beta));
            module.running_mean = burn::module::RunningState::new(vector(&norm.mean));
            module.running_var = burn::module::RunningState::new(vector(&norm.variance));
            module
        });
        Layer {
            kernel: Param::from_tensor(Tensor::from_data(kernel, device)),
            bias: Param::from_tensor(vector(&weights.bias)),
            norm,
            rectified: shape.rectified,
        }
    }

    /// The layer's weights as plain numbers.
    pub fn weights(&self) -> LayerWeights {
        fn plain<B: Backend, const D: usize>(tensor: Tensor<B, D>) -> Vec<f32> {
            tensor.into_data().convert::<f32>().into_vec().unwrap_or_default()
        }
        LayerWeights {
            kernel: plain(self.kernel.val()),
            bias: plain(self.bias.val()),
            norm: self.norm.as_ref().map(|norm| Norm {
                gamma: plain(norm.gamma.val()),
                beta: plain(norm.beta.val()),
                mean: plain(norm.running_mean.value_sync()),
                variance: plain(norm.running_var.value_sync()),
            }),
        }
    }
}

/// Maximum over blocks of `factor` voxels; burn has no 3-D pooling, so two 2-D ones follow each
/// other. `[n, c, x, y, z]` → `[n, c, x / factor, …]`.
pub fn pool<B: Backend>(x: Tensor<B, 5>, factor: [usize; 3]) -> Tensor<B, 5> {
    let [n, c, a, b, d] = x.dims();
    let [fa, fb, fd] = factor;
    let x = x.reshape([n * c, a, b, d]);
    let x = max_pool2d(x, [fb, fd], [fb, fd], [0, 0], [1, 1], false);
    let x = if fa > 1 {
        let x = x.reshape([n * c, 1, a, (b / fb) * (d / fd)]);
        max_pool2d(x, [fa, 1], [fa, 1], [0, 0], [1, 1], false)
    } else {
        x
    };
    x.reshape([n, c, a / fa, b / fb, d / fd])
}

/// Every voxel repeated `factor` times along each axis (nearest neighbour).
pub fn upsample<B: Backend>(x: Tensor<B, 5>, factor: [usize; 3]) -> Tensor<B, 5> {
    let [n, c, a, b, d] = x.dims();
    let [fa, fb, fd] = factor;
    x.reshape([n * c * a, 1, b, 1, d, 1])
        .expand([n * c * a, fa, b, fb, d, fd])
        .reshape([n, c, fa * a, fb * b, fd * d])
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::backend::Flex;

    fn counting(dims: [usize; 5]) -> (Tensor<Flex, 5>, Vec<f32>) {
        let values: Vec<f32> = (0..dims.iter().product()).map(|i: usize| ((i * 37) % 101) as f32).collect();
        let data = TensorData::new(values.clone(), dims);
        (Tensor::from_data(data, &Default::default()), values)
    }

    #[test]
    fn pooling_takes_the_largest_voxel_of_each_block() {
        for factor in [[2, 2, 2], [1, 2, 2]] {
            let [a, b, c] = [4, 6, 8];
            let (x, values) = counting([1, 2, a, b, c]);
            let pooled: Vec<f32> = pool(x, factor).into_data().to_vec().unwrap();
            let mut expected = vec![f32::MIN; pooled.len()];
            for (index, value) in values.into_iter().enumerate() {
                let (channel, i, j, k) = (index / (a * b * c), index / (b * c) % a, index / c % b, index % c);
                let at = ((channel * (a / factor[0]) + i / factor[0]) * (b / 2) + j / 2) * (c / 2) + k / 2;
                expected[at] = expected[at].max(value);
            }
            assert_eq!(pooled, expected);
        }
    }

    #[test]
    fn upsampling_repeats_every_voxel() {
        let [a, b, c] = [2, 3, 4];
        let (x, values) = counting([2, 1, a, b, c]);
        let large: Vec<f32> = upsample(x, [2, 2, 2]).into_data().to_vec().unwrap();
        for (index, value) in large.into_iter().enumerate() {
            let (n, i, j, k) =
                (index / (8 * a * b * c), index / (4 * b * c) % (2 * a), index / (2 * c) % (2 * b), index % (2 * c));
            assert_eq!(value, values[((n * a + i / 2) * b + j / 2) * c + k / 2]);
        }
    }
}
