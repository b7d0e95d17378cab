//! The form of tiles: 16 outputs times 16 neighbouring voxels are one register of AMX, to which one instruction adds the products of up
//! to 32 channels.
//!
//! Volumes of pairs of channels are as they are what the instruction wants: a row of a tile is 16 neighbouring voxels of one pair, the
//! next row the same voxels of the next pair, a channel further. As in the wide form the rows of a plane are one run. Two tiles of
//! outputs and two of voxels make four products of four loads, so that the unit need not wait for memory.

use super::Job;
use super::rows::Rows;
use crate::kernels::amx::{Product, SIDE, Unit};
use crate::kernels::simd::{Simd, Work};

impl Job<'_> {
    /// `depth` is the number of channel pairs of a tile.
    pub(super) fn tiles(self, depth: usize) {
        let stride = self.input.channel_stride();
        let blocks = (0..self.packed.inputs).step_by(depth);
        // In the order in which the kernel lies: where each tile of inputs begins, in bytes.
        let places: Vec<usize> =
            blocks.flat_map(|word| self.taps.iter().map(move |&tap| 4 * (word * stride + tap))).collect();
        self.for_all_rows(|rows| self.packed.isa.run(TileRows { job: self, places: &places, depth, rows }));
    }
}

/// Some rows of one plane, all output channels.
struct TileRows<'a> {
    job: Job<'a>,
    places: &'a [usize],
    depth: usize,
    rows: Rows,
}

impl Work for TileRows<'_> {
    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let Job { input, packed, finish, output: to, .. } = self.job;
        let pitch = input.framed[2];
        let tiles = self.rows.length(input).div_ceil(SIDE);
        let line = tiles * SIDE;
        let mut sums = vec![0.0f32; 2 * SIDE * line];
        let start = self.rows.start(input);
        let per_output = packed.inputs * self.job.taps.len();
        let unit = Unit::configured(packed.isa, self.depth);
        for (output, width) in packed.form.tiles(packed.isa, packed.outputs) {
            for tile in (0..tiles).step_by(2) {
                // SAFETY: a run begins inside the framed volume and ends, rounded up to tiles, within the slack behind it; `sums` holds
                // whole tiles.
                unsafe {
                    unit.multiply(Product {
                        weights: packed.weights.as_ptr().add(output * per_output),
                        apart: SIDE * per_output,
                        depth: self.depth,
                        input: input.data().as_ptr().add(start + tile * SIDE),
                        stride: input.channel_stride(),
                        places: self.places,
                        sums: sums.as_mut_ptr().add(tile * SIDE),
                        line,
                        tiles: [width / SIDE, (tiles - tile).min(2)],
                    });
                }
            }
            for row in 0..self.rows.count {
                let values = |offset: usize| {
                    let bias = self.job.bias(output + offset);
                    let sums = &sums[offset * line + row * pitch..][..input.size[2]];
                    sums.iter().map(move |sum| sum + bias)
                };
                let place =
                    |offset: usize| [self.rows.image, output + offset, self.rows.x, self.rows.first + row];
                // SAFETY: this row belongs to this task alone.
                unsafe {
                    if to.is_paired() {
                        for offset in (0..width).step_by(2) {
                            let pairs = values(offset).zip(values(offset + 1)).map(|(low, high)| [low, high]);
                            to.put_pairs(place(offset), pairs, finish.rectified);
                        }
                    } else {
                        for offset in 0..width {
                            to.put(place(offset), values(offset), finish.added, finish.rectified);
                        }
                    }
                }
            }
        }
    }
}
