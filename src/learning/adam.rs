//! Adam as Keras has it (docs/original.md §7; Kingma and Ba, 2015).

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::tensor::Tensor;
use burn::tensor::backend::AutodiffBackend;
use burn::tensor::ops::FloatTensor;

use crate::kernels::{AdamStep, KernelBackend, flat, from_flat};

/// Decay of the mean of gradients and of their squares.
const BETAS: [f64; 2] = [0.9, 0.999];
/// Added to the root of the squares.
const EPSILON: f64 = 1e-7;

/// The optimiser with its memory of past gradients, one pair a trained tensor in visiting order.
pub struct Adam<B: KernelBackend> {
    learning_rate: f64,
    /// The learning rate is divided by 1 + decay · step.
    decay: f64,
    /// Share of each weight, times the learning rate, that is taken away at every step.
    weight_decay: f64,
    /// Gradients are scaled down to this length together.
    longest: f64,
    /// Steps taken.
    pub step: u64,
    moments: Vec<[FloatTensor<B>; 2]>,
}

impl<B: KernelBackend> Adam<B> {
    /// An optimiser without memory.
    pub fn new(learning_rate: f64, decay: f64) -> Self {
        Adam { learning_rate, decay, weight_decay: 0.0, longest: f64::INFINITY, step: 0, moments: Vec::new() }
    }

    /// The optimiser with weights that decay beside the step (AdamW; Loshchilov and Hutter, 2019), and with
    /// gradients of at most this length.
    pub(crate) fn decoupled(self, weight_decay: f64, longest: f64) -> Self {
        Adam { weight_decay, longest, ..self }
    }

    /// Takes steps of another size from now on.
    pub(crate) fn set_rate(&mut self, learning_rate: f64) {
        self.learning_rate = learning_rate;
    }

    /// The optimiser after so many steps, with the moments it had.
    pub fn resumed(self, step: u64, moments: &[[Vec<f32>; 2]], device: &B::Device) -> Self {
        let moments = moments
            .iter()
            .map(|pair| pair.each_ref().map(|values| from_flat::<B>(values.clone(), device)))
            .collect();
        Adam { step, moments, ..self }
    }

    /// The moments as plain numbers.
    pub(crate) fn moments(&self) -> Vec<[Vec<f32>; 2]> {
        self.moments.iter().map(|pair| pair.clone().map(|tensor| flat::<B>(tensor))).collect()
    }

    /// Moves every tensor of `module` that has a gradient.
    pub(crate) fn update<A, M>(&mut self, module: M, gradients: &A::Gradients) -> M
    where
        A: AutodiffBackend<InnerBackend = B>,
        M: Module<A>,
    {
        // Keras decays by the number of steps before this one.
        let rate = self.learning_rate / (1.0 + self.decay * self.step as f64);
        self.step += 1;
        let correction = |beta: f64| 1.0 - beta.powi(self.step.min(i32::MAX as u64) as i32);
        let scale = if self.longest.is_finite() {
            let mut squares = Squares::<A> { gradients, sum: 0.0 };
            module.visit(&mut squares);
            (self.longest / squares.sum.sqrt().max(1e-12)).min(1.0)
        } else {
            1.0
        };
        let step = AdamStep {
            rate: rate * correction(BETAS[1]).sqrt() / correction(BETAS[0]),
            betas: BETAS,
            epsilon: EPSILON,
            scale,
            shrink: rate * self.weight_decay,
        };
        module.map(&mut Mover::<A> { gradients, moments: &mut self.moments, next: 0, step })
    }
}

/// The sum of the squares of all gradients.
struct Squares<'a, A: AutodiffBackend> {
    gradients: &'a A::Gradients,
    sum: f64,
}

impl<A: AutodiffBackend> ModuleVisitor<A> for Squares<'_, A> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<A, D>>) {
        if let Some(gradient) = param.val().grad(self.gradients) {
            let values = gradient.into_data().convert::<f32>();
            let values = values.as_slice::<f32>().unwrap_or(&[]);
            self.sum += values.iter().map(|&value| f64::from(value) * f64::from(value)).sum::<f64>();
        }
    }
}

struct Mover<'a, A: AutodiffBackend> {
    gradients: &'a A::Gradients,
    moments: &'a mut Vec<[FloatTensor<A::InnerBackend>; 2]>,
    next: usize,
    step: AdamStep,
}

impl<A> ModuleMapper<A> for Mover<'_, A>
where
    A: AutodiffBackend<InnerBackend: KernelBackend>,
{
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<A, D>>) -> Param<Tensor<A, D>> {
        let (id, tensor, mapper) = param.consume();
        let Some(gradient) = tensor.grad(self.gradients) else {
            return Param::from_mapped_value(id, tensor, mapper);
        };
        if self.next == self.moments.len() {
            let zeros = || {
                from_flat::<A::InnerBackend>(vec![0.0; gradient.shape().num_elements()], &gradient.device())
            };
            self.moments.push([zeros(), zeros()]);
        }
        let dims = gradient.dims();
        let count = dims.iter().product::<usize>();
        let flatten = |tensor: Tensor<A::InnerBackend, D>| tensor.reshape([count]).into_primitive().tensor();
        let slot = &mut self.moments[self.next];
        self.next += 1;
        let value = flatten(tensor.inner());
        let moved = <A::InnerBackend as KernelBackend>::adam(value, flatten(gradient), slot, self.step);
        let moved = Tensor::<A::InnerBackend, 1>::from_primitive(burn::tensor::TensorPrimitive::Float(moved));
        Param::from_mapped_value(id, Tensor::from_inner(moved.reshape(dims)).require_grad(), mapper)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::backend::{Autodiff, Flex};
    use burn::tensor::TensorData;

    #[derive(Module, Debug)]
    struct Two<B: burn::tensor::backend::Backend> {
        weight: Param<Tensor<B, 1>>,
    }

    #[test]
    fn steps_are_those_of_keras() {
        // tf_keras.optimizers.legacy.Adam(1e-3, decay=1e-6) on the loss x² + 3y, from (1, −2).
        let device = Default::default();
        let start = Tensor::<Autodiff<Flex>, 1>::from_data(TensorData::new(vec![1.0f32, -2.0], [2]), &device);
        let mut model = Two { weight: Param::from_tensor(start) };
        let mut adam = Adam::<Flex>::new(1e-3, 1e-6);
        for _ in 0..3 {
            let weight = model.weight.val();
            let loss = (weight.clone().narrow(0, 0, 1).square() + weight.narrow(0, 1, 1) * 3.0).sum();
            model = adam.update::<Autodiff<Flex>, _>(model, &loss.backward());
        }
        // By hand: m and v follow each gradient; the bias-corrected step is close to the rate.
        let (mut x, mut m, mut v) = (1.0f64, 0.0, 0.0);
        for step in 0..3 {
            let g = 2.0 * x;
            (m, v) = (0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g * g);
            let (a, b) = (1.0 - 0.9f64.powi(step + 1), 1.0 - 0.999f64.powi(step + 1));
            x -= 1e-3 / (1.0 + 1e-6 * f64::from(step)) * b.sqrt() / a * m / (v.sqrt() + 1e-7);
        }
        let moved = model.weight.val().into_data().to_vec::<f32>().unwrap();
        assert!((f64::from(moved[0]) - x).abs() < 1e-6, "{} instead of {x}", moved[0]);
        assert!((moved[1] + 2.003).abs() < 1e-5, "{}", moved[1]);
        assert_eq!(adam.moments().len(), 1);
    }

    #[test]
    fn weights_decay_beside_the_step_and_long_gradients_are_shortened() {
        let device = Default::default();
        let start = Tensor::<Autodiff<Flex>, 1>::from_data(TensorData::new(vec![1.0f32, -2.0], [2]), &device);
        let model = Two { weight: Param::from_tensor(start) };
        let mut adam = Adam::<Flex>::new(0.1, 0.0).decoupled(0.5, 1.0);
        let loss = (model.weight.val() * 300.0).sum();
        let model = adam.update::<Autodiff<Flex>, _>(model, &loss.backward());
        // The first step is as long as the rate whatever the gradient, 5 % of each weight is lost beside it.
        let moved = model.weight.val().into_data().to_vec::<f32>().unwrap();
        assert!((moved[0] - 0.85).abs() < 1e-4 && (moved[1] + 2.0).abs() < 1e-4, "{moved:?}");
        // What is remembered is the shortened gradient: both parts 1 / sqrt 2.
        let first = adam.moments()[0][0][0];
        assert!((first - 0.1 / 2f32.sqrt()).abs() < 1e-5, "{first}");
    }
}
