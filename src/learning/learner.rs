//! One step of training.

use anyhow::{Context, Result};
use burn::tensor::backend::{AutodiffBackend, Backend};
use burn::tensor::{Tensor, TensorData};

use super::adam::Adam;
use super::batches::Batch;
use super::metrics::Scores;
use super::objective::Objective;
use crate::kernels::KernelBackend;
use crate::kernels::isa::Isa;
use crate::network::{Unet, Weights};

/// A network in training with its optimiser.
pub struct Learner<B: AutodiffBackend<InnerBackend: KernelBackend> + KernelBackend> {
    /// Never absent between steps: the optimiser takes the module and gives it back moved, and a
    /// second owner meanwhile would make it copy every weight.
    model: Option<Unet<B>>,
    /// The optimiser.
    pub(super) adam: Adam<B::InnerBackend>,
    objective: Objective,
    device: B::Device,
}

impl<B> Learner<B>
where
    B: AutodiffBackend<InnerBackend: KernelBackend> + KernelBackend,
{
    /// The network with the given weights; `momentum` is that of its running statistics, `isa` what the
    /// processor computes convolutions with.
    pub fn new(
        weights: &Weights,
        adam: Adam<B::InnerBackend>,
        objective: Objective,
        momentum: f64,
        isa: Isa,
        device: &B::Device,
    ) -> Self {
        let model = Unet::new(weights, device).with_momentum(momentum).computed_by(isa);
        Learner { model: Some(model), adam, objective, device: device.clone() }
    }

    /// The network as it is now.
    pub(super) fn model(&self) -> Result<&Unet<B>> {
        self.model.as_ref().context("a step of this training has failed before")
    }

    /// From now on, normalises with the running statistics and leaves them as they are.
    pub(super) fn freeze(&mut self) {
        self.model = self.model.take().map(Unet::frozen);
    }

    /// Moves the weights by one batch; gives its loss and scores from before the move.
    pub fn step(&mut self, batch: &Batch) -> Result<(f64, Scores)> {
        let (input, labels) = tensors::<B>(batch, &self.device);
        let output = self.model()?.forward(input);
        let loss = self.objective.loss(output.clone(), labels.clone());
        let value = scalar(loss.clone())?;
        let scores = self.objective.scores(output.inner(), labels.inner());
        let gradients = loss.backward();
        if let Some(model) = self.model.take() {
            self.model = Some(self.adam.update::<B, _>(model, &gradients));
        }
        Ok((value, scores))
    }
}

/// Input and labels of a batch on a device.
pub(super) fn tensors<B: Backend>(batch: &Batch, device: &B::Device) -> (Tensor<B, 5>, Tensor<B, 5>) {
    let tensor = |values: &[f32], shape: [usize; 5]| {
        Tensor::from_data(TensorData::new(values.to_vec(), shape), device)
    };
    (tensor(&batch.input, batch.shape), tensor(&batch.labels, batch.label_shape()))
}

/// The one number of a tensor.
pub(super) fn scalar<B: Backend>(tensor: Tensor<B, 1>) -> Result<f64> {
    let values = tensor.into_data().convert::<f32>().into_vec::<f32>();
    let value = values.ok().and_then(|values| values.first().copied());
    value.map(f64::from).context("the loss could not be read back from the device")
}
