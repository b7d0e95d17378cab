//! Direct convolution: some output channels times some voxels stay in registers while all inputs
//! and taps stream past.
//!
//! Three forms. *Deep* vectors hold output channels; every voxel of the input is spread over one. It
//! is the faster one and serves every layer whose output channels fill vectors. *Wide* vectors hold
//! neighbouring voxels, for the others: in a framed volume the rows of a plane are one run, so
//! vectors never stop at a row's end, and the frame's columns are computed for nothing and thrown
//! away. *Tiles*, on processors that have them, hold both.

mod deep;
mod rows;
mod tiles;
mod wide;

use super::destination::Destination;
use super::packed::{Form, Packed};
use super::planes::Planes;

/// Tasks for each thread, so that threads which begin late still find work.
const TASKS_PER_THREAD: usize = 4;

/// What is done to the sums of a convolution.
#[derive(Clone, Copy, Default)]
pub struct Finish<'a> {
    /// Added to each output channel.
    pub bias: Option<&'a [f32]>,
    /// Whether the sums are added to what the destination holds.
    pub added: bool,
    /// Whether a ReLU follows.
    pub rectified: bool,
}

/// `output` (`[image, out, x, y, z]`) = the convolution of `input` with the packed kernel.
pub fn convolve(input: &Planes, packed: &Packed, finish: Finish, output: &mut Destination) {
    assert_eq!((input.channels, input.paired), (packed.inputs, packed.isa.is_bf16()));
    assert!(!(finish.added && output.is_paired()), "nothing is added to pairs of bfloat16");
    assert!(!finish.added || output.is_filled(), "sums cannot be added to memory that holds no values");
    output.check(input.images, packed.outputs, input.size);
    let taps = input.taps(packed.kernel, packed.shift);
    let job = Job { input, packed, finish, taps: &taps, output };
    match packed.form {
        Form::Wide => job.wide(),
        Form::Deep => job.deep(),
        Form::Tiles(depth) => job.tiles(depth),
    }
}

/// The convolution as new values.
pub(crate) fn convolved(input: &Planes, packed: &Packed, bias: Option<&[f32]>) -> Vec<f32> {
    let length = input.images * packed.outputs * input.size.iter().product::<usize>();
    let mut values = Vec::with_capacity(length);
    let vacant = &mut values.spare_capacity_mut()[..length];
    let finish = Finish { bias, ..Finish::default() };
    convolve(input, packed, finish, &mut Destination::vacant(vacant, packed.outputs, input.size));
    // SAFETY: a convolution writes every voxel of every channel.
    unsafe { values.set_len(length) };
    values
}

#[derive(Clone, Copy)]
struct Job<'a> {
    input: &'a Planes,
    packed: &'a Packed,
    finish: Finish<'a>,
    taps: &'a [usize],
    output: &'a Destination<'a>,
}

impl Job<'_> {
    fn bias(&self, output: usize) -> f32 {
        self.finish.bias.map_or(0.0, |bias| bias[output])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::isa::Isa;
    use crate::kernels::packed::Direction;
    use crate::kernels::reference;
    use proptest::prelude::*;

    #[test]
    fn a_frame_wider_than_the_kernel_is_read_as_the_zeros_it_is() {
        // One voxel behind five zeros: a kernel of one tap that begins with the frame sees the first of them.
        for isa in Isa::available() {
            for outputs in [1, 16] {
                let planes = Planes::framed(&[1.0], 1, 1, [1; 3], [0, 0, 5], [0, 0, 5]);
                let weights = vec![3.0; outputs];
                let packed = Packed::new(isa, &weights, [outputs, 1], [1; 3], Direction::Forward);
                assert_eq!(convolved(&planes, &packed, None), vec![0.0; outputs], "{isa}");
                let shifted = Packed::new(isa, &weights, [outputs, 1], [1; 3], Direction::Forward);
                assert_eq!(convolved(&planes, &shifted.shifted([0, 0, 5]), None), weights, "{isa}");
            }
        }
    }

    #[test]
    #[should_panic(expected = "cannot be added to memory that holds no values")]
    fn nothing_is_added_to_what_was_never_written() {
        let planes = Planes::framed(&[1.0; 8], 1, 1, [2; 3], [0; 3], [0; 3]);
        let packed = Packed::new(Isa::detect(), &[1.0], [1, 1], [1; 3], Direction::Forward);
        let mut memory = [std::mem::MaybeUninit::uninit(); 8];
        let finish = Finish { added: true, ..Finish::default() };
        convolve(&planes, &packed, finish, &mut Destination::vacant(&mut memory, 1, [2; 3]));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(60))]

        #[test]
        fn any_shape_equals_the_definition_on_every_instruction_set(
            images in 1usize..3,
            inputs in 1usize..6,
            outputs in prop_oneof![1usize..20, Just(32), Just(48)],
            size in (1usize..5, 1usize..7, prop_oneof![1usize..30, Just(50), Just(83)]).prop_map(<[usize; 3]>::from),
            kernel in prop_oneof![
                Just([3, 3, 3]), Just([1, 3, 3]), Just([1, 1, 1]), Just([1, 5, 20]), Just([2, 1, 4])
            ],
            backward: bool,
            rectified: bool,
            seed in 0u32..1000,
        ) {
            let direction = if backward { Direction::Backward } else { Direction::Forward };
            let taps: usize = kernel.iter().product();
            let volume: usize = size.iter().product();
            let weights = reference::noise(outputs * inputs * taps, seed);
            let (from, to) = if backward { (outputs, inputs) } else { (inputs, outputs) };
            let x = reference::noise(images * from * volume, seed + 1);
            let bias = reference::noise(to, seed + 2);
            let mut expected = match direction {
                Direction::Forward => reference::convolve(&x, images, size, &weights, [outputs, inputs], kernel),
                Direction::Backward => {
                    reference::input_gradient(&x, images, size, &weights, [outputs, inputs], kernel)
                }
            };
            for (index, value) in expected.iter_mut().enumerate() {
                *value += bias[index / volume % to];
                if rectified {
                    *value = value.max(0.0);
                }
            }
            for isa in Isa::available() {
                let packed = Packed::new(isa, &weights, [outputs, inputs], kernel, direction);
                let (before, after) = Packed::frame(kernel, direction);
                let planes = Planes::framed(&x, images, from, size, before, after);
                let mut output = vec![f32::NAN; expected.len()];
                let finish = Finish { bias: Some(&bias), added: false, rectified };
                convolve(&planes, &packed, finish, &mut Destination::dense(&mut output, to, size));
                prop_assert!(reference::close(&output, &expected), "{} {:?}", isa, packed.form);
            }
        }
    }
}
