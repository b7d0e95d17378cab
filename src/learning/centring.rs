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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::learning::Batch;
    use crate::network::{Architecture, Kind};
    use burn::backend::{Autodiff, Flex};
    use std::path::Path;

    /// Dark volumes with one body whose voxels all lie 0.75 voxels to the left of its centre and 1.5
    /// below it.
    struct Dark;

    impl Examples for Dark {
        fn lineage(&self) -> String {
            "dark".to_owned()
        }

        fn folder(&self) -> &Path {
            Path::new("dark")
        }

        fn count(&self) -> usize {
            4
        }

        fn order(&self, _: u32, _: usize) -> Vec<usize> {
            (0..4).collect()
        }

        fn batch(&self, numbers: &[usize]) -> Result<Batch> {
            let (n, voxels) = (numbers.len(), 16 * 16 * 16);
            let mut labels = vec![0.0; n * targets::CHANNELS * voxels];
            for image in labels.chunks_exact_mut(targets::CHANNELS * voxels) {
                image[targets::SHARE * voxels + 5..][..4].fill(0.25);
                image[targets::OFFSETS.start * voxels + 5..][..4].fill(-0.75);
                image[(targets::OFFSETS.start + 2) * voxels + 5..][..4].fill(1.5);
            }
            Ok(Batch { input: vec![0.0; n * 2 * voxels], shape: [n, 2, 16, 16, 16], labels })
        }
    }

    #[test]
    fn the_mean_error_becomes_the_bias() {
        let mut weights = Weights::initial(Architecture { kind: Kind::Volume, filters: 1 }, 3);
        let device = Default::default();
        let model = Unet::<Autodiff<Flex>>::new(&weights, &device);
        centre(&model, &mut weights, &Dark, &[0, 1, 2], 2, &device).unwrap();
        let bias = &weights.layers.last().unwrap().bias[output::OFFSETS];
        assert!(
            bias.iter().zip([-0.75, 0.0, 1.5]).all(|(a, b): (&f32, f32)| (a - b).abs() < 1e-5),
            "{bias:?}"
        );
    }
}
