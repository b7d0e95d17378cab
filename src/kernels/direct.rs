//! Direct convolution: some output channels times some voxels stay in registers while all inputs
//! and taps stream past.
//!
//! Two forms. *Deep* vectors hold output channels; every voxel of the input is spread over one. It
//! is the faster one and serves every layer whose output channels fill vectors. *Wide* vectors hold
//! neighbouring voxels, for the others: in a framed volume the rows of a plane are one run, so
//! vectors never stop at a row's end, and the frame's columns are computed for nothing and thrown
//! away.

use rayon::prelude::*;

use super::packed::{Form, Packed};
use super::planes::{Destination, Planes};
use super::simd::{Simd, Work};

/// Floats of input a task of the wide form looks at: about half of a 1 MiB second-level cache.
const CACHED: usize = 96 * 1024;
/// Floats of weights a deep task streams per pass: fits the second-level cache beside the sums.
const DEEP_WEIGHTS: usize = 32 * 1024;
/// Floats of sums a deep task keeps.
const DEEP_SUMS: usize = 64 * 1024;
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
pub fn convolve(input: &Planes, packed: &Packed, finish: Finish, output: Destination) {
    assert_eq!(input.channels, packed.inputs);
    output.check(input.images, packed.outputs, input.size);
    let taps = input.taps(packed.kernel, packed.shift);
    let job = Job { input, packed, finish, taps: &taps, output };
    match packed.form {
        Form::Wide => job.wide(),
        Form::Deep => job.deep(),
    }
}

/// The convolution as new values.
pub fn convolved(input: &Planes, packed: &Packed, bias: Option<&[f32]>) -> Vec<f32> {
    let length = input.images * packed.outputs * input.size.iter().product::<usize>();
    let mut values = Vec::with_capacity(length);
    let vacant = &mut values.spare_capacity_mut()[..length];
    let finish = Finish { bias, ..Finish::default() };
    convolve(input, packed, finish, Destination::vacant(vacant, packed.outputs, input.size));
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
    output: Destination<'a>,
}

impl Job<'_> {
    fn wide(self) {
        let [a, b, _] = self.input.size;
        let per_row = self.packed.inputs * self.packed.kernel[0] * self.input.framed[2];
        let tasks_wanted = TASKS_PER_THREAD * rayon::current_num_threads();
        let fair = (self.input.images * a * b).div_ceil(tasks_wanted);
        let rows = (CACHED / per_row).min(fair).clamp(1, b);
        let chunks = b.div_ceil(rows);
        (0..self.input.images * a * chunks).into_par_iter().for_each(|task| {
            let (image, x, chunk) = (task / (a * chunks), task / chunks % a, task % chunks);
            let first = chunk * rows;
            let rows = rows.min(b - first);
            self.packed.isa.run(WideRows { job: self, image, x, first, rows });
        });
    }

    fn deep(self) {
        let [a, b, c] = self.input.size;
        let tiles = self.packed.form.tiles(self.packed.isa, self.packed.outputs);
        let rows = self.input.images * a * b;
        let tasks_wanted = TASKS_PER_THREAD * rayon::current_num_threads();
        let fair = rows.div_ceil(tasks_wanted.div_ceil(tiles.len()));
        let per_task = (DEEP_SUMS / (c * tiles[0].1)).min(fair).clamp(1, rows);
        let groups = rows.div_ceil(per_task);
        let inside = Inside::of(self.input, self.packed);
        (0..tiles.len() * groups).into_par_iter().for_each(|task| {
            let (first, width) = tiles[task / groups];
            let start = task % groups * per_task;
            let rows = start..(start + per_task).min(rows);
            self.packed.isa.run(DeepRows { job: self, inside: &inside, first, width, rows });
        });
    }

    fn bias(&self, output: usize) -> f32 {
        self.finish.bias.map_or(0.0, |bias| bias[output])
    }
}

/// Some rows of one plane, all output channels.
struct WideRows<'a> {
    job: Job<'a>,
    image: usize,
    x: usize,
    first: usize,
    rows: usize,
}

impl Work for WideRows<'_> {
    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let Job { input, packed, finish, .. } = self.job;
        let pitch = input.framed[2];
        let run = (self.rows - 1) * pitch + input.size[2];
        let vectors = run.div_ceil(S::LANES);
        let mut sums = vec![0.0f32; 8 * vectors * S::LANES];
        let start = self.image * input.channels * input.channel_stride()
            + (self.x * input.framed[1] + self.first) * pitch;
        let weights_per_output = packed.inputs * self.job.taps.len();
        for (output, width) in packed.form.tiles(packed.isa, packed.outputs) {
            let weights = &packed.weights[output * weights_per_output..];
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
                    (4, false) => self.tile::<S, 4, 2>(tile, output, &mut sums),
                    (2, false) => self.tile::<S, 2, 4>(tile, output, &mut sums),
                    _ => self.tile::<S, 1, 8>(tile, output, &mut sums),
                }
            }
            for offset in 0..width {
                let sums = &sums[offset * vectors * S::LANES..];
                for row in 0..self.rows {
                    let values = &sums[row * pitch..row * pitch + input.size[2]];
                    let to = [self.image, output + offset, self.x, self.first + row];
                    // SAFETY: this row belongs to this task alone.
                    unsafe {
                        self.job.output.put(to, values.iter().copied(), finish.added, finish.rectified)
                    };
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
                for &tap in self.job.taps {
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
                for (index, sum) in acc.into_iter().enumerate() {
                    S::store(to.add(index * S::LANES), sum);
                }
            }
        }
    }
}

/// Which taps of a kernel meet voxels and not only the frame's zeros, for every row and for runs of
/// voxels along a row: large kernels on small planes mostly look at the frame.
struct Inside {
    /// For every row of a volume: the taps' places in the kernel, apart from z.
    rows: Vec<Vec<usize>>,
    before: usize,
    size: usize,
    shift: usize,
    taps: usize,
}

impl Inside {
    fn of(input: &Planes, packed: &Packed) -> Inside {
        let [a, b, size] = input.size;
        let [u, v, taps] = packed.kernel;
        let meets = |at: usize, tap: usize, axis: usize| {
            (input.before[axis]..input.before[axis] + input.size[axis])
                .contains(&(at + tap + packed.shift[axis]))
        };
        let of_row = |row: usize| {
            let meets = |&tap: &usize| meets(row / b, tap / v, 0) && meets(row % b, tap % v, 1);
            (0..u * v).filter(meets).collect()
        };
        let rows = (0..a * b).map(of_row).collect();
        Inside { rows, before: input.before[2], size, shift: packed.shift[2], taps }
    }

    /// The taps along z that voxels `first` to `first + count` of a row have use for.
    fn along(&self, first: usize, count: usize) -> std::ops::Range<usize> {
        let start = self.before.saturating_sub(first + count - 1 + self.shift);
        let end = (self.before + self.size).saturating_sub(first + self.shift);
        start..end.min(self.taps)
    }
}

/// Some rows of some images for one block of output channels.
struct DeepRows<'a> {
    job: Job<'a>,
    inside: &'a Inside,
    /// First output channel.
    first: usize,
    /// Output channels.
    width: usize,
    rows: std::ops::Range<usize>,
}

/// A run of voxels that share their taps.
#[derive(Clone, Copy)]
struct Run<'a> {
    source: *const f32,
    weights: *const f32,
    sums: *mut f32,
    /// Inputs to add.
    count: usize,
    /// Taps in the planes across z.
    rows: &'a [usize],
    /// First voxel.
    z: usize,
}

impl Work for DeepRows<'_> {
    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let Job { input, packed, finish, .. } = self.job;
        let [a, b, c] = input.size;
        let (block, taps) = (self.width, self.job.taps.len());
        let mut sums = vec![0.0f32; self.rows.len() * c * block];
        for voxel in sums.chunks_exact_mut(block) {
            for (offset, sum) in voxel.iter_mut().enumerate() {
                *sum = self.job.bias(self.first + offset);
            }
        }
        let per_input = taps * block;
        let inputs = packed.inputs;
        let weights = &packed.weights[self.first * inputs * taps..][..inputs * per_input];
        let group = (DEEP_WEIGHTS / per_input).clamp(1, inputs);
        for from in (0..inputs).step_by(group) {
            for (index, row) in self.rows.clone().enumerate() {
                let (image, x, y) = (row / (a * b), row / b % a, row % b);
                let start = (image * input.channels + from) * input.channel_stride()
                    + (x * input.framed[1] + y) * input.framed[2];
                // SAFETY: the row and its taps lie inside the framed volume, its sums in `sums`.
                unsafe {
                    let run = Run {
                        source: input.data().as_ptr().add(start),
                        weights: weights.as_ptr().add(from * per_input),
                        sums: sums.as_mut_ptr().add(index * c * block),
                        count: group.min(inputs - from),
                        rows: &self.inside.rows[row % (a * b)],
                        z: 0,
                    };
                    match block / S::LANES {
                        2 => self.row::<S, 2>(run, c),
                        _ => self.row::<S, 1>(run, c),
                    }
                }
            }
        }
        let mut turned = vec![0.0f32; c];
        for (index, row) in self.rows.clone().enumerate() {
            let (image, x, y) = (row / (a * b), row / b % a, row % b);
            let sums = &sums[index * c * block..][..c * block];
            for offset in 0..block {
                for (turned, voxel) in turned.iter_mut().zip(sums.chunks_exact(block)) {
                    *turned = voxel[offset];
                }
                let to = [image, self.first + offset, x, y];
                // SAFETY: these output channels of this row belong to this task alone.
                unsafe {
                    self.job.output.put(to, turned.iter().copied(), finish.added, finish.rectified);
                }
            }
        }
    }
}

impl DeepRows<'_> {
    /// Adds inputs to the sums of a whole row of `c` voxels, `V` vectors of outputs.
    #[inline(always)]
    unsafe fn row<S: Simd, const V: usize>(&self, mut run: Run, c: usize) {
        // Wide kernels gain more from leaving out taps than from long runs.
        let long = self.job.packed.kernel[2] <= 5;
        unsafe {
            while run.z < c {
                let step = match (c - run.z, V) {
                    (20.., 1) if S::MANY_REGISTERS && long => self.pixels::<S, V, 20>(run),
                    (10.., 2) if S::MANY_REGISTERS && long => self.pixels::<S, V, 10>(run),
                    (10.., 1) => self.pixels::<S, V, 10>(run),
                    (5.., _) => self.pixels::<S, V, 5>(run),
                    (3.., _) => self.pixels::<S, V, 3>(run),
                    _ => self.pixels::<S, V, 1>(run),
                };
                run.z += step;
            }
        }
    }

    /// Adds inputs to the sums of `N` neighbouring voxels; returns N.
    #[inline(always)]
    unsafe fn pixels<S: Simd, const V: usize, const N: usize>(&self, run: Run) -> usize {
        let block = V * S::LANES;
        let taps = self.job.taps;
        let along = self.inside.along(run.z, N);
        let depth = self.inside.taps;
        unsafe {
            let sums = run.sums.add(run.z * block);
            let mut acc = [[S::splat(0.0); V]; N];
            for (voxel, acc) in acc.iter_mut().enumerate() {
                for (vector, acc) in acc.iter_mut().enumerate() {
                    *acc = S::load(sums.add(voxel * block + vector * S::LANES));
                }
            }
            let mut source = run.source.add(run.z);
            let mut kernel = run.weights;
            if S::MANY_REGISTERS && (2..=3).contains(&depth) && along == (0..depth) {
                for _ in 0..run.count {
                    for &row in run.rows {
                        let from = source.add(*taps.get_unchecked(row * depth));
                        let weights = kernel.add(row * depth * block);
                        match depth {
                            2 => Self::neighbours::<S, V, N, 2>(from, weights, &mut acc),
                            _ => Self::neighbours::<S, V, N, 3>(from, weights, &mut acc),
                        }
                    }
                    source = source.add(self.job.input.channel_stride());
                    kernel = kernel.add(taps.len() * block);
                }
                Self::keep::<S, V, N>(sums, acc);
                return N;
            }
            for _ in 0..run.count {
                for &row in run.rows {
                    let mut weights = kernel.add((row * depth + along.start) * block);
                    for &tap in taps.get_unchecked(row * depth + along.start..row * depth + along.end) {
                        let mut w = [S::splat(0.0); V];
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
                }
                source = source.add(self.job.input.channel_stride());
                kernel = kernel.add(taps.len() * block);
            }
            Self::keep::<S, V, N>(sums, acc);
        }
        N
    }

    /// Adds all taps of a row of the kernel: each voxel is spread over a vector once and serves
    /// several sums, where one tap after the other would load it for each.
    #[inline(always)]
    unsafe fn neighbours<S: Simd, const V: usize, const N: usize, const TAPS: usize>(
        from: *const f32,
        weights: *const f32,
        acc: &mut [[S::Vector; V]; N],
    ) {
        unsafe {
            let mut w = [[S::splat(0.0); V]; TAPS];
            for (tap, w) in w.iter_mut().enumerate() {
                for (vector, w) in w.iter_mut().enumerate() {
                    *w = S::load(weights.add((tap * V + vector) * S::LANES));
                }
            }
            // The compiler sees that neighbours load the same voxels.
            for (voxel, acc) in acc.iter_mut().enumerate() {
                for (tap, w) in w.iter().enumerate() {
                    let x = S::splat(*from.add(voxel + tap));
                    for (acc, &w) in acc.iter_mut().zip(w) {
                        *acc = S::fma(w, x, *acc);
                    }
                }
            }
        }
    }

    #[inline(always)]
    unsafe fn keep<S: Simd, const V: usize, const N: usize>(sums: *mut f32, acc: [[S::Vector; V]; N]) {
        for (voxel, acc) in acc.into_iter().enumerate() {
            for (vector, acc) in acc.into_iter().enumerate() {
                unsafe { S::store(sums.add((voxel * V + vector) * S::LANES), acc) };
            }
        }
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
                let packed = Packed::new(isa, &weights, [outputs, inputs], kernel, direction);
                let (before, after) = Packed::frame(kernel, direction);
                let planes = Planes::framed(&x, images, from, size, before, after);
                let mut output = vec![f32::NAN; expected.len()];
                let finish = Finish { bias: Some(&bias), added: false, rectified };
                convolve(&planes, &packed, finish, Destination::dense(&mut output, to, size));
                prop_assert!(reference::close(&output, &expected), "{} {:?}", isa, packed.form);
            }
        }
    }
}
