//! The convolution every layer of the networks uses, and its gradients.

use burn::tensor::backend::Backend;
use burn::tensor::ops::{ConvOptions, FloatTensor, ModuleOps};
use burn::tensor::{Tensor, TensorPrimitive};

/// A backend that convolves with stride 1 and "same" zero padding.
///
/// Inputs are `[batch, channel, x, y, z]`, kernels `[out, in, x, y, z]`; planes are volumes of
/// depth 1. An axis with a kernel of k entries is padded by (k − 1) / 2 zeros before and k / 2
/// after, so that even kernels lean the way Keras's do. The defaults use burn's own kernels.
pub trait ConvBackend: Backend {
    /// The convolution of `x` with `kernel`.
    fn conv(x: FloatTensor<Self>, kernel: FloatTensor<Self>) -> FloatTensor<Self> {
        let sizes = kernel_sizes::<Self>(&kernel);
        <Self as ModuleOps<Self>>::conv3d(lean::<Self>(x, sizes), kernel, None, options(sizes))
    }

    /// The gradient of the input: `gradient` is the one of the output.
    fn conv_input_gradient(
        x: FloatTensor<Self>,
        kernel: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
    ) -> FloatTensor<Self> {
        let sizes = kernel_sizes::<Self>(&kernel);
        let dims = wrap::<Self>(x.clone()).dims();
        let padded = lean::<Self>(x, sizes);
        let full =
            <Self as ModuleOps<Self>>::conv3d_x_backward(padded, kernel, gradient, options(sizes));
        unwrap(wrap::<Self>(full).slice(dims.map(|size| 0..size)))
    }

    /// The gradient of the kernel: `gradient` is the one of the output.
    fn conv_kernel_gradient(
        x: FloatTensor<Self>,
        kernel: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
    ) -> FloatTensor<Self> {
        let sizes = kernel_sizes::<Self>(&kernel);
        let padded = lean::<Self>(x, sizes);
        <Self as ModuleOps<Self>>::conv3d_weight_backward(padded, kernel, gradient, options(sizes))
    }
}

impl ConvBackend for burn::backend::Flex {}

#[cfg(feature = "cuda")]
impl ConvBackend for burn_cuda::Cuda {}

/// Convolves `x` `[batch, in, x, y, z]` with `kernel` `[out, in, x, y, z]`, see [`ConvBackend`].
pub fn convolve<B: ConvBackend>(x: Tensor<B, 5>, kernel: Tensor<B, 5>) -> Tensor<B, 5> {
    wrap(B::conv(unwrap(x), unwrap(kernel)))
}

fn wrap<B: Backend>(primitive: FloatTensor<B>) -> Tensor<B, 5> {
    Tensor::from_primitive(TensorPrimitive::Float(primitive))
}

fn unwrap<B: Backend>(tensor: Tensor<B, 5>) -> FloatTensor<B> {
    tensor.into_primitive().tensor()
}

fn kernel_sizes<B: Backend>(kernel: &FloatTensor<B>) -> [usize; 3] {
    let [_, _, x, y, z] = wrap::<B>(kernel.clone()).dims();
    [x, y, z]
}

fn options(sizes: [usize; 3]) -> ConvOptions<3> {
    ConvOptions::new([1; 3], sizes.map(|size| (size - 1) / 2), [1; 3], 1)
}

/// Appends the one far-end zero by which "same" padding of an even kernel is lopsided.
fn lean<B: Backend>(x: FloatTensor<B>, sizes: [usize; 3]) -> FloatTensor<B> {
    let mut x = wrap::<B>(x);
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

#[cfg(test)]
mod tests {
    use super::*;
    use burn::backend::{Autodiff, Flex};
    use burn::tensor::Distribution;

    type Training = Autodiff<Flex>;

    fn random<B: Backend>(dims: [usize; 5]) -> Tensor<B, 5> {
        Tensor::random(dims, Distribution::Normal(0.0, 1.0), &Default::default())
    }

    fn values<B: Backend>(tensor: Tensor<B, 5>) -> Vec<f32> {
        tensor.into_data().to_vec().unwrap()
    }

    /// The definition, one voxel at a time.
    fn obvious(x: &Tensor<Flex, 5>, kernel: &Tensor<Flex, 5>) -> Vec<f32> {
        let ([n, inputs, a, b, c], [outputs, _, ka, kb, kc]) = (x.dims(), kernel.dims());
        let (x, kernel) = (values(x.clone()), values(kernel.clone()));
        let mut result = Vec::new();
        for (image, out) in (0..n).flat_map(|image| (0..outputs).map(move |out| (image, out))) {
            for at in 0..a * b * c {
                let (i, j, k) = (at / (b * c), at / c % b, at % c);
                let mut sum = 0.0;
                for tap in 0..inputs * ka * kb * kc {
                    let (input, u) = (tap / (ka * kb * kc), tap / (kb * kc) % ka);
                    let (v, w) = (tap / kc % kb, tap % kc);
                    let from = |at: usize, tap: usize, size: usize, k: usize| {
                        (at + tap).checked_sub((k - 1) / 2).filter(|&index| index < size)
                    };
                    if let (Some(p), Some(q), Some(r)) =
                        (from(i, u, a, ka), from(j, v, b, kb), from(k, w, c, kc))
                    {
                        sum += x[(((image * inputs + input) * a + p) * b + q) * c + r]
                            * kernel[(((out * inputs + input) * ka + u) * kb + v) * kc + w];
                    }
                }
                result.push(sum);
            }
        }
        result
    }

    fn close(a: &[f32], b: &[f32]) -> bool {
        a.len() == b.len() && a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-3 * (1.0 + b.abs()))
    }

    #[test]
    fn odd_and_even_kernels_equal_the_definition() {
        for kernel in [[3, 3, 3], [1, 5, 20], [1, 1, 1], [1, 2, 4]] {
            let x = random::<Flex>([2, 3, 4, 5, 24]);
            let kernel = random::<Flex>([2, 3, kernel[0], kernel[1], kernel[2]]);
            assert!(close(&values(convolve(x.clone(), kernel.clone())), &obvious(&x, &kernel)));
        }
    }

    #[test]
    fn gradients_equal_finite_differences() {
        for sizes in [[3, 3, 3], [1, 2, 4]] {
            let x = random::<Flex>([1, 2, 3, 4, 6]);
            let kernel = random::<Flex>([3, 2, sizes[0], sizes[1], sizes[2]]);
            let weight = random::<Flex>([1, 3, 3, 4, 6]);
            let (tracked_x, tracked_kernel) = (
                Tensor::<Training, 5>::from_inner(x.clone()).require_grad(),
                Tensor::<Training, 5>::from_inner(kernel.clone()).require_grad(),
            );
            let output = convolve(tracked_x.clone(), tracked_kernel.clone());
            let gradients = (output * Tensor::from_inner(weight.clone())).sum().backward();
            let loss = |x: &Tensor<Flex, 5>, kernel: &Tensor<Flex, 5>| -> f32 {
                let output = obvious(x, kernel);
                output.iter().zip(values(weight.clone())).map(|(a, b)| a * b).sum()
            };
            // The loss is linear in either argument, so a large step makes no error but rounding.
            let difference = |tensor: &Tensor<Flex, 5>, loss: &dyn Fn(&Tensor<Flex, 5>) -> f32| -> Vec<f32> {
                let base = values(tensor.clone());
                (0..base.len())
                    .map(|index| {
                        let mut shifted = base.clone();
                        shifted[index] += 1.0;
                        let data = burn::tensor::TensorData::new(shifted, tensor.dims());
                        loss(&Tensor::from_data(data, &tensor.device())) - loss(tensor)
                    })
                    .collect()
            };
            let from_x = difference(&x, &|x| loss(x, &kernel));
            let from_kernel = difference(&kernel, &|kernel| loss(&x, kernel));
            assert!(close(&values(tracked_x.grad(&gradients).unwrap()), &from_x));
            assert!(close(&values(tracked_kernel.grad(&gradients).unwrap()), &from_kernel));
        }
    }
}
