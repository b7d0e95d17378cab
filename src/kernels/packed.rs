//! Kernels laid out in the order in which the convolution reads them.

use rayon::prelude::*;

use super::pairs::{paired_weights, words};
use super::simd::Isa;

/// Output channels a deep tile computes together at most, in vectors.
const DEEP_VECTORS: usize = 2;

/// A kernel laid out for one instruction set and form.
pub struct Packed {
    pub(super) isa: Isa,
    pub(super) outputs: usize,
    pub(super) inputs: usize,
    pub(super) kernel: [usize; 3],
    /// Where in the input's frame the first tap lies.
    pub(super) shift: [usize; 3],
    pub(super) form: Form,
    pub(super) weights: Vec<f32>,
}

/// What a register holds, see [`super::direct`].
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) enum Form {
    /// Neighbouring voxels.
    Wide,
    /// Output channels.
    Deep,
}

/// Which way a kernel is applied.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Direction {
    /// From inputs to outputs.
    Forward,
    /// From the gradient of the outputs to the gradient of the inputs: channels change places and
    /// the taps are mirrored.
    Backward,
}

impl Packed {
    /// Lays out `weights` (`[out, in, x, y, z]`). For bfloat16 the kernel reads pairs of channels.
    pub fn new(
        isa: Isa,
        weights: &[f32],
        [outputs, inputs]: [usize; 2],
        kernel: [usize; 3],
        direction: Direction,
    ) -> Packed {
        let taps: usize = kernel.iter().product();
        if isa.is_bf16() {
            let (turned, [to, from]) = match direction {
                Direction::Forward => (None, [outputs, inputs]),
                Direction::Backward => (Some(turned(weights, inputs, taps)), [inputs, outputs]),
            };
            let paired = paired_weights(turned.as_deref().unwrap_or(weights), [to, from], taps);
            return Packed::laid_out(isa, &paired, [to, words(from)], kernel, Direction::Forward);
        }
        Packed::laid_out(isa, weights, [outputs, inputs], kernel, direction)
    }

    fn laid_out(
        isa: Isa,
        weights: &[f32],
        [outputs, inputs]: [usize; 2],
        kernel: [usize; 3],
        direction: Direction,
    ) -> Packed {
        let taps: usize = kernel.iter().product();
        // The taps of one channel pair in the given weights.
        let taps_of = |output: usize, input: usize| match direction {
            Direction::Forward => &weights[(output * inputs + input) * taps..][..taps],
            Direction::Backward => &weights[(input * inputs + output) * taps..][..taps],
        };
        let (to, from) = match direction {
            Direction::Forward => (outputs, inputs),
            Direction::Backward => (inputs, outputs),
        };
        let form = if to.is_multiple_of(isa.lanes()) { Form::Deep } else { Form::Wide };
        let tiles = form.tiles(isa, to);
        let mut packed = vec![0.0; weights.len()];
        let mut rest = packed.as_mut_slice();
        let mut parts = Vec::new();
        for (first, width) in tiles {
            let (part, behind) = rest.split_at_mut(width * from * taps);
            parts.push((first, width, part));
            rest = behind;
        }
        parts.into_par_iter().for_each(|(first, width, part)| {
            for (input, part) in part.chunks_exact_mut(taps * width).enumerate() {
                for offset in 0..width {
                    let source = taps_of(first + offset, input);
                    let target = part[offset..].iter_mut().step_by(width);
                    match direction {
                        Direction::Forward => target.zip(source).for_each(|(to, &weight)| *to = weight),
                        Direction::Backward => {
                            target.zip(source.iter().rev()).for_each(|(to, &weight)| *to = weight);
                        }
                    }
                }
            }
        });
        Packed { isa, outputs: to, inputs: from, kernel, shift: [0; 3], form, weights: packed }
    }

    /// The same kernel applied to an input whose frame begins so much earlier.
    pub fn shifted(self, shift: [usize; 3]) -> Packed {
        Packed { shift, ..self }
    }

    /// Zeros a volume needs before and after it so that its extent stays.
    pub fn frame(kernel: [usize; 3], direction: Direction) -> ([usize; 3], [usize; 3]) {
        let (small, large) = (kernel.map(|k| (k - 1) / 2), kernel.map(|k| k / 2));
        match direction {
            Direction::Forward => (small, large),
            Direction::Backward => (large, small),
        }
    }
}

/// Weights `[out, in, taps]` as those of the way back, `[in, out, taps]` with the taps mirrored.
fn turned(weights: &[f32], inputs: usize, taps: usize) -> Vec<f32> {
    let mut turned = vec![0.0; weights.len()];
    turned.par_chunks_mut(weights.len() / inputs).enumerate().for_each(|(input, turned)| {
        let rows = weights.chunks_exact(inputs * taps).map(|row| &row[input * taps..][..taps]);
        for (to, from) in turned.chunks_exact_mut(taps).zip(rows) {
            to.iter_mut().zip(from.iter().rev()).for_each(|(to, &weight)| *to = weight);
        }
    });
    turned
}

impl Form {
    /// Splits output channels into tiles: first channel and width.
    pub(super) fn tiles(self, isa: Isa, outputs: usize) -> Vec<(usize, usize)> {
        let widest = match self {
            Form::Deep => DEEP_VECTORS * isa.lanes(),
            Form::Wide if isa.lanes() == 16 => 8,
            Form::Wide => 4,
        };
        let mut tiles = Vec::new();
        let mut first = 0;
        while first < outputs {
            let mut width = widest;
            while width > outputs - first {
                width /= 2;
            }
            tiles.push((first, width));
            first += width;
        }
        tiles
    }
}
