//! The operations a U-Net is made of, as a seam between networks and backends.

use burn::tensor::backend::Backend;
use burn::tensor::ops::FloatTensor;

use super::generic;
use super::isa::Isa;

/// A normalised batch and the statistics it was normalised with.
pub struct Normalised<T, S> {
    /// Scaled, shifted and perhaps rectified values.
    pub output: T,
    /// Mean of each channel.
    pub mean: S,
    /// Population variance of each channel.
    pub variance: S,
}

/// What [`KernelBackend::normalise`] needs to know besides tensors.
#[derive(Clone, Copy, Debug)]
pub struct Frozen {
    /// Added to the variance.
    pub epsilon: f64,
    /// Whether a ReLU follows.
    pub rectified: bool,
}

/// A backend with the operations of the networks; the defaults use burn's own kernels.
///
/// Values are `[batch, channel, x, y, z]`, planes are volumes of depth 1. Convolutions have
/// stride 1 and "same" zero padding: an axis with k taps is padded by (k − 1) / 2 zeros before and
/// k / 2 after, so that even kernels lean the way Keras's do.
pub trait KernelBackend: Backend {
    /// `x` convolved with `kernel` `[out, in, x, y, z]`, plus `bias` `[out]`.
    ///
    /// `isa` is what the processor computes convolutions with, in floats or in bfloat16 with sums of floats; other devices have their
    /// own.
    fn convolve(
        x: FloatTensor<Self>,
        kernel: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        _isa: Isa,
    ) -> FloatTensor<Self> {
        generic::convolve::<Self>(x, kernel, bias)
    }

    /// The gradients of the kernel, the bias and, if wanted, the input.
    fn convolve_backward(
        x: FloatTensor<Self>,
        kernel: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
        input_wanted: bool,
        _isa: Isa,
    ) -> ([FloatTensor<Self>; 2], Option<FloatTensor<Self>>) {
        generic::convolve_backward::<Self>(x, kernel, gradient, input_wanted)
    }

    /// Batch normalisation with the statistics of the batch itself.
    fn normalise(
        x: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        beta: FloatTensor<Self>,
        frozen: Frozen,
    ) -> Normalised<FloatTensor<Self>, FloatTensor<Self>> {
        generic::normalise::<Self>(x, gamma, beta, frozen)
    }

    /// The gradients of input, gamma and beta.
    fn normalise_backward(
        x: FloatTensor<Self>,
        [gamma, beta]: [FloatTensor<Self>; 2],
        [mean, variance]: [FloatTensor<Self>; 2],
        frozen: Frozen,
        gradient: FloatTensor<Self>,
    ) -> [FloatTensor<Self>; 3] {
        generic::normalise_backward::<Self>(x, [gamma, beta], [mean, variance], frozen, gradient)
    }

    /// Every value times its channel's `factor` plus its `offset`, then a ReLU if `rectified`: the
    /// normalisation of a trained network. No gradient flows through it.
    fn rescale(
        x: FloatTensor<Self>,
        factor: FloatTensor<Self>,
        offset: FloatTensor<Self>,
        rectified: bool,
    ) -> FloatTensor<Self> {
        generic::rescale::<Self>(x, factor, offset, rectified)
    }

    /// The maximum of every block of `factor` voxels.
    fn pool(x: FloatTensor<Self>, factor: [usize; 3]) -> FloatTensor<Self> {
        generic::pool::<Self>(x, factor)
    }

    /// The gradient of the input of [`KernelBackend::pool`].
    fn pool_backward(
        x: FloatTensor<Self>,
        factor: [usize; 3],
        gradient: FloatTensor<Self>,
    ) -> FloatTensor<Self> {
        generic::pool_backward::<Self>(x, factor, gradient)
    }

    /// `[n, c, x, y, z]` → `[n, c · p · q · r, x / p, y / q, z / r]`: the voxels of every block of `factor` become
    /// channels, row by row.
    fn fold(x: FloatTensor<Self>, factor: [usize; 3]) -> FloatTensor<Self> {
        generic::fold::<Self>(x, factor)
    }

    /// The inverse of [`KernelBackend::fold`], and its gradient.
    fn unfold(x: FloatTensor<Self>, factor: [usize; 3]) -> FloatTensor<Self> {
        generic::unfold::<Self>(x, factor)
    }

    /// The convolution of the channels of `skip` and, behind them, those of `coarse` with every
    /// voxel repeated `factor` times.
    fn convolve_joined(
        skip: FloatTensor<Self>,
        coarse: FloatTensor<Self>,
        kernel: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        factor: [usize; 3],
        isa: Isa,
    ) -> FloatTensor<Self> {
        Self::convolve(generic::join::<Self>(skip, coarse, factor), kernel, bias, isa)
    }

    /// The gradients of the kernel, the bias, `skip` and `coarse`.
    fn convolve_joined_backward(
        skip: FloatTensor<Self>,
        coarse: FloatTensor<Self>,
        kernel: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
        factor: [usize; 3],
        isa: Isa,
    ) -> [FloatTensor<Self>; 4] {
        generic::convolve_joined_backward::<Self>(skip, coarse, kernel, gradient, factor, isa)
    }

    /// The probability `[n, 1, x, y, z]` of the second of two classes, given their logits
    /// `[n, 2, x, y, z]`.
    fn probability(logits: FloatTensor<Self>) -> FloatTensor<Self> {
        generic::probability::<Self>(logits)
    }

    /// The gradient of the logits, given the probabilities they made and the gradient of those.
    fn probability_backward(
        probability: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
    ) -> FloatTensor<Self> {
        generic::probability_backward::<Self>(probability, gradient)
    }

    /// The moved `value`; its moments are brought up to date. All are one-dimensional.
    fn adam(
        value: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
        moments: &mut [FloatTensor<Self>; 2],
        step: AdamStep,
    ) -> FloatTensor<Self> {
        generic::adam::<Self>(value, gradient, moments, step)
    }
}

/// One step of Adam.
#[derive(Clone, Copy, Debug)]
pub struct AdamStep {
    /// Learning rate, corrected for the moments' start at zero.
    pub rate: f64,
    /// Decay of both moments.
    pub betas: [f64; 2],
    /// Added to the root of the second moment.
    pub epsilon: f64,
    /// What gradients are multiplied by first.
    pub scale: f64,
    /// Share of itself that a value loses beside the step (Loshchilov and Hutter, 2019).
    pub shrink: f64,
}

#[cfg(feature = "cuda")]
impl KernelBackend for burn_cuda::Cuda {}
