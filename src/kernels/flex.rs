//! The operations of the networks on the CPU, with our own kernels over burn-flex's tensors.

use burn::backend::Flex;
use burn::tensor::TensorData;
use burn::tensor::ops::FloatTensor;
use burn_flex::FlexTensor;

use rayon::prelude::*;

use super::backend::{AdamStep, Frozen, KernelBackend, Normalised};
use super::direct;
use super::isa::Isa;
use super::joined::{self, Joined, PackedJoined};
use super::kernel_gradient::kernel_gradient;
use super::packed::{Direction, Packed};
use super::planes::Planes;
use super::{folding, normalisation, pooling};

/// Batch, channels and extent of a contiguous tensor.
fn dims(tensor: &FlexTensor) -> (usize, usize, [usize; 3]) {
    let shape = tensor.layout().shape();
    (shape[0], shape[1], [shape[2], shape[3], shape[4]])
}

fn tensor(values: Vec<f32>, shape: &[usize]) -> FlexTensor {
    FlexTensor::from_data(TensorData::new(values, shape.to_vec()))
}

fn volume(images: usize, channels: usize, size: [usize; 3]) -> [usize; 5] {
    [images, channels, size[0], size[1], size[2]]
}

impl KernelBackend for Flex {
    fn convolve(
        x: FloatTensor<Self>,
        kernel: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        isa: Isa,
    ) -> FloatTensor<Self> {
        let [x, kernel, bias] = [x, kernel, bias].map(|tensor| tensor.to_contiguous());
        let (images, inputs, size) = dims(&x);
        let (outputs, _, taps) = dims(&kernel);
        let isa = isa.reading(inputs);
        let packed = Packed::new(isa, kernel.storage(), [outputs, inputs], taps, Direction::Forward);
        let frame = Packed::frame(taps, Direction::Forward);
        let planes = Planes::framed_for(isa, x.storage(), images, inputs, size, frame);
        let output = direct::convolved(&planes, &packed, Some(bias.storage()));
        tensor(output, &volume(images, outputs, size))
    }

    fn convolve_backward(
        x: FloatTensor<Self>,
        kernel: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
        input_wanted: bool,
        isa: Isa,
    ) -> ([FloatTensor<Self>; 2], Option<FloatTensor<Self>>) {
        let [x, kernel, gradient] = [x, kernel, gradient].map(|tensor| tensor.to_contiguous());
        let (images, inputs, size) = dims(&x);
        let (outputs, _, taps) = dims(&kernel);
        let (before, after) = Packed::frame(taps, Direction::Forward);
        let planes = Planes::framed(x.storage(), images, inputs, size, before, after);
        let to_kernel = kernel_gradient(isa, &planes, gradient.storage(), outputs, taps, [0; 3]);
        let to_bias = normalisation::channel_sums(gradient.storage(), images, outputs);
        let to_input = input_wanted.then(|| {
            let isa = isa.reading(outputs);
            let packed = Packed::new(isa, kernel.storage(), [outputs, inputs], taps, Direction::Backward);
            let frame = Packed::frame(taps, Direction::Backward);
            let planes = Planes::framed_for(isa, gradient.storage(), images, outputs, size, frame);
            let output = direct::convolved(&planes, &packed, None);
            tensor(output, &volume(images, inputs, size))
        });
        let kernel_shape = volume(outputs, inputs, taps);
        ([tensor(to_kernel, &kernel_shape), tensor(to_bias, &[outputs])], to_input)
    }

    fn normalise(
        x: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        beta: FloatTensor<Self>,
        frozen: Frozen,
    ) -> Normalised<FloatTensor<Self>, FloatTensor<Self>> {
        let [x, gamma, beta] = [x, gamma, beta].map(|tensor| tensor.to_contiguous());
        let (images, channels, size) = dims(&x);
        let (mean, variance) = normalisation::statistics(x.storage(), images, channels);
        let scales = normalisation::scales(gamma.storage(), beta.storage(), &mean, &variance, frozen.epsilon);
        let output = normalisation::apply(x.storage(), images, &scales, frozen.rectified);
        Normalised {
            output: tensor(output, &volume(images, channels, size)),
            mean: tensor(mean, &[channels]),
            variance: tensor(variance, &[channels]),
        }
    }

    fn normalise_backward(
        x: FloatTensor<Self>,
        parameters: [FloatTensor<Self>; 2],
        statistics: [FloatTensor<Self>; 2],
        frozen: Frozen,
        gradient: FloatTensor<Self>,
    ) -> [FloatTensor<Self>; 3] {
        let [x, gradient] = [x, gradient].map(|tensor| tensor.to_contiguous());
        let [gamma, beta] = parameters.map(|tensor| tensor.to_contiguous());
        let [mean, variance] = statistics.map(|tensor| tensor.to_contiguous());
        let (images, channels, size) = dims(&x);
        let backward = normalisation::Backward {
            x: x.storage(),
            gradient: gradient.storage(),
            gamma: gamma.storage(),
            beta: beta.storage(),
            mean: mean.storage(),
            variance: variance.storage(),
            images,
            epsilon: frozen.epsilon,
            rectified: frozen.rectified,
        };
        let (to_x, to_gamma, to_beta) = backward.compute();
        [
            tensor(to_x, &volume(images, channels, size)),
            tensor(to_gamma, &[channels]),
            tensor(to_beta, &[channels]),
        ]
    }

    fn rescale(
        x: FloatTensor<Self>,
        factor: FloatTensor<Self>,
        offset: FloatTensor<Self>,
        rectified: bool,
    ) -> FloatTensor<Self> {
        let [x, factor, offset] = [x, factor, offset].map(|tensor| tensor.to_contiguous());
        let (images, channels, size) = dims(&x);
        let pairs = factor.storage::<f32>().iter().zip(offset.storage::<f32>());
        let scales: Vec<[f32; 2]> = pairs.map(|(&factor, &offset)| [factor, offset]).collect();
        let output = normalisation::apply(x.storage(), images, &scales, rectified);
        tensor(output, &volume(images, channels, size))
    }

    fn pool(x: FloatTensor<Self>, factor: [usize; 3]) -> FloatTensor<Self> {
        let x = x.to_contiguous();
        let (images, channels, size) = dims(&x);
        let output = pooling::pool_values(x.storage(), size, factor);
        tensor(output, &volume(images, channels, pooling::pooled(size, factor)))
    }

    fn pool_backward(
        x: FloatTensor<Self>,
        factor: [usize; 3],
        gradient: FloatTensor<Self>,
    ) -> FloatTensor<Self> {
        let [x, gradient] = [x, gradient].map(|tensor| tensor.to_contiguous());
        let (images, channels, size) = dims(&x);
        let output = pooling::pool_backward(x.storage(), gradient.storage(), size, factor);
        tensor(output, &volume(images, channels, size))
    }

    fn fold(x: FloatTensor<Self>, factor: [usize; 3]) -> FloatTensor<Self> {
        let x = x.to_contiguous();
        let (images, channels, size) = dims(&x);
        let output = folding::folded(x.storage(), size, factor);
        let folded = std::array::from_fn(|axis| size[axis] / factor[axis]);
        tensor(output, &volume(images, channels * factor.iter().product::<usize>(), folded))
    }

    fn unfold(x: FloatTensor<Self>, factor: [usize; 3]) -> FloatTensor<Self> {
        let x = x.to_contiguous();
        let (images, channels, size) = dims(&x);
        let output = folding::unfolded(x.storage(), size, factor);
        let unfolded = std::array::from_fn(|axis| size[axis] * factor[axis]);
        tensor(output, &volume(images, channels / factor.iter().product::<usize>(), unfolded))
    }

    fn convolve_joined(
        skip: FloatTensor<Self>,
        coarse: FloatTensor<Self>,
        kernel: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        factor: [usize; 3],
        isa: Isa,
    ) -> FloatTensor<Self> {
        let [skip, coarse, kernel, bias] = [skip, coarse, kernel, bias].map(|tensor| tensor.to_contiguous());
        let (images, near, size) = dims(&skip);
        let (_, far, coarse_size) = dims(&coarse);
        let (outputs, _, taps) = dims(&kernel);
        let joined = Joined { outputs, inputs: [near, far], kernel: taps, factor };
        let packed = PackedJoined::new(isa, kernel.storage(), joined);
        let frame = Packed::frame(taps, Direction::Forward);
        let skip = Planes::framed_for(isa, skip.storage(), images, near, size, frame);
        let coarse = Planes::framed_for(isa, coarse.storage(), images, far, coarse_size, joined.frame());
        let output = joined::convolved_joined(&skip, &coarse, &packed, Some(bias.storage()));
        tensor(output, &volume(images, outputs, size))
    }

    fn convolve_joined_backward(
        skip: FloatTensor<Self>,
        coarse: FloatTensor<Self>,
        kernel: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
        factor: [usize; 3],
        isa: Isa,
    ) -> [FloatTensor<Self>; 4] {
        let [skip, coarse, kernel, gradient] =
            [skip, coarse, kernel, gradient].map(|tensor| tensor.to_contiguous());
        let (images, near, size) = dims(&skip);
        let (_, far, coarse_size) = dims(&coarse);
        let (outputs, _, taps) = dims(&kernel);
        let backward = joined::Backward {
            joined: Joined { outputs, inputs: [near, far], kernel: taps, factor },
            images,
            size,
            skip: skip.storage(),
            coarse: coarse.storage(),
            weights: kernel.storage(),
            gradient: gradient.storage(),
        };
        let [to_kernel, to_skip, to_coarse] = backward.compute(isa);
        let to_bias = normalisation::channel_sums(gradient.storage(), images, outputs);
        [
            tensor(to_kernel, &volume(outputs, near + far, taps)),
            tensor(to_bias, &[outputs]),
            tensor(to_skip, &volume(images, near, size)),
            tensor(to_coarse, &volume(images, far, coarse_size)),
        ]
    }

    fn probability(logits: FloatTensor<Self>) -> FloatTensor<Self> {
        let logits = logits.to_contiguous();
        let (images, _, size) = dims(&logits);
        let voxels: usize = size.iter().product();
        let mut output = vec![0.0; images * voxels];
        let pairs = logits.storage::<f32>().par_chunks(2 * voxels);
        output.par_chunks_mut(voxels).zip(pairs).for_each(|(output, pair)| {
            let (background, vertebra) = pair.split_at(voxels);
            let odds = background.par_iter().zip(vertebra).with_min_len(1 << 12);
            output.par_iter_mut().with_min_len(1 << 12).zip(odds).for_each(
                |(output, (background, vertebra))| {
                    *output = 1.0 / (1.0 + (background - vertebra).exp());
                },
            );
        });
        tensor(output, &volume(images, 1, size))
    }

    fn probability_backward(
        probability: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
    ) -> FloatTensor<Self> {
        let [probability, gradient] = [probability, gradient].map(|tensor| tensor.to_contiguous());
        let (images, _, size) = dims(&probability);
        let voxels: usize = size.iter().product();
        let mut output = vec![0.0; 2 * images * voxels];
        let inputs =
            probability.storage::<f32>().par_chunks(voxels).zip(gradient.storage::<f32>().par_chunks(voxels));
        output.par_chunks_mut(2 * voxels).zip(inputs).for_each(|(output, (probability, gradient))| {
            let (background, vertebra) = output.split_at_mut(voxels);
            let outputs = background.iter_mut().zip(vertebra);
            for ((background, vertebra), (p, g)) in outputs.zip(probability.iter().zip(gradient)) {
                let slope = g * p * (1.0 - p);
                (*background, *vertebra) = (-slope, slope);
            }
        });
        tensor(output, &volume(images, 2, size))
    }

    fn adam(
        value: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
        moments: &mut [FloatTensor<Self>; 2],
        step: AdamStep,
    ) -> FloatTensor<Self> {
        /// Numbers a task moves: enough to be worth a task.
        const CHUNK: usize = 1 << 14;
        let mut value = value.to_contiguous();
        let gradient = gradient.to_contiguous();
        let [decay, slow_decay] = step.betas.map(|beta| beta as f32);
        let (rate, epsilon) = (step.rate as f32, step.epsilon as f32);
        let (scale, kept) = (step.scale as f32, (1.0 - step.shrink) as f32);
        let [first, second] = moments;
        let values = value.storage_mut::<f32>().par_chunks_mut(CHUNK);
        let memory = first
            .storage_mut::<f32>()
            .par_chunks_mut(CHUNK)
            .zip(second.storage_mut::<f32>().par_chunks_mut(CHUNK));
        let gradients = gradient.storage::<f32>().par_chunks(CHUNK);
        values.zip(memory).zip(gradients).for_each(|((values, (first, second)), gradients)| {
            for (((value, first), second), &gradient) in
                values.iter_mut().zip(first).zip(second).zip(gradients)
            {
                let gradient = scale * gradient;
                *first = decay * *first + (1.0 - decay) * gradient;
                *second = slow_decay * *second + (1.0 - slow_decay) * gradient * gradient;
                *value = kept * *value - rate * *first / (second.sqrt() + epsilon);
            }
        });
        value
    }
}
