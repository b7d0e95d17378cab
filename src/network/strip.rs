//! A network that reads a straightened spine from flat views.
//!
//! Two towers of 2-D convolutions look at the views from the front and from the side. Each stage of a
//! tower halves what lies across the spine (pixels of a block become channels, so that nothing is
//! thrown away) until one feature vector a step along it is left. Both, and marks that say where
//! something is already known to be, go through residual 1-D convolutions along the spine.

use burn::module::Module;
use burn::tensor::activation::relu;
use burn::tensor::backend::Backend;
use burn::tensor::{Tensor, TensorData};
use serde::{Deserialize, Serialize};

use super::architecture::LayerShape;
use super::blocks::Layer;
use super::weights::LayerWeights;
use crate::kernels::isa::Isa;
use crate::kernels::{KernelBackend, fold};
use crate::random::Legacy;
use crate::straighten::Views;

/// What a strip network is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Reading {
    /// Where along a rough course the centres of bodies lie.
    Bodies,
    /// Which level each of some bodies is.
    Names,
}

impl std::fmt::Display for Reading {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Reading::Bodies => "bodies",
            Reading::Names => "names",
        })
    }
}

/// What a strip network looks like and what it is given.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StripArchitecture {
    /// What it is for.
    pub reading: Reading,
    /// What it is shown.
    pub views: Views,
    /// Channels of each stage of a tower; each halves the pixels across.
    pub widths: Vec<usize>,
    /// How many pixels along the spine become one in each stage.
    pub along: Vec<usize>,
    /// Features of a tower.
    pub features: usize,
    /// Channels of marks beside the features.
    pub marks: usize,
    /// Channels along the spine.
    pub hidden: usize,
    /// Taps of each convolution along the spine.
    pub taps: usize,
    /// Residual blocks along the spine.
    pub blocks: usize,
    /// Channels of the answer.
    pub outputs: usize,
}

impl StripArchitecture {
    /// Pixels along the spine for each step of the answer.
    pub(crate) fn pixels_per_step(&self) -> usize {
        self.along.iter().product()
    }

    /// The middle of a step of the answer, in pixels along the spine.
    pub fn middle(&self, step: usize) -> f64 {
        let pixels = self.pixels_per_step() as f64;
        step as f64 * pixels + (pixels - 1.0) / 2.0
    }

    /// Pixels across must be a multiple of this.
    pub(crate) fn granularity(&self) -> usize {
        1 << self.widths.len()
    }

    /// All convolutions in the order in which they are computed: the tower of the views from the front,
    /// the one of those from the side, then along the spine.
    pub fn layers(&self) -> Vec<LayerShape> {
        let layer = |inputs, outputs, kernel, normalised, rectified| LayerShape {
            inputs,
            outputs,
            kernel,
            normalised,
            rectified,
        };
        let mut layers = Vec::new();
        let towers = [
            (self.views.coronal.len(), self.views.across[0]),
            (self.views.sagittal.len(), self.views.across[1]),
        ];
        for (mut channels, pixels) in towers {
            for (&width, &along) in self.widths.iter().zip(&self.along) {
                layers.push(layer(channels * 2 * along, width, [1, 3, 3], true, true));
                layers.push(layer(width, width, [1, 3, 3], true, true));
                channels = width;
            }
            // What is left across becomes channels, too.
            let left = pixels / self.granularity();
            layers.push(layer(channels * left, self.features, [1, 1, 1], false, true));
        }
        layers.push(layer(2 * self.features + self.marks, self.hidden, [1, 1, 1], false, false));
        for _ in 0..self.blocks {
            layers.push(layer(self.hidden, self.hidden, [1, 1, self.taps], true, true));
            layers.push(layer(self.hidden, self.hidden, [1, 1, 1], false, false));
        }
        layers.push(layer(self.hidden, self.outputs, [1, 1, 1], false, false));
        layers
    }

    /// Number of weights, running statistics included.
    pub fn parameters(&self) -> usize {
        let count = |layer: &LayerShape| {
            layer.inputs * layer.outputs * layer.kernel.iter().product::<usize>()
                + layer.outputs * if layer.normalised { 5 } else { 1 }
        };
        self.layers().iter().map(count).sum()
    }
}

/// What a strip network is given, `n` spines at once.
pub struct StripInput<B: Backend> {
    /// Views from the front, `[n, view, 1, left, along]`.
    pub coronal: Tensor<B, 5>,
    /// Views from the side, `[n, view, 1, back, along]`.
    pub sagittal: Tensor<B, 5>,
    /// Marks `[n, mark, 1, 1, step]`, if the network takes any.
    pub marks: Option<Tensor<B, 5>>,
}

/// Sets random activations to zero while training, so that no feature is relied on alone.
pub struct Dropout<'a> {
    /// Where the chances come from.
    pub random: &'a mut Legacy,
    /// Share of a tower's channels.
    pub features: f64,
    /// Share of the activations along the spine.
    pub hidden: f64,
}

impl Dropout<'_> {
    /// `x` with a `share` of its values or, with `whole`, of its channels set to zero, the rest enlarged.
    fn apply<B: Backend>(&mut self, x: Tensor<B, 5>, share: f64, whole: bool) -> Tensor<B, 5> {
        let [n, c, a, b, l] = x.dims();
        let shape = if whole { [n, c, 1, 1, 1] } else { [n, c, a, b, l] };
        let kept = (1.0 / (1.0 - share)) as f32;
        let count = shape.iter().product();
        let mask: Vec<f32> =
            (0..count).map(|_| if self.random.uniform() < share { 0.0 } else { kept }).collect();
        let mask = Tensor::<B, 5>::from_data(TensorData::new(mask, shape), &x.device());
        x * mask
    }
}

/// A strip network on a backend.
#[derive(Module, Debug)]
pub struct Strip<B: Backend> {
    layers: Vec<Layer<B>>,
}

impl<B: Backend> Strip<B> {
    /// The network with the given weights, in the order of [`StripArchitecture::layers`].
    pub fn new(architecture: &StripArchitecture, weights: &[LayerWeights], device: &B::Device) -> Self {
        let shapes = architecture.layers();
        Strip { layers: shapes.iter().zip(weights).map(|(s, w)| Layer::new(s, w, device)).collect() }
    }

    /// The network with another momentum of its running statistics.
    pub(crate) fn with_momentum(mut self, momentum: f64) -> Self {
        self.layers = self.layers.into_iter().map(|layer| layer.with_momentum(momentum)).collect();
        self
    }

    /// The network with its convolutions computed by other instructions of the processor.
    pub(crate) fn computed_by(mut self, isa: Isa) -> Self {
        self.layers = self.layers.into_iter().map(|layer| layer.computed_by(isa)).collect();
        self
    }

    /// The weights as plain numbers.
    pub fn weights(&self) -> Vec<LayerWeights> {
        self.layers.iter().map(Layer::weights).collect()
    }
}

impl<B: KernelBackend> Strip<B> {
    /// The answer `[n, outputs, 1, 1, step]`; pixels along are a multiple of those of a step.
    pub fn forward(
        &self,
        architecture: &StripArchitecture,
        input: StripInput<B>,
        mut dropout: Option<Dropout>,
    ) -> Tensor<B, 5> {
        let stages = architecture.widths.len();
        let per_tower = 2 * stages + 1;
        let mut features = Vec::with_capacity(3);
        for (tower, mut x) in [input.coronal, input.sagittal].into_iter().enumerate() {
            let layers = &self.layers[tower * per_tower..][..per_tower];
            for (pair, &along) in layers.chunks_exact(2).zip(&architecture.along) {
                x = fold(x, [1, 2, along]);
                x = pair[1].forward(pair[0].forward(x));
            }
            if let Some(dropout) = &mut dropout {
                x = dropout.apply(x, dropout.features, true);
            }
            let left = x.dims()[3];
            features.push(layers[2 * stages].forward(fold(x, [1, left, 1])));
        }
        features.extend(input.marks);
        let rest = &self.layers[2 * per_tower..];
        let mut x = rest[0].forward(Tensor::cat(features, 1));
        let (blocks, output) = rest[1..].split_at(2 * architecture.blocks);
        for pair in blocks.chunks_exact(2) {
            let mut inner = pair[0].forward(x.clone());
            if let Some(dropout) = &mut dropout {
                inner = dropout.apply(inner, dropout.hidden, false);
            }
            x = relu(x + pair[1].forward(inner));
        }
        output[0].forward(x)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::network::StripWeights;
    use crate::straighten::{Kind, View, Window};
    use burn::backend::Flex;

    /// A network small enough for a test of moments.
    pub(crate) fn tiny(reading: Reading, marks: usize, outputs: usize) -> StripArchitecture {
        let window = Window { centre: 100.0, width: 400.0, limits: [-1.0, 1.0] };
        let view = View { window, range: [-10.0, 10.0], kind: Kind::Mean };
        StripArchitecture {
            reading,
            views: Views {
                pitch: 3.0,
                across: [16, 8],
                front: -12.0,
                coronal: vec![view; 2],
                sagittal: vec![view],
            },
            widths: vec![8, 16],
            along: vec![1, 2],
            features: 8,
            marks,
            hidden: 16,
            taps: 5,
            blocks: 1,
            outputs,
        }
    }

    #[test]
    fn the_answer_has_a_step_for_every_few_pixels() {
        let architecture = tiny(Reading::Names, 2, 27);
        let weights = StripWeights::initial(architecture.clone(), 1);
        let network = Strip::<Flex>::new(&architecture, &weights.layers, &Default::default());
        let zeros = |shape: [usize; 5]| Tensor::<Flex, 5>::zeros(shape, &Default::default());
        let input = StripInput {
            coronal: zeros([3, 2, 1, 16, 20]),
            sagittal: zeros([3, 1, 1, 8, 20]),
            marks: Some(zeros([3, 2, 1, 1, 10])),
        };
        assert_eq!(network.forward(&architecture, input, None).dims(), [3, 27, 1, 1, 10]);
        let count: usize = network.weights().iter().map(|layer| layer.kernel.len() + layer.bias.len()).sum();
        let norms: usize = architecture.layers().iter().filter(|l| l.normalised).map(|l| 4 * l.outputs).sum();
        assert_eq!(count + norms, architecture.parameters());
    }
}
