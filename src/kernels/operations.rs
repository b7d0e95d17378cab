//! The operations of [`KernelBackend`] on tensors.

use burn::tensor::backend::Backend;
use burn::tensor::ops::FloatTensor;
use burn::tensor::{Tensor, TensorData, TensorPrimitive};

use super::backend::{Frozen, KernelBackend, Normalised};
use super::isa::Isa;

pub(super) fn wrap<B: Backend, const D: usize>(primitive: FloatTensor<B>) -> Tensor<B, D> {
    Tensor::from_primitive(TensorPrimitive::Float(primitive))
}

pub(super) fn unwrap<B: Backend, const D: usize>(tensor: Tensor<B, D>) -> FloatTensor<B> {
    tensor.into_primitive().tensor()
}

/// A one-dimensional tensor of plain numbers.
pub fn from_flat<B: Backend>(values: Vec<f32>, device: &B::Device) -> FloatTensor<B> {
    let count = values.len();
    unwrap(Tensor::<B, 1>::from_data(TensorData::new(values, [count]), device))
}

/// The plain numbers of a one-dimensional tensor.
pub fn flat<B: Backend>(tensor: FloatTensor<B>) -> Vec<f32> {
    wrap::<B, 1>(tensor).into_data().convert::<f32>().into_vec().unwrap_or_default()
}

/// See [`KernelBackend::convolve`].
pub fn convolve<B: KernelBackend>(
    x: Tensor<B, 5>,
    kernel: Tensor<B, 5>,
    bias: Tensor<B, 1>,
    isa: Isa,
) -> Tensor<B, 5> {
    wrap(B::convolve(unwrap(x), unwrap(kernel), unwrap(bias), isa))
}

/// See [`KernelBackend::normalise`].
pub fn normalise<B: KernelBackend>(
    x: Tensor<B, 5>,
    gamma: Tensor<B, 1>,
    beta: Tensor<B, 1>,
    frozen: Frozen,
) -> Normalised<Tensor<B, 5>, Tensor<B, 1>> {
    let Normalised { output, mean, variance } = B::normalise(unwrap(x), unwrap(gamma), unwrap(beta), frozen);
    Normalised { output: wrap(output), mean: wrap(mean), variance: wrap(variance) }
}

/// See [`KernelBackend::probability`].
pub fn probability<B: KernelBackend>(logits: Tensor<B, 5>) -> Tensor<B, 5> {
    wrap(B::probability(unwrap(logits)))
}

/// See [`KernelBackend::rescale`].
pub fn rescale<B: KernelBackend>(
    x: Tensor<B, 5>,
    factor: Tensor<B, 1>,
    offset: Tensor<B, 1>,
    rectified: bool,
) -> Tensor<B, 5> {
    wrap(B::rescale(unwrap(x), unwrap(factor), unwrap(offset), rectified))
}

/// See [`KernelBackend::pool`].
pub fn pool<B: KernelBackend>(x: Tensor<B, 5>, factor: [usize; 3]) -> Tensor<B, 5> {
    wrap(B::pool(unwrap(x), factor))
}

/// See [`KernelBackend::fold`].
pub fn fold<B: KernelBackend>(x: Tensor<B, 5>, factor: [usize; 3]) -> Tensor<B, 5> {
    wrap(B::fold(unwrap(x), factor))
}

/// See [`KernelBackend::convolve_joined`].
pub fn convolve_joined<B: KernelBackend>(
    [skip, coarse]: [Tensor<B, 5>; 2],
    kernel: Tensor<B, 5>,
    bias: Tensor<B, 1>,
    factor: [usize; 3],
    isa: Isa,
) -> Tensor<B, 5> {
    wrap(B::convolve_joined(unwrap(skip), unwrap(coarse), unwrap(kernel), unwrap(bias), factor, isa))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::generic;
    use burn::backend::{Autodiff, Flex};
    use burn::tensor::activation::relu;

    use crate::kernels::reference::{close, noise};

    type Training = Autodiff<Flex>;

    fn tensor<B: Backend, const D: usize>(dims: [usize; D], seed: u32) -> Tensor<B, D> {
        let data = TensorData::new(noise(dims.iter().product(), seed), dims);
        Tensor::from_data(data, &Default::default())
    }

    fn values<B: Backend, const D: usize>(tensor: Tensor<B, D>) -> Vec<f32> {
        tensor.into_data().to_vec().unwrap()
    }

    /// A value and its gradients with respect to two or three leaves, of a scalar made of it with
    /// fixed random weights.
    fn traced(
        output: Tensor<Training, 5>,
        x: &Tensor<Training, 5>,
        others: &[&Tensor<Training, 1>],
    ) -> Vec<Vec<f32>> {
        let weights = tensor(output.dims(), 99);
        let mut traced = vec![values(output.clone())];
        let gradients = (output * weights).sum().backward();
        traced.push(values(x.grad(&gradients).unwrap()));
        traced.extend(others.iter().map(|leaf| values(leaf.grad(&gradients).unwrap())));
        traced
    }

    fn all_close(a: &[Vec<f32>], b: &[Vec<f32>]) -> bool {
        a.len() == b.len() && a.iter().zip(b).all(|(a, b)| close(a, b))
    }

    #[test]
    fn a_convolution_and_its_gradients_are_burns() {
        for kernel in [[3, 3, 3], [1, 3, 3], [1, 1, 1]] {
            let x = tensor::<Training, 5>([2, 3, 4, 5, 6], 1).require_grad();
            let [a, b, c] = kernel;
            let weights = tensor::<Training, 5>([4, 3, a, b, c], 2).require_grad();
            let bias = tensor::<Training, 1>([4], 3).require_grad();
            let ours = convolve(x.clone(), weights.clone(), bias.clone(), Isa::detect());
            let options = burn::tensor::ops::ConvOptions::new([1; 3], kernel.map(|k| k / 2), [1; 3], 1);
            let burns = burn::tensor::module::conv3d(x.clone(), weights.clone(), Some(bias.clone()), options);
            assert!(all_close(&traced(ours, &x, &[&bias]), &traced(burns, &x, &[&bias])));
            let ours = convolve(x.clone(), weights.clone(), bias.clone(), Isa::detect());
            let options = burn::tensor::ops::ConvOptions::new([1; 3], kernel.map(|k| k / 2), [1; 3], 1);
            let burns = burn::tensor::module::conv3d(x, weights.clone(), Some(bias), options);
            assert!(all_close(&traced(ours, &weights, &[]), &traced(burns, &weights, &[])));
        }
    }

    #[test]
    fn our_cpu_convolution_is_the_generic_one_for_even_kernels_too() {
        let x = unwrap(tensor::<Flex, 5>([2, 3, 1, 7, 25], 1));
        let weights = unwrap(tensor::<Flex, 5>([4, 3, 1, 5, 20], 2));
        let bias = unwrap(tensor::<Flex, 1>([4], 3));
        let plain = |tensor| values(wrap::<Flex, 5>(tensor));
        let ours = Flex::convolve(x.clone(), weights.clone(), bias.clone(), Isa::detect());
        let generic = generic::convolve::<Flex>(x.clone(), weights.clone(), bias);
        assert!(close(&plain(ours.clone()), &plain(generic)));
        let ([kernel, bias], input) =
            Flex::convolve_backward(x.clone(), weights.clone(), ours.clone(), true, Isa::detect());
        let ([k, b], i) = generic::convolve_backward::<Flex>(x, weights, ours, true);
        assert!(close(&plain(kernel), &plain(k)));
        assert!(close(&values(wrap::<Flex, 1>(bias)), &values(wrap::<Flex, 1>(b))));
        assert!(close(&plain(input.unwrap()), &plain(i.unwrap())));
    }

    #[test]
    fn normalisation_and_its_gradients_are_what_burns_autodiff_makes_of_the_formula() {
        for rectified in [false, true] {
            let frozen = Frozen { epsilon: 1e-3, rectified };
            let x = tensor::<Training, 5>([2, 3, 4, 5, 7], 1).require_grad();
            let gamma = tensor::<Training, 1>([3], 2).require_grad();
            let beta = tensor::<Training, 1>([3], 3).require_grad();
            let ours = normalise(x.clone(), gamma.clone(), beta.clone(), frozen);
            let flat = x.clone().swap_dims(0, 1).reshape([3, 2 * 4 * 5 * 7]);
            let mean = flat.clone().mean_dim(1);
            let variance = (flat - mean.clone()).powi_scalar(2).mean_dim(1);
            let per_channel = [1, 3, 1, 1, 1];
            let deviation = (variance.clone() + 1e-3).sqrt();
            let formula = (x.clone() - mean.clone().reshape(per_channel)) / deviation.reshape(per_channel)
                * gamma.clone().reshape(per_channel)
                + beta.clone().reshape(per_channel);
            let formula = if rectified { relu(formula) } else { formula };
            assert!(close(&values(ours.mean), &values(mean)));
            assert!(close(&values(ours.variance), &values(variance)));
            let leaves = [&gamma, &beta];
            assert!(all_close(&traced(ours.output, &x, &leaves), &traced(formula, &x, &leaves)));
        }
    }

    #[test]
    fn our_cpu_operations_are_the_generic_ones() {
        let plain = |tensor| values(wrap::<Flex, 5>(tensor));
        let vector = |tensor| values(wrap::<Flex, 1>(tensor));
        let x = unwrap(tensor::<Flex, 5>([2, 3, 4, 6, 8], 1));
        let frozen = Frozen { epsilon: 1e-3, rectified: true };
        let [gamma, beta] = [5, 6].map(|seed| unwrap(tensor::<Flex, 1>([3], seed)));
        let ours = Flex::normalise(x.clone(), gamma.clone(), beta.clone(), frozen);
        let other = generic::normalise::<Flex>(x.clone(), gamma.clone(), beta.clone(), frozen);
        assert!(close(&plain(ours.output), &plain(other.output)));
        let statistics = [ours.mean, ours.variance];
        let parameters = [gamma, beta];
        let gradient = unwrap(tensor::<Flex, 5>([2, 3, 4, 6, 8], 7));
        let ours = Flex::normalise_backward(
            x.clone(),
            parameters.clone(),
            statistics.clone(),
            frozen,
            gradient.clone(),
        );
        let other = generic::normalise_backward::<Flex>(x.clone(), parameters, statistics, frozen, gradient);
        let [[dx, dg, db], [ex, eg, eb]] = [ours, other];
        assert!(
            close(&plain(dx), &plain(ex))
                && close(&vector(dg), &vector(eg))
                && close(&vector(db), &vector(eb))
        );
        let [scale, offset] = [8, 9].map(|seed| unwrap(tensor::<Flex, 1>([3], seed)));
        let ours = Flex::rescale(x.clone(), scale.clone(), offset.clone(), true);
        assert!(close(&plain(ours), &plain(generic::rescale::<Flex>(x.clone(), scale, offset, true))));
        for factor in [[2, 2, 2], [1, 2, 2]] {
            let pooled = Flex::pool(x.clone(), factor);
            assert_eq!(plain(pooled.clone()), plain(generic::pool::<Flex>(x.clone(), factor)));
            let back = Flex::pool_backward(x.clone(), factor, pooled.clone());
            assert_eq!(plain(back), plain(generic::pool_backward::<Flex>(x.clone(), factor, pooled.clone())));
            let [p, q, r] = factor.map(|factor| 2 * factor - 1);
            let weights = unwrap(tensor::<Flex, 5>([4, 6, p, q, r], 11));
            let bias = unwrap(tensor::<Flex, 1>([4], 12));
            let inputs = || (x.clone(), pooled.clone(), weights.clone());
            let (skip, coarse, kernel) = inputs();
            let joined = generic::join::<Flex>(skip.clone(), coarse.clone(), factor);
            let other = generic::convolve::<Flex>(joined, kernel.clone(), bias.clone());
            let ours = Flex::convolve_joined(skip, coarse, kernel, bias, factor, Isa::detect());
            assert!(close(&plain(ours.clone()), &plain(other)));
            let (skip, coarse, kernel) = inputs();
            let [k, b, s, c] =
                Flex::convolve_joined_backward(skip, coarse, kernel, ours.clone(), factor, Isa::detect());
            let (skip, coarse, kernel) = inputs();
            let [l, d, t, e] =
                generic::convolve_joined_backward::<Flex>(skip, coarse, kernel, ours, factor, Isa::detect());
            assert!(close(&plain(k), &plain(l)) && close(&vector(b), &vector(d)));
            assert!(close(&plain(s), &plain(t)) && close(&plain(c), &plain(e)));
        }
    }

    #[test]
    fn the_probability_of_the_second_class_is_its_softmax_in_value_and_gradient() {
        let logits = tensor::<Training, 5>([2, 2, 3, 4, 5], 1).require_grad();
        let softmax = burn::tensor::activation::softmax(logits.clone(), 1).narrow(1, 1, 1);
        let ours = traced(probability(logits.clone()), &logits, &[]);
        assert!(all_close(&ours, &traced(softmax, &logits, &[])));
        let plain = |tensor| values(wrap::<Flex, 5>(tensor));
        let logits = unwrap(tensor::<Flex, 5>([2, 2, 3, 4, 5], 1));
        let p = Flex::probability(logits.clone());
        assert!(close(&plain(p.clone()), &plain(generic::probability::<Flex>(logits))));
        let back = Flex::probability_backward(p.clone(), p.clone());
        assert!(close(&plain(back), &plain(generic::probability_backward::<Flex>(p.clone(), p))));
    }

    #[test]
    fn pooling_has_the_gradient_of_its_definition() {
        let x = tensor::<Training, 5>([1, 2, 4, 4, 4], 1).require_grad();
        let pooled = pool(x.clone(), [2, 2, 2]);
        let weights = values(tensor::<Training, 5>(pooled.dims(), 99));
        let (input, [output, gradient]) = (values(x.clone()), traced(pooled, &x, &[]).try_into().unwrap());
        for (index, value) in input.iter().enumerate() {
            let (channel, i, j, k) = (index / 64, index / 16 % 4, index / 4 % 4, index % 4);
            let at = ((channel * 2 + i / 2) * 2 + j / 2) * 2 + k / 2;
            assert_eq!(gradient[index], if output[at] == *value { weights[at] } else { 0.0 });
        }
    }

    #[test]
    fn a_joined_convolution_has_the_gradients_of_joining_first() {
        let skip = tensor::<Training, 5>([2, 2, 4, 4, 4], 1).require_grad();
        let coarse = tensor::<Training, 5>([2, 3, 2, 2, 2], 2).require_grad();
        let kernel = tensor::<Training, 5>([4, 5, 3, 3, 3], 3).require_grad();
        let bias = tensor::<Training, 1>([4], 4).require_grad();
        let plain = || {
            let large = coarse.clone().reshape([2 * 3 * 2, 1, 2, 1, 2, 1]).expand([12, 2, 2, 2, 2, 2]);
            let joined = Tensor::cat(vec![skip.clone(), large.reshape([2, 3, 4, 4, 4])], 1);
            convolve(joined, kernel.clone(), bias.clone(), Isa::detect())
        };
        let ours = || {
            convolve_joined(
                [skip.clone(), coarse.clone()],
                kernel.clone(),
                bias.clone(),
                [2; 3],
                Isa::detect(),
            )
        };
        for leaf in [&skip, &coarse, &kernel] {
            assert!(all_close(&traced(ours(), leaf, &[&bias]), &traced(plain(), leaf, &[&bias])));
        }
    }
}
