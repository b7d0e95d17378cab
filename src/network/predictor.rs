//! A trained network behind one plain interface, whatever computes it.

use anyhow::{Result, anyhow};
use burn::tensor::{Tensor, TensorData};
use ndarray::Array5;

use super::architecture::Architecture;
use super::unet::{Unet, activate};
use super::weights::Weights;
use crate::kernels::KernelBackend;

/// A network ready to be applied.
pub trait Predictor: Send + Sync {
    /// What the network looks like.
    fn architecture(&self) -> Architecture;

    /// `[n, inputs, x, y, z]` → probabilities `[n, 2, x, y, z]` (detection), label values
    /// `[n, 1, x, y, z]` (identification) or the channels of [`super::output`] (volume). Extents are
    /// multiples of the granularity.
    fn predict(&self, input: Array5<f32>) -> Result<Array5<f32>>;

    /// Memory that the weights take.
    fn bytes(&self) -> usize {
        4 * self.architecture().parameters()
    }

    /// Memory that a prediction needs for every voxel of its input, about.
    fn bytes_per_voxel(&self) -> usize {
        // The widest level holds a skip, the coarse volumes and a result; backends keep some more.
        4 * (6 * self.architecture().filters + 8)
    }

    /// Gives back memory that was kept for the next prediction.
    fn rest(&self) {}
}

/// A network computed by burn.
pub struct BurnPredictor<B: KernelBackend> {
    network: Unet<B>,
    architecture: Architecture,
    device: B::Device,
}

impl<B: KernelBackend> BurnPredictor<B> {
    /// Brings the weights to `device`.
    pub fn new(weights: &Weights, device: B::Device) -> Self {
        BurnPredictor { network: Unet::new(weights, &device), architecture: weights.architecture, device }
    }
}

impl<B: KernelBackend<Device: Send + Sync>> Predictor for BurnPredictor<B> {
    fn architecture(&self) -> Architecture {
        self.architecture
    }

    fn predict(&self, input: Array5<f32>) -> Result<Array5<f32>> {
        let [n, c, x, y, z]: [usize; 5] = input.dim().into();
        let input = input.as_standard_layout().into_owned().into_raw_vec_and_offset().0;
        let input = Tensor::<B, 5>::from_data(TensorData::new(input, [n, c, x, y, z]), &self.device);
        let output = activate(self.architecture.kind, self.network.forward(input));
        let outputs = output.dims()[1];
        let values = output
            .into_data()
            .convert::<f32>()
            .into_vec()
            .map_err(|error| anyhow!("the network's output could not be read back: {error:?}"))?;
        Ok(Array5::from_shape_vec((n, outputs, x, y, z), values)?)
    }
}
