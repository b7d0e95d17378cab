//! The gradient of a kernel: vectors hold output channels, some taps' sums stay in registers while
//! the voxels stream past.
//!
//! In bfloat16 two voxels pass at once: what is added up are voxels, so it is two neighbours along a row that are the pair here,
//! and not two channels. A row of an odd number ends with a gradient of nothing.

use rayon::prelude::*;

use super::isa::Isa;
use super::pairs::{half, pair};
use super::planes::Planes;
use super::simd::{Simd, Work};

/// Row groups whose sums are kept apart and added at the end. A constant, and not the number of
/// threads, so that a result does not depend on the machine.
const GROUPS: usize = 16;
/// Sums of one group at most, in floats; larger kernels are summed in one group.
const GROUP_SUMS: usize = 1 << 20;
/// Voxels that stay in the second-level cache while all inputs and taps pass.
const CACHED_VOXELS: usize = 2048;

/// Taps that share one pass: as many sums as fit the registers.
#[derive(Clone, Copy, PartialEq)]
enum Pass {
    /// A 3×3 plane of the kernel.
    Nine,
    /// A kernel of 2×2×2.
    Eight,
    /// A plane of 2×2, of two input channels where there are two.
    Four,
    /// A row of 20.
    Twenty,
    /// A row of 9.
    Line,
    /// A row of 5, of two input channels where there are two.
    Five,
    /// One tap, of eight input channels where there are as many: a sum alone would wait for itself.
    One,
}

impl Pass {
    fn of(kernel: [usize; 3]) -> (Pass, usize) {
        match kernel {
            [_, 3, 3] => (Pass::Nine, 9),
            [2, 2, 2] => (Pass::Eight, 8),
            [_, 2, 2] => (Pass::Four, 4),
            [_, _, 20] => (Pass::Twenty, 20),
            [_, _, 9] => (Pass::Line, 9),
            [_, _, 5] => (Pass::Five, 5),
            _ => (Pass::One, 1),
        }
    }

    /// Input channels whose taps share a pass, where there are as many.
    fn channels(self) -> usize {
        match self {
            Pass::Four | Pass::Five => 2,
            Pass::One => 8,
            _ => 1,
        }
    }
}

/// The gradient `[out, in, x, y, z]` of a kernel, given the framed `input` of its convolution in floats, the
/// `gradient` `[image, out, x, y, z]` of the output and where in the frame the first tap lies.
pub fn kernel_gradient(
    isa: Isa,
    input: &Planes,
    gradient: &[f32],
    outputs: usize,
    kernel: [usize; 3],
    shift: [usize; 3],
) -> Vec<f32> {
    Input::of(isa, input, outputs).kernel_gradient(gradient, kernel, shift)
}

/// The framed input of a convolution to so many outputs, rounded once for all gradients that are computed with it.
pub(crate) struct Input<'a> {
    isa: Isa,
    planes: &'a Planes,
    outputs: usize,
    /// In bfloat16, where `isa` multiplies it.
    halves: Option<Vec<u16>>,
}

impl Input<'_> {
    /// Of `planes` in floats.
    pub fn of(isa: Isa, planes: &Planes, outputs: usize) -> Input<'_> {
        // Narrow layers would leave half of a 512-bit register empty.
        let isa = if outputs <= 8 { isa.single().narrower() } else { isa };
        let halves = isa.is_bf16().then(|| halves(planes.data()));
        Input { isa, planes, outputs, halves }
    }

    /// See [`kernel_gradient`].
    pub fn kernel_gradient(&self, gradient: &[f32], kernel: [usize; 3], shift: [usize; 3]) -> Vec<f32> {
        let Input { isa, planes: input, outputs, ref halves } = *self;
        let taps: usize = kernel.iter().product();
        let lanes = isa.lanes();
        let blocks = outputs.div_ceil(lanes);
        let (values, per_word) = match halves {
            Some(halves) => (bytemuck::cast_slice(halves), 2),
            None => (bytemuck::cast_slice(input.data()), 1),
        };
        let turned = turn(input, gradient, outputs, lanes, per_word);
        let [a, b, _] = input.size;
        let rows = input.images * a * b;
        let sums = input.channels * taps * lanes;
        let groups = if sums <= GROUP_SUMS / GROUPS { GROUPS.min(rows) } else { 1 };
        let offsets = input.taps(kernel, shift);
        let mut partial = vec![0.0f32; blocks * groups * sums];
        partial.par_chunks_mut(sums).enumerate().for_each(|(task, sums)| {
            let (block, group) = (task / groups, task % groups);
            let rows = rows * group / groups..rows * (group + 1) / groups;
            isa.run(Rows {
                input,
                values,
                per_word,
                turned: &turned,
                block,
                rows,
                taps: &offsets,
                kernel,
                sums,
            });
        });
        let mut result = vec![0.0; outputs * input.channels * taps];
        result.par_chunks_mut(input.channels * taps).enumerate().for_each(|(output, weights)| {
            let (block, lane) = (output / lanes, output % lanes);
            for group in 0..groups {
                let sums = &partial[(block * groups + group) * sums..][..sums];
                for (index, weight) in weights.iter_mut().enumerate() {
                    *weight += sums[index * lanes + lane];
                }
            }
        });
        result
    }
}

/// Values rounded to bfloat16.
fn halves(values: &[f32]) -> Vec<u16> {
    let mut halves = vec![0; values.len()];
    /// Values a task rounds: enough to be worth a task.
    const CHUNK: usize = 1 << 16;
    halves.par_chunks_mut(CHUNK).zip(values.par_chunks(CHUNK)).for_each(|(halves, values)| {
        halves.iter_mut().zip(values).for_each(|(to, &value)| *to = half(value));
    });
    halves
}

/// The gradient with channels innermost: `[block, image, row, word, lane]`, missing channels zero; a word is a voxel or two.
fn turn(input: &Planes, gradient: &[f32], outputs: usize, lanes: usize, per_word: usize) -> Vec<f32> {
    let volume: usize = input.size.iter().product();
    let blocks = outputs.div_ceil(lanes);
    let [a, b, c] = input.size;
    let words = c.div_ceil(per_word);
    let mut turned = vec![0.0; blocks * input.images * a * b * words * lanes];
    turned.par_chunks_mut(b * words * lanes).enumerate().for_each(|(task, to)| {
        let (block, image, x) = (task / (input.images * a), task / a % input.images, task % a);
        for lane in 0..lanes.min(outputs - block * lanes) {
            let channel = image * outputs + block * lanes + lane;
            let from = &gradient[channel * volume + x * b * c..][..b * c];
            for (to, row) in to.chunks_exact_mut(words * lanes).zip(from.chunks_exact(c)) {
                let to = to[lane..].iter_mut().step_by(lanes);
                if per_word == 1 {
                    to.zip(row).for_each(|(to, &value)| *to = value);
                } else {
                    let next = |two: &[f32]| two.get(1).copied().unwrap_or(0.0);
                    to.zip(row.chunks(2)).for_each(|(to, two)| *to = pair(two[0], next(two)));
                }
            }
        }
    });
    turned
}

/// A range of rows for one block of output channels.
struct Rows<'a> {
    input: &'a Planes,
    /// The input's values, of 4 / `per_word` bytes each.
    values: &'a [u8],
    per_word: usize,
    turned: &'a [f32],
    block: usize,
    rows: std::ops::Range<usize>,
    taps: &'a [usize],
    kernel: [usize; 3],
    /// `[input, tap, lane]`.
    sums: &'a mut [f32],
}

impl Work for Rows<'_> {
    #[inline(always)]
    unsafe fn run<S: Simd>(mut self) {
        let (pass, width) = Pass::of(self.kernel);
        let [a, b, c] = self.input.size;
        let per_chunk = (CACHED_VOXELS / c).max(1);
        let mut first = self.rows.start;
        let all_rows = self.input.images * a * b;
        while first < self.rows.end {
            let rows = first..(first + per_chunk).min(self.rows.end);
            let mut channel = 0;
            while channel < self.input.channels {
                let together = pass.channels();
                let together = if channel + together <= self.input.channels { together } else { 1 };
                for tap in (0..self.taps.len()).step_by(width) {
                    let sums = (channel * self.taps.len() + tap) * S::LANES;
                    let chunk = Chunk { rows: rows.clone(), all_rows, channel, tap, sums };
                    // SAFETY: a pass covers `width` taps, which the kernel's extent is a multiple of.
                    unsafe {
                        match pass {
                            Pass::Nine => self.pass::<S, 1, 9>(chunk),
                            Pass::Eight => self.pass::<S, 1, 8>(chunk),
                            Pass::Four if together == 2 => self.pass::<S, 2, 4>(chunk),
                            Pass::Four => self.pass::<S, 1, 4>(chunk),
                            Pass::Twenty if S::MANY_REGISTERS => self.pass::<S, 1, 20>(chunk),
                            Pass::Twenty => {
                                for half in 0..2 {
                                    let (tap, sums) =
                                        (chunk.tap + 10 * half, chunk.sums + 10 * half * S::LANES);
                                    self.pass::<S, 1, 10>(Chunk { tap, sums, rows: rows.clone(), ..chunk });
                                }
                            }
                            Pass::Line => self.pass::<S, 1, 9>(chunk),
                            Pass::Five if together == 2 => self.pass::<S, 2, 5>(chunk),
                            Pass::Five => self.pass::<S, 1, 5>(chunk),
                            Pass::One if together == 8 => self.pass::<S, 8, 1>(chunk),
                            Pass::One => self.pass::<S, 1, 1>(chunk),
                        }
                    }
                }
                channel += together;
            }
            first = rows.end;
        }
    }
}

struct Chunk {
    rows: std::ops::Range<usize>,
    all_rows: usize,
    channel: usize,
    tap: usize,
    sums: usize,
}

impl Rows<'_> {
    /// Adds a chunk of rows to the sums of `N` taps of `C` input channels.
    #[inline(always)]
    unsafe fn pass<S: Simd, const C: usize, const N: usize>(&mut self, chunk: Chunk) {
        let [a, b, c] = self.input.size;
        let [_, fb, fc] = self.input.framed;
        let stride = self.input.channel_stride();
        let (bytes, words) = (4 / self.per_word, c.div_ceil(self.per_word));
        unsafe {
            // From the sums of a channel to those of the next.
            let apart = self.taps.len() * S::LANES;
            let sums = self.sums.as_mut_ptr().add(chunk.sums);
            let mut acc = [[S::splat(0.0); N]; C];
            let mut taps = [[0; N]; C];
            for (channel, (acc, taps)) in acc.iter_mut().zip(&mut taps).enumerate() {
                for (index, (acc, tap)) in acc.iter_mut().zip(taps).enumerate() {
                    *acc = S::load(sums.add(channel * apart + index * S::LANES));
                    *tap = (*self.taps.get_unchecked(chunk.tap + index) + channel * stride) * bytes;
                }
            }
            for row in chunk.rows {
                let (image, x, y) = (row / (a * b), row / b % a, row % b);
                let start = (image * self.input.channels + chunk.channel) * stride + (x * fb + y) * fc;
                let source = self.values.as_ptr().add(start * bytes);
                let gradient =
                    self.turned.as_ptr().add((self.block * chunk.all_rows + row) * words * S::LANES);
                // A word is four bytes, whether of one voxel or two. The second of the last one may lie behind the row: in the frame,
                // the next row or the slack, whose values are finite and meet a gradient of nothing.
                for word in 0..words {
                    let g = S::load(gradient.add(word * S::LANES));
                    for (acc, taps) in acc.iter_mut().zip(&taps) {
                        for (acc, &tap) in acc.iter_mut().zip(taps) {
                            let x = source.add(4 * word + tap).cast::<f32>().read_unaligned();
                            *acc = S::fma(g, S::splat(x), *acc);
                        }
                    }
                }
            }
            for (channel, acc) in acc.into_iter().enumerate() {
                for (index, acc) in acc.into_iter().enumerate() {
                    S::store(sums.add(channel * apart + index * S::LANES), acc);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::packed::{Direction, Packed};
    use crate::kernels::reference;
    use proptest::prelude::*;

    #[test]
    fn gradients_are_finite_differences() {
        // A convolution is linear in its input and in its kernel, so that central differences are
        // exact up to rounding.
        let (images, size, channels, kernel) = (1, [2, 3, 4], [2, 3], [3, 3, 3]);
        let volume: usize = size.iter().product();
        let x = reference::noise(channels[1] * volume, 1);
        let weights = reference::noise(channels[0] * channels[1] * 27, 2);
        let gradient = reference::noise(channels[0] * volume, 3);
        let loss = |x: &[f32], weights: &[f32]| -> f64 {
            let output = reference::convolve(x, images, size, weights, channels, kernel);
            output.iter().zip(&gradient).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()
        };
        let difference = |values: &[f32], at: usize, loss: &dyn Fn(&[f32]) -> f64| -> f32 {
            let moved = |by: f32| {
                let mut moved = values.to_vec();
                moved[at] += by;
                loss(&moved)
            };
            (moved(0.5) - moved(-0.5)) as f32
        };
        for isa in Isa::available() {
            let (before, after) = Packed::frame(kernel, Direction::Forward);
            let planes = Planes::framed(&x, images, channels[1], size, before, after);
            let to_kernel = kernel_gradient(isa, &planes, &gradient, channels[0], kernel, [0; 3]);
            let differences: Vec<f32> =
                (0..weights.len()).map(|at| difference(&weights, at, &|moved| loss(&x, moved))).collect();
            assert!(reference::close(&to_kernel, &differences), "{isa}");
            let (before, after) = Packed::frame(kernel, Direction::Backward);
            let planes = Planes::framed(&gradient, images, channels[0], size, before, after);
            let packed = Packed::new(isa, &weights, channels, kernel, Direction::Backward);
            let to_input = crate::kernels::direct::convolved(&planes, &packed, None);
            let differences: Vec<f32> =
                (0..x.len()).map(|at| difference(&x, at, &|moved| loss(moved, &weights))).collect();
            assert!(reference::close(&to_input, &differences), "{isa}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(40))]

        #[test]
        fn any_shape_equals_the_definition_on_every_instruction_set(
            images in 1usize..3,
            inputs in prop_oneof![1usize..5, 7usize..18],
            outputs in prop_oneof![1usize..20, Just(33)],
            size in (1usize..5, 1usize..7, prop_oneof![1usize..30, Just(83)]).prop_map(<[usize; 3]>::from),
            kernel in prop_oneof![
                Just([3, 3, 3]), Just([1, 3, 3]), Just([1, 1, 1]), Just([1, 5, 20]), Just([2, 1, 4]),
                Just([1, 1, 5]), Just([1, 1, 9]), Just([2, 2, 2]), Just([1, 2, 2])
            ],
            seed in 0u32..1000,
        ) {
            let volume: usize = size.iter().product();
            let x = reference::noise(images * inputs * volume, seed);
            let gradient = reference::noise(images * outputs * volume, seed + 1);
            let expected = reference::kernel_gradient(&x, &gradient, images, size, [outputs, inputs], kernel);
            let (before, after) = Packed::frame(kernel, Direction::Forward);
            let planes = Planes::framed(&x, images, inputs, size, before, after);
            for isa in Isa::available() {
                let computed = kernel_gradient(isa, &planes, &gradient, outputs, kernel, [0; 3]);
                prop_assert!(reference::close(&computed, &expected), "{}", isa);
            }
            let [x, gradient] = [x, gradient].map(|values| reference::rounded(&values));
            let expected = reference::kernel_gradient(&x, &gradient, images, size, [outputs, inputs], kernel);
            let (before, after) = Packed::frame(kernel, Direction::Forward);
            let planes = Planes::framed(&x, images, inputs, size, before, after);
            for isa in Isa::all_bf16() {
                let computed = kernel_gradient(isa, &planes, &gradient, outputs, kernel, [0; 3]);
                prop_assert!(reference::close(&computed, &expected), "{}", isa);
            }
        }
    }
}
