//! The U-Net both stages share (docs/original.md §6).

use burn::module::Module;
use burn::tensor::Tensor;
use burn::tensor::backend::Backend;

use super::architecture::{Architecture, Kind, OUTPUT, walk};
use super::blocks::Layer;
use super::input::Input;
use super::weights::Weights;
use crate::kernels::isa::Isa;
use crate::kernels::{KernelBackend, pool};

/// A U-Net on a backend. The planar network is a volume of depth 1 with slices as channels.
#[derive(Module, Debug)]
pub struct Unet<B: Backend> {
    layers: Vec<Layer<B>>,
    pooling: [usize; 3],
}

impl<B: Backend> Unet<B> {
    /// The network with the given weights on `device`.
    pub fn new(weights: &Weights, device: &B::Device) -> Self {
        let layers = weights.architecture.layers();
        Unet {
            layers: layers.iter().zip(&weights.layers).map(|(s, w)| Layer::new(s, w, device)).collect(),
            pooling: weights.architecture.pooling(),
        }
    }

    /// The network with another momentum of its running statistics; the default is the original's.
    pub(crate) fn with_momentum(mut self, momentum: f64) -> Self {
        self.layers = self.layers.into_iter().map(|layer| layer.with_momentum(momentum)).collect();
        self
    }

    /// The network with its convolutions computed by other instructions of the processor.
    pub(crate) fn computed_by(mut self, isa: Isa) -> Self {
        self.layers = self.layers.into_iter().map(|layer| layer.computed_by(isa)).collect();
        self
    }

    /// The network with its running statistics frozen, in place of the batch's while training too.
    pub fn frozen(mut self) -> Self {
        self.layers = self.layers.into_iter().map(Layer::frozen).collect();
        self
    }

    /// The network's weights as plain numbers.
    pub fn weights(&self, architecture: Architecture, input: Input) -> Weights {
        Weights { architecture, input, layers: self.layers.iter().map(Layer::weights).collect() }
    }
}

impl<B: KernelBackend> Unet<B> {
    /// `[n, inputs, x, y, z]` → `[n, outputs, x, y, z]`: the logits of background and vertebra, or
    /// the regressed label value.
    pub fn forward(&self, x: Tensor<B, 5>) -> Tensor<B, 5> {
        let layer = |index: usize, x, skip| match skip {
            None => self.layers[index].forward(x),
            Some(skip) => self.layers[index].forward_joined(skip, x, self.pooling),
        };
        let x = walk(x, layer, |_, x| pool(x.clone(), self.pooling));
        self.layers[OUTPUT].forward(x)
    }
}

/// What leaves a network: probabilities `[n, 2, x, y, z]` of background and vertebra, label values
/// `[n, 1, x, y, z]`, or the channels of [`super::output`].
pub(crate) fn activate<B: Backend>(kind: Kind, output: Tensor<B, 5>) -> Tensor<B, 5> {
    match kind {
        Kind::Detection => burn::tensor::activation::softmax(output, 1),
        Kind::Identification | Kind::Volume => output,
    }
}
