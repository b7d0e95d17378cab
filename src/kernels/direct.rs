//! Direct convolution: some output channels times a run of voxels stay in registers while all
//! inputs and taps stream past.
//!
//! Two forms. *Wide* vectors hold neighbouring voxels: in a framed volume the rows of a plane are
//! one run, so vectors never stop at a row's end, and the frame's columns are computed for nothing
//! and thrown away. *Deep* vectors hold output channels, for the small planes of the lower levels,
//! where a frame would be most of the run.

use rayon::prelude::*;

use super::packed::{DEEP_VECTORS, Form, Packed, deep_block, wide_tiles};
use super::planes::Planes;
use super::simd::{Simd, Work};

/// Floats of input a task of the wide form looks at: about half of a 1 MiB second-level cache.
const CACHED: usize = 96 * 1024;
/// Floats of weights a deep task streams per pass: fits the second-level cache beside the sums.
const DEEP_WEIGHTS: usize = 32 * 1024;

/// A pointer that tasks write disjoint parts of.
#[derive(Clone, Copy)]
struct Target(*mut f32);
// SAFETY: every task writes its own rows of its own channels.
unsafe impl Send for Target {}
unsafe impl Sync for Target {}

/// `output` (`[image, out, x, y, z]`) = the convolution of `input` with the packed kernel, plus
/// `bias`, then a ReLU if `rectified`.
pub fn convolve(input: &Planes, packed: &Packed, bias: Option<&[f32]>, rectified: bool, output: &mut [f32]) {
    let volume: usize = input.size.iter().product();
    assert_eq!(input.channels, packed.inputs);
    assert_eq!(output.len(), input.images * packed.outputs * volume);
    let job = Job { input, packed, bias, rectified, output: Target(output.as_mut_ptr()) };
    match packed.form {
        Form::Wide => job.wide(),
        Form::Deep => job.deep(),
    }
}

#[derive(Clone, Copy)]
struct Job<'a> {
    input: &'a Planes,
    packed: &'a Packed,
    bias: Option<&'a [f32]>,
    rectified: bool,
    output: Target,
}

impl Job<'_> {
    fn wide(self) {
        let [a, b, _] = self.input.size;
        let per_row = self.packed.inputs * self.packed.kernel[0] * self.input.framed[2];
        let tasks_wanted = 4 * rayon::current_num_threads();
        let fair = (self.input.images * a * b).div_ceil(tasks_wanted);
        let rows = (CACHED / per_row).min(fair).clamp(1, b);
        let chunks = b.div_ceil(rows);
        let taps = self.input.taps(self.packed.kernel);
        (0..self.input.images * a * chunks).into_par_iter().for_each(|task| {
            let (image, x, chunk) = (task / (a * chunks), task / chunks % a, task % chunks);
            let first = chunk * rows;
            let rows = rows.min(b - first);
            self.packed.isa.run(WideRows { job: self, taps: &taps, image, x, first, rows });
        });
    }

    fn deep(self) {
        let block = deep_block(self.packed.isa);
        let taps = self.input.taps(self.packed.kernel);
        (0..self.packed.outputs / block).into_par_iter().for_each(|tile| {
            self.packed.isa.run(DeepTile { job: self, taps: &taps, tile });
        });
    }

    fn bias(&self, output: usize) -> f32 {
        self.bias.map_or(0.0, |bias| bias[output])
    }

    /// First voxel of a row of the output.
    fn row(&self, image: usize, output: usize, x: usize, y: usize) -> usize {
        let [a, b, c] = self.input.size;
        (((image * self.packed.outputs + output) * a + x) * b + y) * c
    }
}

/// Some rows of one plane, all output channels.
struct WideRows<'a> {
    job: Job<'a>,
    taps: &'a [usize],
    image: usize,
    x: usize,
    first: usize,
    rows: usize,
}

impl Work for WideRows<'_> {
    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let input = self.job.input;
        let pitch = input.framed[2];
        let run = (self.rows - 1) * pitch + input.size[2];
        let vectors = run.div_ceil(S::LANES);
        let mut sums = vec![0.0f32; 8 * vectors * S::LANES];
        let start = self.image * input.channels * input.channel_stride()
            + (self.x * input.framed[1] + self.first) * pitch;
        let weights_per_output = self.job.packed.inputs * self.taps.len();
        for (output, width) in wide_tiles(self.job.packed.isa, self.job.packed.outputs) {
            let weights = &self.job.packed.weights[output * weights_per_output..];
            // SAFETY: a run begins inside the framed volume and ends, rounded up to a block,
            // within the slack behind it; `sums` holds `width` runs of whole vectors.
            unsafe {
                let from = input.data().as_ptr().add(start);
                let tile = Tile { from, weights: weights.as_ptr(), stride: input.channel_stride(), vectors };
                match (width, S::MANY_REGISTERS) {
                    (8, true) => self.tile::<S, 8, 3>(tile, output, &mut sums),
                    (4, true) => self.tile::<S, 4, 6>(tile, output, &mut sums),
                    (2, true) => self.tile::<S, 2, 8>(tile, output, &mut sums),
                    (1, true) => self.tile::<S, 1, 8>(tile, output, &mut sums),
                    (4, false) => self.tile::<S, 4, 3>(tile, output, &mut sums),
                    (2, false) => self.tile::<S, 2, 5>(tile, output, &mut sums),
                    _ => self.tile::<S, 1, 8>(tile, output, &mut sums),
                }
            }
            for offset in 0..width {
                let sums = &sums[offset * vectors * S::LANES..];
                for row in 0..self.rows {
                    let to = self.job.row(self.image, output + offset, self.x, self.first + row);
                    let values = &sums[row * pitch..row * pitch + input.size[2]];
                    // SAFETY: this row belongs to this task alone.
                    unsafe {
                        std::ptr::copy_nonoverlapping(
                            values.as_ptr(),
                            self.job.output.0.add(to),
                            values.len(),
                        );
                    }
                }
            }
        }
    }
}

#[derive(Clone, Copy)]
struct Tile {
    from: *const f32,
    weights: *const f32,
    stride: usize,
    vectors: usize,
}

impl WideRows<'_> {
    #[inline(always)]
    unsafe fn tile<S: Simd, const OUT: usize, const RUN: usize>(
        &self,
        tile: Tile,
        output: usize,
        sums: &mut [f32],
    ) {
        let mut vector = 0;
        unsafe {
            while vector + RUN <= tile.vectors {
                self.block::<S, OUT, RUN>(tile, output, vector, sums);
                vector += RUN;
            }
            if RUN > 4 && vector + 4 <= tile.vectors {
                self.block::<S, OUT, 4>(tile, output, vector, sums);
                vector += 4;
            }
            if RUN > 2 && vector + 2 <= tile.vectors {
                self.block::<S, OUT, 2>(tile, output, vector, sums);
                vector += 2;
            }
            while vector < tile.vectors {
                self.block::<S, OUT, 1>(tile, output, vector, sums);
                vector += 1;
            }
        }
    }

    #[inline(always)]
    unsafe fn block<S: Simd, const OUT: usize, const RUN: usize>(
        &self,
        tile: Tile,
        output: usize,
        vector: usize,
        sums: &mut [f32],
    ) {
        unsafe {
            let mut acc = [[S::splat(0.0); RUN]; OUT];
            for (offset, acc) in acc.iter_mut().enumerate() {
                *acc = [S::splat(self.job.bias(output + offset)); RUN];
            }
            let mut from = tile.from.add(vector * S::LANES);
            let mut weights = tile.weights;
            for _ in 0..self.job.packed.inputs {
                for &tap in self.taps {
                    let mut x = [S::splat(0.0); RUN];
                    for (index, x) in x.iter_mut().enumerate() {
                        *x = S::load(from.add(tap + index * S::LANES));
                    }
                    for (offset, acc) in acc.iter_mut().enumerate() {
                        let weight = S::splat(*weights.add(offset));
                        for (acc, x) in acc.iter_mut().zip(x) {
                            *acc = S::fma(x, weight, *acc);
                        }
                    }
                    weights = weights.add(OUT);
                }
                from = from.add(tile.stride);
            }
            for (offset, acc) in acc.into_iter().enumerate() {
                let to = sums.as_mut_ptr().add((offset * tile.vectors + vector) * S::LANES);
                for (index, mut sum) in acc.into_iter().enumerate() {
                    if self.job.rectified {
                        sum = S::max(sum, S::splat(0.0));
                    }
                    S::store(to.add(index * S::LANES), sum);
                }
            }
        }
    }
}

/// All voxels of all images for one block of output channels.
struct DeepTile<'a> {
    job: Job<'a>,
    taps: &'a [usize],
    tile: usize,
}

impl Work for DeepTile<'_> {
    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let input = self.job.input;
        let [a, b, c] = input.size;
        let block = DEEP_VECTORS * S::LANES;
        let first = self.tile * block;
        let rows = input.images * a * b;
        let mut sums = vec![0.0f32; rows * c * block];
        for voxel in sums.chunks_exact_mut(block) {
            for (offset, sum) in voxel.iter_mut().enumerate() {
                *sum = self.job.bias(first + offset);
            }
        }
        let per_input = self.taps.len() * block;
        let inputs = self.job.packed.inputs;
        let weights = &self.job.packed.weights[self.tile * inputs * per_input..][..inputs * per_input];
        let group = (DEEP_WEIGHTS / per_input).clamp(1, inputs);
        for from in (0..inputs).step_by(group) {
            let count = group.min(inputs - from);
            for row in 0..rows {
                let (image, x, y) = (row / (a * b), row / b % a, row % b);
                let start = (image * input.channels + from) * input.channel_stride()
                    + (x * input.framed[1] + y) * input.framed[2];
                // SAFETY: the row and its taps lie inside the framed volume, its sums in `sums`.
                unsafe {
                    let mut source = input.data().as_ptr().add(start);
                    let weights = weights.as_ptr().add(from * per_input);
                    let mut sums = sums.as_mut_ptr().add(row * c * block);
                    let mut left = c;
                    while left > 0 {
                        let step = match left {
                            10.. if S::MANY_REGISTERS => self.pixels::<S, 10>(source, weights, sums, count),
                            5.. => self.pixels::<S, 5>(source, weights, sums, count),
                            3.. => self.pixels::<S, 3>(source, weights, sums, count),
                            _ => self.pixels::<S, 1>(source, weights, sums, count),
                        };
                        (source, sums, left) = (source.add(step), sums.add(step * block), left - step);
                    }
                }
            }
        }
        for row in 0..rows {
            let (image, x, y) = (row / (a * b), row / b % a, row % b);
            for offset in 0..block {
                let to = self.job.row(image, first + offset, x, y);
                for z in 0..c {
                    let mut sum = sums[(row * c + z) * block + offset];
                    if self.job.rectified {
                        sum = sum.max(0.0);
                    }
                    // SAFETY: these output channels belong to this task alone.
                    unsafe { *self.job.output.0.add(to + z) = sum };
                }
            }
        }
    }
}

impl DeepTile<'_> {
    /// Adds `count` inputs to the sums of `N` neighbouring voxels; returns N.
    #[inline(always)]
    unsafe fn pixels<S: Simd, const N: usize>(
        &self,
        mut source: *const f32,
        mut weights: *const f32,
        sums: *mut f32,
        count: usize,
    ) -> usize {
        let block = DEEP_VECTORS * S::LANES;
        unsafe {
            let mut acc = [[S::splat(0.0); DEEP_VECTORS]; N];
            for (voxel, acc) in acc.iter_mut().enumerate() {
                for (vector, acc) in acc.iter_mut().enumerate() {
                    *acc = S::load(sums.add(voxel * block + vector * S::LANES));
                }
            }
            for _ in 0..count {
                for &tap in self.taps {
                    let mut w = [S::splat(0.0); DEEP_VECTORS];
                    for (vector, w) in w.iter_mut().enumerate() {
                        *w = S::load(weights.add(vector * S::LANES));
                    }
                    let from = source.add(tap);
                    for (voxel, acc) in acc.iter_mut().enumerate() {
                        let x = S::splat(*from.add(voxel));
                        for (acc, w) in acc.iter_mut().zip(w) {
                            *acc = S::fma(w, x, *acc);
                        }
                    }
                    weights = weights.add(block);
                }
                source = source.add(self.job.input.channel_stride());
            }
            for (voxel, acc) in acc.into_iter().enumerate() {
                for (vector, acc) in acc.into_iter().enumerate() {
                    S::store(sums.add(voxel * block + vector * S::LANES), acc);
                }
            }
        }
        N
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::packed::Direction;
    use crate::kernels::reference;
    use crate::kernels::simd::Isa;
    use proptest::prelude::*;

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
                let packed = Packed::new(isa, &weights, [outputs, inputs], kernel, size, direction);
                let (before, after) = Packed::frame(kernel, direction);
                let planes = Planes::framed(&x, images, from, size, before, after);
                let mut output = vec![f32::NAN; expected.len()];
                convolve(&planes, &packed, Some(&bias), rectified, &mut output);
                prop_assert!(reference::close(&output, &expected), "{} {:?}", isa, packed.form);
            }
        }
    }
}
