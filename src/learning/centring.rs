//! The last touch to a network of whole volumes: its way to a body's centre is right on average.
//!
//! With the running statistics in place of the batch's, all answers move a little, and the few steps that
//! are left do not bring them back: a sixth of a voxel is a millimetre on every centroid.

use anyhow::Result;
use burn::module::AutodiffModule;
use burn::tensor::backend::AutodiffBackend;

use super::batches::Examples;
use super::learner::tensors;
use crate::kernels::KernelBackend;
use crate::network::{Unet, Weights, output};
use crate::sampling::targets;

/// Examples that the mean error is taken over.
const EXAMPLES: usize = 96;

/// Takes the mean error of the way to the centre, over examples of an epoch of its own, off the bias of
/// the network's output. Every body counts the same.
pub fn centre<B>(
    model: &Unet<B>,
    weights: &mut Weights,
    examples: &dyn Examples,
    order: &[usize],
    batch_size: usize,
    device: &B::Device,
) -> Result<()>
where
    B: AutodiffBackend<InnerBackend: KernelBackend> + KernelBackend,
{
    let frozen = model.valid();
    let (mut sums, mut bodies) = ([0.0f64; 3], 0.0f64);
    examples.for_each_batch(&order[..order.len().min(EXAMPLES)], batch_size, false, &mut |batch| {
        let [n, _, x, y, z] = batch.shape;
        let voxels = x * y * z;
        let (input, _) = tensors::<B::InnerBackend>(&batch, device);
        let answer: Vec<f32> =
            frozen.forward(input).into_data().convert::<f32>().into_vec().unwrap_or_default();
        for image in 0..n {
            let label =
                |channel: usize| &batch.labels[(image * targets::CHANNELS + channel) * voxels..][..voxels];
            let shares = label(targets::SHARE);
            bodies += shares.iter().map(|&share| f64::from(share)).sum::<f64>();
            for (axis, sum) in sums.iter_mut().enumerate() {
                let channel = image * output::CHANNELS + output::OFFSETS.start + axis;
                let given = &answer[channel * voxels..][..voxels];
                let wanted = label(targets::OFFSETS.start + axis);
                let errors = shares.iter().zip(given.iter().zip(wanted));
                *sum += errors.map(|(share, (a, b))| f64::from(share * (a - b))).sum::<f64>();
            }
        }
        Ok(())
    })?;
    if let (true, Some(last)) = (bodies > 0.0, weights.layers.last_mut()) {
        for (bias, sum) in last.bias[output::OFFSETS].iter_mut().zip(sums) {
            *bias -= (sum / bodies) as f32;
        }
    }
    Ok(())
}
