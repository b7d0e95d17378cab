//! The backward passes of the operations, on any backend.

use burn::backend::Autodiff;
use burn::backend::autodiff::checkpoint::{base::Checkpointer, strategy::CheckpointStrategy};
use burn::backend::autodiff::{
    NodeId,
    grads::Gradients,
    ops::{Backward, Ops, OpsKind},
};
use burn::tensor::Tensor;
use burn::tensor::ops::FloatTensor;

use super::KernelBackend;
use super::backend::{Frozen, Normalised};
use super::isa::Isa;
use super::operations::{unwrap, wrap};

#[derive(Debug)]
struct Convolve(Isa);

impl<B: KernelBackend> Backward<B, 3> for Convolve {
    type State = [NodeId; 2];

    fn backward(self, ops: Ops<Self::State, 3>, gradients: &mut Gradients, checkpointer: &mut Checkpointer) {
        let gradient = gradients.consume::<B>(&ops.node);
        let [x, kernel] = ops.state.map(|node| checkpointer.retrieve_node_output::<FloatTensor<B>>(node));
        let [input, weights, bias] = ops.parents;
        let ([to_kernel, to_bias], to_input) =
            B::convolve_backward(x, kernel, gradient, input.is_some(), self.0);
        for (node, value) in [(input, to_input), (weights, Some(to_kernel)), (bias, Some(to_bias))] {
            if let (Some(node), Some(value)) = (node, value) {
                gradients.register::<B>(node.id, value);
            }
        }
    }
}

#[derive(Debug)]
struct Normalise;

impl<B: KernelBackend> Backward<B, 3> for Normalise {
    type State = ([NodeId; 3], [FloatTensor<B>; 2], Frozen);

    fn backward(self, ops: Ops<Self::State, 3>, gradients: &mut Gradients, checkpointer: &mut Checkpointer) {
        let gradient = gradients.consume::<B>(&ops.node);
        let (nodes, statistics, frozen) = ops.state;
        let [x, gamma, beta] = nodes.map(|node| checkpointer.retrieve_node_output::<FloatTensor<B>>(node));
        let values = B::normalise_backward(x, [gamma, beta], statistics, frozen, gradient);
        for (node, value) in ops.parents.into_iter().zip(values) {
            if let Some(node) = node {
                gradients.register::<B>(node.id, value);
            }
        }
    }
}

#[derive(Debug)]
struct Pool;

impl<B: KernelBackend> Backward<B, 1> for Pool {
    type State = (NodeId, [usize; 3]);

    fn backward(self, ops: Ops<Self::State, 1>, gradients: &mut Gradients, checkpointer: &mut Checkpointer) {
        let gradient = gradients.consume::<B>(&ops.node);
        let (node, factor) = ops.state;
        let x: FloatTensor<B> = checkpointer.retrieve_node_output(node);
        let [input] = ops.parents;
        if let Some(node) = input {
            gradients.register::<B>(node.id, B::pool_backward(x, factor, gradient));
        }
    }
}

#[derive(Debug)]
struct Fold;

impl<B: KernelBackend> Backward<B, 1> for Fold {
    type State = [usize; 3];

    fn backward(self, ops: Ops<Self::State, 1>, gradients: &mut Gradients, _: &mut Checkpointer) {
        let gradient = gradients.consume::<B>(&ops.node);
        let [input] = ops.parents;
        if let Some(node) = input {
            gradients.register::<B>(node.id, B::unfold(gradient, ops.state));
        }
    }
}

#[derive(Debug)]
struct ConvolveJoined(Isa);

impl<B: KernelBackend> Backward<B, 4> for ConvolveJoined {
    type State = ([NodeId; 3], [usize; 3]);

    fn backward(self, ops: Ops<Self::State, 4>, gradients: &mut Gradients, checkpointer: &mut Checkpointer) {
        let gradient = gradients.consume::<B>(&ops.node);
        let (nodes, factor) = ops.state;
        let [skip, coarse, kernel] =
            nodes.map(|node| checkpointer.retrieve_node_output::<FloatTensor<B>>(node));
        let values = B::convolve_joined_backward(skip, coarse, kernel, gradient, factor, self.0);
        let [skip, coarse, kernel, bias] = ops.parents;
        for (node, value) in [kernel, bias, skip, coarse].into_iter().zip(values) {
            if let Some(node) = node {
                gradients.register::<B>(node.id, value);
            }
        }
    }
}

#[derive(Debug)]
struct Probability;

impl<B: KernelBackend> Backward<B, 1> for Probability {
    type State = FloatTensor<B>;

    fn backward(self, ops: Ops<Self::State, 1>, gradients: &mut Gradients, _: &mut Checkpointer) {
        let gradient = gradients.consume::<B>(&ops.node);
        let [logits] = ops.parents;
        if let Some(node) = logits {
            gradients.register::<B>(node.id, B::probability_backward(ops.state, gradient));
        }
    }
}

impl<B: KernelBackend, C: CheckpointStrategy> KernelBackend for Autodiff<B, C> {
    fn convolve(
        x: FloatTensor<Self>,
        kernel: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        isa: Isa,
    ) -> FloatTensor<Self> {
        let nodes = [x.node.clone(), kernel.node.clone(), bias.node.clone()];
        match Convolve(isa).prepare::<C>(nodes).compute_bound().stateful() {
            OpsKind::Tracked(mut prep) => {
                let state = [prep.checkpoint(&x), prep.checkpoint(&kernel)];
                prep.finish(state, B::convolve(x.primitive, kernel.primitive, bias.primitive, isa))
            }
            OpsKind::UnTracked(prep) => {
                prep.finish(B::convolve(x.primitive, kernel.primitive, bias.primitive, isa))
            }
        }
    }

    fn normalise(
        x: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        beta: FloatTensor<Self>,
        frozen: Frozen,
    ) -> Normalised<FloatTensor<Self>, FloatTensor<Self>> {
        let nodes = [x.node.clone(), gamma.node.clone(), beta.node.clone()];
        let prep = Normalise.prepare::<C>(nodes).compute_bound().stateful();
        let compute = |x: FloatTensor<Self>| {
            B::normalise(x.primitive, gamma.primitive.clone(), beta.primitive.clone(), frozen)
        };
        // The statistics feed the running averages only: no gradient flows through them.
        let constant =
            |statistic: FloatTensor<B>| unwrap(Tensor::<Self, 1>::from_inner(wrap::<B, 1>(statistic)));
        let (output, mean, variance) = match prep {
            OpsKind::Tracked(mut prep) => {
                let nodes = [prep.checkpoint(&x), prep.checkpoint(&gamma), prep.checkpoint(&beta)];
                let Normalised { output, mean, variance } = compute(x);
                let state = (nodes, [mean.clone(), variance.clone()], frozen);
                (prep.finish(state, output), mean, variance)
            }
            OpsKind::UnTracked(prep) => {
                let Normalised { output, mean, variance } = compute(x);
                (prep.finish(output), mean, variance)
            }
        };
        Normalised { output, mean: constant(mean), variance: constant(variance) }
    }

    fn pool(x: FloatTensor<Self>, factor: [usize; 3]) -> FloatTensor<Self> {
        match Pool.prepare::<C>([x.node.clone()]).compute_bound().stateful() {
            OpsKind::Tracked(mut prep) => {
                let state = (prep.checkpoint(&x), factor);
                prep.finish(state, B::pool(x.primitive, factor))
            }
            OpsKind::UnTracked(prep) => prep.finish(B::pool(x.primitive, factor)),
        }
    }

    fn fold(x: FloatTensor<Self>, factor: [usize; 3]) -> FloatTensor<Self> {
        match Fold.prepare::<C>([x.node.clone()]).compute_bound().stateful() {
            OpsKind::Tracked(prep) => prep.finish(factor, B::fold(x.primitive, factor)),
            OpsKind::UnTracked(prep) => prep.finish(B::fold(x.primitive, factor)),
        }
    }

    fn convolve_joined(
        skip: FloatTensor<Self>,
        coarse: FloatTensor<Self>,
        kernel: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        factor: [usize; 3],
        isa: Isa,
    ) -> FloatTensor<Self> {
        let nodes = [&skip, &coarse, &kernel, &bias].map(|tensor| tensor.node.clone());
        match ConvolveJoined(isa).prepare::<C>(nodes).compute_bound().stateful() {
            OpsKind::Tracked(mut prep) => {
                let state = [prep.checkpoint(&skip), prep.checkpoint(&coarse), prep.checkpoint(&kernel)];
                let [skip, coarse, kernel, bias] = [skip, coarse, kernel, bias].map(|t| t.primitive);
                prep.finish((state, factor), B::convolve_joined(skip, coarse, kernel, bias, factor, isa))
            }
            OpsKind::UnTracked(prep) => {
                let [skip, coarse, kernel, bias] = [skip, coarse, kernel, bias].map(|t| t.primitive);
                prep.finish(B::convolve_joined(skip, coarse, kernel, bias, factor, isa))
            }
        }
    }

    fn probability(logits: FloatTensor<Self>) -> FloatTensor<Self> {
        match Probability.prepare::<C>([logits.node.clone()]).compute_bound().stateful() {
            OpsKind::Tracked(prep) => {
                let output = B::probability(logits.primitive);
                prep.finish(output.clone(), output)
            }
            OpsKind::UnTracked(prep) => prep.finish(B::probability(logits.primitive)),
        }
    }
}
