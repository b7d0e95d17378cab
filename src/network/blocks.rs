//! What a U-Net is built from.

use burn::module::{Module, Param, RunningState};
use burn::tensor::activation::relu;
use burn::tensor::backend::Backend;
use burn::tensor::{Tensor, TensorData};

use super::architecture::LayerShape;
use super::weights::{LayerWeights, Norm};
use crate::kernels::isa::Isa;
use crate::kernels::{Frozen, KernelBackend, Normalised, convolve, convolve_joined, normalise, rescale};

/// Added to the variance before its root is taken (docs/original.md §6).
pub(crate) const EPSILON: f64 = 1e-3;
/// Keras's momentum: the share of the running statistics that a batch leaves in place (docs/original.md §6).
pub(crate) const MOMENTUM: f64 = 0.1;

/// Batch normalisation: the batch's own statistics while training, running ones afterwards.
#[derive(Module, Debug)]
struct BatchNorm<B: Backend> {
    gamma: Param<Tensor<B, 1>>,
    beta: Param<Tensor<B, 1>>,
    mean: RunningState<Tensor<B, 1>>,
    variance: RunningState<Tensor<B, 1>>,
    momentum: f64,
    /// Whether training uses the running statistics as they are.
    frozen: bool,
}

impl<B: KernelBackend> BatchNorm<B> {
    /// `[n, channel, x, y, z]` → the same, with a ReLU if `rectified`.
    fn forward(&self, x: Tensor<B, 5>, rectified: bool) -> Tensor<B, 5> {
        if self.frozen || !B::ad_enabled(&x.device()) {
            let scale = self.gamma.val() / (self.variance.value() + EPSILON).sqrt();
            let offset = self.beta.val() - self.mean.value() * scale.clone();
            return rescale(x, scale, offset, rectified);
        }
        let frozen = Frozen { epsilon: EPSILON, rectified };
        let Normalised { output, mean, variance } = normalise(x, self.gamma.val(), self.beta.val(), frozen);
        for (running, batch) in [(&self.mean, mean), (&self.variance, variance)] {
            let blended = running.value_sync() * self.momentum + batch.detach() * (1.0 - self.momentum);
            running.update(blended.detach());
        }
        output
    }
}

/// A convolution, its bias, and the normalisation and activation that follow it.
#[derive(Module, Debug)]
pub(crate) struct Layer<B: Backend> {
    kernel: Param<Tensor<B, 5>>,
    bias: Param<Tensor<B, 1>>,
    norm: Option<BatchNorm<B>>,
    rectified: bool,
    /// What its convolution is computed with on the processor.
    #[module(skip)]
    isa: Isa,
}

impl<B: KernelBackend> Layer<B> {
    /// `[n, inputs, x, y, z]` → `[n, outputs, x, y, z]`.
    pub fn forward(&self, x: Tensor<B, 5>) -> Tensor<B, 5> {
        self.finish(convolve(x, self.kernel.val(), self.bias.val(), self.isa))
    }

    /// The same of a skip and, behind its channels, coarse ones whose voxels are repeated `factor`
    /// times.
    pub(crate) fn forward_joined(
        &self,
        skip: Tensor<B, 5>,
        coarse: Tensor<B, 5>,
        factor: [usize; 3],
    ) -> Tensor<B, 5> {
        self.finish(convolve_joined([skip, coarse], self.kernel.val(), self.bias.val(), factor, self.isa))
    }

    fn finish(&self, x: Tensor<B, 5>) -> Tensor<B, 5> {
        match &self.norm {
            Some(norm) => norm.forward(x, self.rectified),
            None if self.rectified => relu(x),
            None => x,
        }
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
        Layer {
            kernel: Param::from_tensor(Tensor::from_data(kernel, device)),
            bias: Param::from_tensor(vector(&weights.bias)),
            norm: weights.norm.as_ref().map(|norm| BatchNorm {
                gamma: Param::from_tensor(vector(&norm.gamma)),
                beta: Param::from_tensor(vector(&norm.beta)),
                mean: RunningState::new(vector(&norm.mean)),
                variance: RunningState::new(vector(&norm.variance)),
                momentum: MOMENTUM,
                frozen: false,
            }),
            rectified: shape.rectified,
            isa: Isa::detect(),
        }
    }

    /// The layer with its convolution computed by other instructions of the processor: in bfloat16, with the weights, the sums and all
    /// else in floats.
    pub(crate) fn computed_by(mut self, isa: Isa) -> Self {
        self.isa = isa;
        self
    }

    /// The layer with another momentum of its running statistics.
    pub(crate) fn with_momentum(mut self, momentum: f64) -> Self {
        if let Some(norm) = &mut self.norm {
            norm.momentum = momentum;
        }
        self
    }

    /// The layer with its running statistics frozen: training computes what the finished layer will.
    pub fn frozen(mut self) -> Self {
        if let Some(norm) = &mut self.norm {
            norm.frozen = true;
        }
        self
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
                mean: plain(norm.mean.value_sync()),
                variance: plain(norm.variance.value_sync()),
            }),
        }
    }
}
