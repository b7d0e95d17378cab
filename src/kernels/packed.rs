//! Kernels laid out in the order in which the convolution reads them.

use rayon::prelude::*;

use super::amx;
use super::isa::Isa;
use super::pairs::{pair, words};

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
    /// Both, and in the third direction so many pairs of input channels.
    Tiles(usize),
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
        let (to, from) = match direction {
            Direction::Forward => (outputs, inputs),
            Direction::Backward => (inputs, outputs),
        };
        // The taps of one channel pair in the given weights.
        let taps_of = |to: usize, from: usize| {
            let row = match direction {
                Direction::Forward => to * inputs + from,
                Direction::Backward => from * inputs + to,
            };
            &weights[row * taps..][..taps]
        };
        let inputs_read = if isa.is_bf16() { words(from) } else { from };
        let form = match amx::depth(inputs_read) {
            Some(depth) if isa.multiplies_tiles() && to.is_multiple_of(amx::SIDE) => Form::Tiles(depth),
            _ if to.is_multiple_of(isa.lanes()) => Form::Deep,
            _ => Form::Wide,
        };
        let tiles = form.tiles(isa, to);
        let mut packed = vec![0.0; to * inputs_read * taps];
        let mut rest = packed.as_mut_slice();
        let mut parts = Vec::new();
        for (first, width) in tiles {
            let (part, behind) = rest.split_at_mut(width * inputs_read * taps);
            parts.push((first, width, part));
            rest = behind;
        }
        parts.into_par_iter().for_each(|(first, width, part)| {
            for word in 0..inputs_read {
                for offset in 0..width {
                    let (start, step) = form.place(word, offset, [inputs_read, taps, width]);
                    let target = part[start..=start + (taps - 1) * step].iter_mut().step_by(step);
                    let to = first + offset;
                    let source = if isa.is_bf16() {
                        let high = (2 * word + 1 < from).then(|| taps_of(to, 2 * word + 1));
                        Source::Pair(taps_of(to, 2 * word), high)
                    } else {
                        Source::Floats(taps_of(to, word))
                    };
                    match direction {
                        Direction::Forward => source.lay(target),
                        Direction::Backward => source.lay(target.rev()),
                    }
                }
            }
        });
        Packed { isa, outputs: to, inputs: inputs_read, kernel, shift: [0; 3], form, weights: packed }
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

/// The taps of an output and an input, or of a pair of inputs, of an odd number the last alone.
enum Source<'a> {
    Floats(&'a [f32]),
    Pair(&'a [f32], Option<&'a [f32]>),
}

impl Source<'_> {
    fn lay<'a>(self, target: impl Iterator<Item = &'a mut f32>) {
        match self {
            Source::Floats(taps) => target.zip(taps).for_each(|(to, &weight)| *to = weight),
            Source::Pair(low, Some(high)) => {
                target.zip(low.iter().zip(high)).for_each(|(to, (&low, &high))| *to = pair(low, high));
            }
            Source::Pair(low, None) => target.zip(low).for_each(|(to, &low)| *to = pair(low, 0.0)),
        }
    }
}

impl Form {
    /// Where in the kernel of `width` outputs the first tap of one of them and one word of the `words` lies, and how far it is from
    /// there to the next tap.
    fn place(self, word: usize, offset: usize, [words, taps, width]: [usize; 3]) -> (usize, usize) {
        match self {
            Form::Deep | Form::Wide => (word * taps * width + offset, width),
            Form::Tiles(depth) => {
                let block = offset / amx::SIDE * (words / depth) + word / depth;
                let row = block * taps * amx::SIDE + offset % amx::SIDE;
                (row * depth + word % depth, amx::SIDE * depth)
            }
        }
    }

    /// Splits output channels into tiles: first channel and width.
    pub(super) fn tiles(self, isa: Isa, outputs: usize) -> Vec<(usize, usize)> {
        let widest = match self {
            Form::Deep => DEEP_VECTORS * isa.lanes(),
            Form::Tiles(_) => 2 * amx::SIDE,
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
