//! The deep form: vectors hold output channels.

use std::ops::Range;

use rayon::prelude::*;

use super::{Job, TASKS_PER_THREAD};
use crate::kernels::simd::{Simd, Work};

/// Floats of weights a deep task streams per pass: fits the second-level cache beside the sums.
const DEEP_WEIGHTS: usize = 32 * 1024;
/// Floats of sums a deep task keeps.
const DEEP_SUMS: usize = 64 * 1024;

impl Job<'_> {
    pub(super) fn deep(self) {
        let [a, b, c] = self.input.size;
        let tiles = self.packed.form.tiles(self.packed.isa, self.packed.outputs);
        let rows = self.input.images * a * b;
        let tasks_wanted = TASKS_PER_THREAD * rayon::current_num_threads();
        let fair = rows.div_ceil(tasks_wanted.div_ceil(tiles.len()));
        let per_task = (DEEP_SUMS / (c * tiles[0].1)).min(fair).clamp(1, rows);
        let groups = rows.div_ceil(per_task);
        (0..tiles.len() * groups).into_par_iter().for_each(|task| {
            let (first, width) = tiles[task / groups];
            let start = task % groups * per_task;
            let rows = start..(start + per_task).min(rows);
            self.packed.isa.run(DeepRows { job: self, first, width, rows });
        });
    }
}

/// Which taps of a kernel meet voxels and not only the frame's zeros, for every row and for runs of
/// voxels along a row: large kernels on small planes mostly look at the frame.
///
/// These are the taps along `axis` that voxels `first` to `first + count` have use for.
fn inside(job: &Job, axis: usize, first: usize, count: usize) -> Range<usize> {
    let Job { input, packed, .. } = job;
    let start = input.before[axis].saturating_sub(first + count - 1 + packed.shift[axis]);
    let end = (input.before[axis] + input.size[axis]).saturating_sub(first + packed.shift[axis]);
    let end = end.min(packed.kernel[axis]);
    // A frame wider than the kernel has voxels that no tap meets.
    start.min(end)..end
}

/// Some rows of some images for one block of output channels.
struct DeepRows<'a> {
    job: Job<'a>,
    /// First output channel.
    first: usize,
    /// Output channels.
    width: usize,
    rows: Range<usize>,
}

/// A run of voxels that share their taps.
#[derive(Clone, Copy)]
struct Run {
    source: *const f32,
    weights: *const f32,
    sums: *mut f32,
    /// Inputs to add.
    count: usize,
    /// First tap and the one after the last along x and along y.
    across: [[usize; 2]; 2],
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
        let bias: Vec<f32> = (0..block).map(|offset| self.job.bias(self.first + offset)).collect();
        sums.chunks_exact_mut(block).for_each(|voxel| voxel.copy_from_slice(&bias));
        let per_input = taps * block;
        let inputs = packed.inputs;
        let weights = &packed.weights[self.first * inputs * taps..][..inputs * per_input];
        let group = (DEEP_WEIGHTS / per_input).clamp(1, inputs);
        for from in (0..inputs).step_by(group) {
            for (index, row) in self.rows.clone().enumerate() {
                let (image, x, y) = (row / (a * b), row / b % a, row % b);
                let across = [inside(&self.job, 0, x, 1), inside(&self.job, 1, y, 1)];
                let start = (image * input.channels + from) * input.channel_stride()
                    + (x * input.framed[1] + y) * input.framed[2];
                // SAFETY: the row and its taps lie inside the framed volume, its sums in `sums`.
                unsafe {
                    let run = Run {
                        source: input.data().as_ptr().add(start),
                        weights: weights.as_ptr().add(from * per_input),
                        sums: sums.as_mut_ptr().add(index * c * block),
                        count: group.min(inputs - from),
                        across: across.map(|taps| [taps.start, taps.end]),
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
            let sums = &mut sums[index * c * block..][..c * block];
            if self.job.output.is_paired() {
                // A block holds whole vectors of outputs, so whole pairs, which take the first half of each voxel's place.
                for voxel in sums.chunks_exact_mut(block) {
                    for vector in 0..block / S::LANES {
                        // SAFETY: vectors of a voxel, and room for half as many words.
                        unsafe {
                            let values = S::load(voxel.as_ptr().add(vector * S::LANES));
                            let values =
                                if finish.rectified { S::max(values, S::splat(0.0)) } else { values };
                            S::store_pairs(voxel.as_mut_ptr().add(vector * S::LANES / 2), values);
                        }
                    }
                }
                for word in 0..block / 2 {
                    let to = [image, self.first + 2 * word, x, y];
                    // SAFETY: as below.
                    unsafe {
                        self.job.output.put_words(to, sums.chunks_exact(block).map(|voxel| voxel[word]))
                    };
                }
                continue;
            }
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
        let along = inside(&self.job, 2, run.z, N);
        let [_, height, depth] = self.job.packed.kernel;
        let [[u0, u1], [v0, v1]] = run.across;
        let rows = || (u0..u1).flat_map(move |u| (v0..v1).map(move |v| u * height + v));
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
            if (2..=3).contains(&depth) && along == (0..depth) {
                for _ in 0..run.count {
                    for u in u0..u1 {
                        for v in v0..v1 {
                            let first = (u * height + v) * depth;
                            let from = source.add(*taps.get_unchecked(first));
                            let weights = kernel.add(first * block);
                            match (depth, S::MANY_REGISTERS) {
                                (2, true) => Self::neighbours::<S, V, N, 2>(from, weights, &mut acc),
                                (_, true) => Self::neighbours::<S, V, N, 3>(from, weights, &mut acc),
                                (2, false) => Self::row_of_taps::<S, V, N, 2>(from, weights, &mut acc),
                                (_, false) => Self::row_of_taps::<S, V, N, 3>(from, weights, &mut acc),
                            }
                        }
                    }
                    source = source.add(self.job.input.channel_stride());
                    kernel = kernel.add(taps.len() * block);
                }
                Self::keep::<S, V, N>(sums, acc);
                return N;
            }
            for _ in 0..run.count {
                for row in rows() {
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

    /// The same one tap after the other, where there are no registers for the weights of all.
    #[inline(always)]
    unsafe fn row_of_taps<S: Simd, const V: usize, const N: usize, const TAPS: usize>(
        from: *const f32,
        weights: *const f32,
        acc: &mut [[S::Vector; V]; N],
    ) {
        unsafe {
            for tap in 0..TAPS {
                let mut w = [S::splat(0.0); V];
                for (vector, w) in w.iter_mut().enumerate() {
                    *w = S::load(weights.add((tap * V + vector) * S::LANES));
                }
                for (voxel, acc) in acc.iter_mut().enumerate() {
                    let x = S::splat(*from.add(voxel + tap));
                    for (acc, w) in acc.iter_mut().zip(w) {
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
