//! The operations of the networks with burn's own kernels, for any backend.

use burn::tensor::Tensor;
use burn::tensor::backend::Backend;
use burn::tensor::ops::{ConvOptions, FloatTensor, ModuleOps};

use super::backend::{AdamStep, Frozen, KernelBackend, Normalised};
use super::isa::Isa;
use super::operations::{unwrap, wrap};

fn kernel_sizes<B: Backend>(kernel: &FloatTensor<B>) -> [usize; 3] {
    let [_, _, x, y, z] = wrap::<B, 5>(kernel.clone()).dims();
    [x, y, z]
}

fn options(sizes: [usize; 3]) -> ConvOptions<3> {
    ConvOptions::new([1; 3], sizes.map(|size| (size - 1) / 2), [1; 3], 1)
}

/// Appends the one far-end zero by which "same" padding of an even kernel is lopsided.
fn lean<B: Backend>(x: FloatTensor<B>, sizes: [usize; 3]) -> FloatTensor<B> {
    let mut x = wrap::<B, 5>(x);
    for (axis, size) in sizes.into_iter().enumerate() {
        if size % 2 == 0 {
            let mut dims = x.dims();
            dims[axis + 2] = 1;
            let zeros = Tensor::zeros(dims, &x.device());
            x = Tensor::cat(vec![x, zeros], axis + 2);
        }
    }
    unwrap(x)
}

pub fn convolve<B: Backend>(
    x: FloatTensor<B>,
    kernel: FloatTensor<B>,
    bias: FloatTensor<B>,
) -> FloatTensor<B> {
    let sizes = kernel_sizes::<B>(&kernel);
    <B as ModuleOps<B>>::conv3d(lean::<B>(x, sizes), kernel, Some(bias), options(sizes))
}

pub(crate) fn convolve_backward<B: Backend>(
    x: FloatTensor<B>,
    kernel: FloatTensor<B>,
    gradient: FloatTensor<B>,
    input_wanted: bool,
) -> ([FloatTensor<B>; 2], Option<FloatTensor<B>>) {
    let sizes = kernel_sizes::<B>(&kernel);
    let dims = wrap::<B, 5>(x.clone()).dims();
    let padded = lean::<B>(x, sizes);
    let input = input_wanted.then(|| {
        let full = <B as ModuleOps<B>>::conv3d_x_backward(
            padded.clone(),
            kernel.clone(),
            gradient.clone(),
            options(sizes),
        );
        unwrap(wrap::<B, 5>(full).slice(dims.map(|size| 0..size)))
    });
    let bias = per_channel(wrap::<B, 5>(gradient.clone()));
    let kernel = <B as ModuleOps<B>>::conv3d_weight_backward(padded, kernel, gradient, options(sizes));
    ([kernel, unwrap(bias)], input)
}

/// Sum over everything but the channels.
fn per_channel<B: Backend>(x: Tensor<B, 5>) -> Tensor<B, 1> {
    let channels = x.dims()[1];
    x.sum_dim(0).sum_dim(2).sum_dim(3).sum_dim(4).reshape([channels])
}

fn spread<B: Backend>(vector: Tensor<B, 1>) -> Tensor<B, 5> {
    let channels = vector.dims()[0];
    vector.reshape([1, channels, 1, 1, 1])
}

pub fn normalise<B: Backend>(
    x: FloatTensor<B>,
    gamma: FloatTensor<B>,
    beta: FloatTensor<B>,
    frozen: Frozen,
) -> Normalised<FloatTensor<B>, FloatTensor<B>> {
    let x = wrap::<B, 5>(x);
    let [n, channels, a, b, c] = x.dims();
    let count = (n * a * b * c) as f64;
    let mean = per_channel(x.clone()) / count;
    let centred = x - spread(mean.clone());
    let variance = per_channel(centred.clone().square()) / count;
    debug_assert_eq!(variance.dims(), [channels]);
    let scale = wrap::<B, 1>(gamma) / (variance.clone() + frozen.epsilon).sqrt();
    let mut output = centred * spread(scale) + spread(wrap(beta));
    if frozen.rectified {
        output = burn::tensor::activation::relu(output);
    }
    Normalised { output: unwrap(output), mean: unwrap(mean), variance: unwrap(variance) }
}

pub(crate) fn normalise_backward<B: Backend>(
    x: FloatTensor<B>,
    [gamma, beta]: [FloatTensor<B>; 2],
    [mean, variance]: [FloatTensor<B>; 2],
    frozen: Frozen,
    gradient: FloatTensor<B>,
) -> [FloatTensor<B>; 3] {
    let (x, gamma) = (wrap::<B, 5>(x), wrap::<B, 1>(gamma));
    let [n, _, a, b, c] = x.dims();
    let count = (n * a * b * c) as f64;
    let inverse = (wrap::<B, 1>(variance) + frozen.epsilon).sqrt().recip();
    let standard = (x - spread(wrap(mean))) * spread(inverse.clone());
    let mut gradient = wrap::<B, 5>(gradient);
    if frozen.rectified {
        let output = standard.clone() * spread(gamma.clone()) + spread(wrap(beta));
        gradient = gradient.mask_fill(output.lower_equal_elem(0.0), 0.0);
    }
    let to_beta = per_channel(gradient.clone());
    let to_gamma = per_channel(gradient.clone() * standard.clone());
    let centred = gradient - spread(to_beta.clone() / count) - standard * spread(to_gamma.clone() / count);
    let to_x = centred * spread(gamma * inverse);
    [unwrap(to_x), unwrap(to_gamma), unwrap(to_beta)]
}

pub fn rescale<B: Backend>(
    x: FloatTensor<B>,
    factor: FloatTensor<B>,
    offset: FloatTensor<B>,
    rectified: bool,
) -> FloatTensor<B> {
    let output = wrap::<B, 5>(x) * spread(wrap(factor)) + spread(wrap(offset));
    unwrap(if rectified { burn::tensor::activation::relu(output) } else { output })
}

/// burn has no 3-D pooling: two 2-D ones follow each other, the second only in volumes.
struct TwoPools {
    /// `[n·c, x, y, z]`.
    planes: [usize; 4],
    /// `[n·c, 1, x, y·z after the first]`.
    columns: [usize; 4],
    factor: [usize; 3],
}

impl TwoPools {
    fn of(dims: [usize; 5], factor: [usize; 3]) -> Self {
        let [n, channels, a, b, c] = dims;
        TwoPools {
            planes: [n * channels, a, b, c],
            columns: [n * channels, 1, a, (b / factor[1]) * (c / factor[2])],
            factor,
        }
    }

    fn first(&self) -> [usize; 2] {
        [self.factor[1], self.factor[2]]
    }

    fn second(&self) -> [usize; 2] {
        [self.factor[0], 1]
    }
}

pub fn pool<B: Backend>(x: FloatTensor<B>, factor: [usize; 3]) -> FloatTensor<B> {
    let x = wrap::<B, 5>(x);
    let [n, channels, a, b, c] = x.dims();
    let pools = TwoPools::of(x.dims(), factor);
    let max = |x: Tensor<B, 4>, size: [usize; 2]| {
        wrap::<B, 4>(<B as ModuleOps<B>>::max_pool2d(unwrap(x), size, size, [0; 2], [1; 2], false))
    };
    let x = max(x.reshape(pools.planes), pools.first());
    let x = max(x.reshape(pools.columns), pools.second());
    unwrap(x.reshape([n, channels, a / factor[0], b / factor[1], c / factor[2]]))
}

pub(crate) fn pool_backward<B: Backend>(
    x: FloatTensor<B>,
    factor: [usize; 3],
    gradient: FloatTensor<B>,
) -> FloatTensor<B> {
    let dims = wrap::<B, 5>(x.clone()).dims();
    let pools = TwoPools::of(dims, factor);
    let (first, second) = (pools.first(), pools.second());
    let planes = unwrap(wrap::<B, 5>(x).reshape(pools.planes));
    let once =
        <B as ModuleOps<B>>::max_pool2d_with_indices(planes.clone(), first, first, [0; 2], [1; 2], false);
    let once_dims = wrap::<B, 4>(once.output.clone()).dims();
    let columns = unwrap(wrap::<B, 4>(once.output).reshape(pools.columns));
    let twice =
        <B as ModuleOps<B>>::max_pool2d_with_indices(columns.clone(), second, second, [0; 2], [1; 2], false);
    let gradient = wrap::<B, 5>(gradient).reshape(wrap::<B, 4>(twice.output).dims());
    let back = |x, size, gradient, indices| {
        let grad = <B as ModuleOps<B>>::max_pool2d_with_indices_backward(
            x, size, size, [0; 2], [1; 2], false, gradient, indices,
        );
        wrap::<B, 4>(grad.x_grad)
    };
    let gradient = back(columns, second, unwrap(gradient), twice.indices);
    let gradient = back(planes, first, unwrap(gradient.reshape(once_dims)), once.indices);
    unwrap(gradient.reshape(dims))
}

pub fn fold<B: Backend>(x: FloatTensor<B>, [p, q, r]: [usize; 3]) -> FloatTensor<B> {
    let x = wrap::<B, 5>(x);
    let [n, c, a, b, l] = x.dims();
    let blocks = x.reshape([n * c, a / p, p, b / q, q, l / r, r]).permute([0, 2, 4, 6, 1, 3, 5]);
    unwrap(blocks.reshape([n, c * p * q * r, a / p, b / q, l / r]))
}

pub(crate) fn unfold<B: Backend>(x: FloatTensor<B>, [p, q, r]: [usize; 3]) -> FloatTensor<B> {
    let x = wrap::<B, 5>(x);
    let [n, c, a, b, l] = x.dims();
    let blocks = x.reshape([n * c / (p * q * r), p, q, r, a, b, l]).permute([0, 4, 1, 5, 2, 6, 3]);
    unwrap(blocks.reshape([n, c / (p * q * r), a * p, b * q, l * r]))
}

pub fn join<B: Backend>(skip: FloatTensor<B>, coarse: FloatTensor<B>, factor: [usize; 3]) -> FloatTensor<B> {
    let coarse = wrap::<B, 5>(coarse);
    let [n, channels, a, b, c] = coarse.dims();
    let [fa, fb, fc] = factor;
    let large = coarse
        .reshape([n * channels * a, 1, b, 1, c, 1])
        .expand([n * channels * a, fa, b, fb, c, fc])
        .reshape([n, channels, fa * a, fb * b, fc * c]);
    unwrap(Tensor::cat(vec![wrap::<B, 5>(skip), large], 1))
}

pub(crate) fn convolve_joined_backward<B: KernelBackend>(
    skip: FloatTensor<B>,
    coarse: FloatTensor<B>,
    kernel: FloatTensor<B>,
    gradient: FloatTensor<B>,
    factor: [usize; 3],
    isa: Isa,
) -> [FloatTensor<B>; 4] {
    let channels = wrap::<B, 5>(skip.clone()).dims()[1];
    let joined = join::<B>(skip, coarse, factor);
    let ([kernel, bias], input) = B::convolve_backward(joined.clone(), kernel, gradient, true, isa);
    // The input's gradient is asked for, so it is there.
    let [skip, coarse] = join_backward::<B>(input.unwrap_or(joined), channels, factor);
    [kernel, bias, skip, coarse]
}

fn join_backward<B: Backend>(
    gradient: FloatTensor<B>,
    channels: usize,
    factor: [usize; 3],
) -> [FloatTensor<B>; 2] {
    let gradient = wrap::<B, 5>(gradient);
    let [n, all, a, b, c] = gradient.dims();
    let [fa, fb, fc] = factor;
    let skip = gradient.clone().slice([0..n, 0..channels, 0..a, 0..b, 0..c]);
    let coarse = gradient
        .slice([0..n, channels..all, 0..a, 0..b, 0..c])
        .reshape([n * (all - channels) * (a / fa), fa, b / fb, fb, c / fc, fc])
        .sum_dim(1)
        .sum_dim(3)
        .sum_dim(5)
        .reshape([n, all - channels, a / fa, b / fb, c / fc]);
    [unwrap(skip), unwrap(coarse)]
}

pub fn probability<B: Backend>(logits: FloatTensor<B>) -> FloatTensor<B> {
    let logits = wrap::<B, 5>(logits);
    let odds = logits.clone().narrow(1, 1, 1) - logits.narrow(1, 0, 1);
    unwrap(burn::tensor::activation::sigmoid(odds))
}

pub(crate) fn probability_backward<B: Backend>(
    probability: FloatTensor<B>,
    gradient: FloatTensor<B>,
) -> FloatTensor<B> {
    let p = wrap::<B, 5>(probability);
    let slope = wrap::<B, 5>(gradient) * (p.clone() - p.square());
    unwrap(Tensor::cat(vec![slope.clone().neg(), slope], 1))
}

pub(crate) fn adam<B: Backend>(
    value: FloatTensor<B>,
    gradient: FloatTensor<B>,
    moments: &mut [FloatTensor<B>; 2],
    step: AdamStep,
) -> FloatTensor<B> {
    let gradient = wrap::<B, 1>(gradient) * step.scale;
    let [first, second] = moments.clone().map(|moment| wrap::<B, 1>(moment));
    let [decay, slow_decay] = step.betas;
    let first = first * decay + gradient.clone() * (1.0 - decay);
    let second = second * slow_decay + gradient.square() * (1.0 - slow_decay);
    let moved = wrap::<B, 1>(value) * (1.0 - step.shrink)
        - first.clone() * step.rate / (second.clone().sqrt() + step.epsilon);
    *moments = [unwrap(first), unwrap(second)];
    unwrap(moved)
}
