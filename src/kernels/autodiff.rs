//! The convolution's backward pass, on any backend.

use burn::backend::Autodiff;
use burn::backend::autodiff::checkpoint::{base::Checkpointer, strategy::CheckpointStrategy};
use burn::backend::autodiff::{
    NodeId,
    grads::Gradients,
    ops::{Backward, Ops, OpsKind},
};
use burn::tensor::ops::FloatTensor;

use super::ConvBackend;

#[derive(Debug)]
struct Convolution;

impl<B: ConvBackend> Backward<B, 2> for Convolution {
    type State = (NodeId, NodeId);

    fn backward(self, ops: Ops<Self::State, 2>, gradients: &mut Gradients, checkpointer: &mut Checkpointer) {
        let [input, kernel] = ops.parents;
        let gradient = gradients.consume::<B>(&ops.node);
        let x: FloatTensor<B> = checkpointer.retrieve_node_output(ops.state.0);
        let weights: FloatTensor<B> = checkpointer.retrieve_node_output(ops.state.1);
        if let Some(node) = input {
            let towards_input = B::conv_input_gradient(x.clone(), weights.clone(), gradient.clone());
            gradients.register::<B>(node.id, towards_input);
        }
        if let Some(node) = kernel {
            gradients.register::<B>(node.id, B::conv_kernel_gradient(x, weights, gradient));
        }
    }
}

impl<B: ConvBackend, C: CheckpointStrategy> ConvBackend for Autodiff<B, C> {
    fn conv(x: FloatTensor<Self>, kernel: FloatTensor<Self>) -> FloatTensor<Self> {
        match Convolution.prepare::<C>([x.node.clone(), kernel.node.clone()]).compute_bound().stateful() {
            OpsKind::Tracked(mut prep) => {
                let state = (prep.checkpoint(&x), prep.checkpoint(&kernel));
                prep.finish(state, B::conv(x.primitive, kernel.primitive))
            }
            OpsKind::UnTracked(prep) => prep.finish(B::conv(x.primitive, kernel.primitive)),
        }
    }
}
