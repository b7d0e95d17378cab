//! The wide form: vectors hold neighbouring voxels.

use super::Job;
use super::rows::Rows;
use crate::kernels::simd::{Simd, Work};

impl Job<'_> {
    pub(super) fn wide(self) {
        self.for_all_rows(|rows| self.packed.isa.run(WideRows { job: self, rows }));
    }
}

/// Some rows of one plane, all output channels.
struct WideRows<'a> {
    job: Job<'a>,
    rows: Rows,
}

impl Work for WideRows<'_> {
    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let Job { input, packed, finish, .. } = self.job;
        let pitch = input.framed[2];
        let vectors = self.rows.length(input).div_ceil(S::LANES);
        let mut sums = vec![0.0f32; 8 * vectors * S::LANES];
        let start = self.rows.start(input);
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
                for row in 0..self.rows.count {
                    let values = &sums[row * pitch..row * pitch + input.size[2]];
                    let to = [self.rows.image, output + offset, self.rows.x, self.rows.first + row];
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
