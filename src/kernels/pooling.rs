//! Max pooling and its gradient.
//!
//! Values are `[image, channel, x, y, z]`; pooled axes are multiples of their factor, and the
//! factor along z is 2.

use rayon::prelude::*;

use super::pairs::{larger, least};
use super::planes::Planes;

/// Extent after pooling.
pub(crate) fn pooled(size: [usize; 3], factor: [usize; 3]) -> [usize; 3] {
    std::array::from_fn(|axis| size[axis] / factor[axis])
}

fn volume(size: [usize; 3]) -> usize {
    size.iter().product()
}

/// Calls `visit(row of the fine volume)` for the fine rows that meet in coarse row `(x, y)`.
fn fine_rows(size: [usize; 3], factor: [usize; 3], x: usize, y: usize) -> impl Iterator<Item = usize> {
    (0..factor[0]).flat_map(move |i| {
        (0..factor[1]).map(move |j| ((x * factor[0] + i) * size[1] + y * factor[1] + j) * size[2])
    })
}

/// The maximum of every block, framed by zeros `before` and `after`.
pub fn pool(input: &Planes, factor: [usize; 3], (before, after): ([usize; 3], [usize; 3])) -> Planes {
    let size = pooled(input.size, factor);
    // Pairs are handled as the floats whose place they take.
    // SAFETY: every row of every channel is written below.
    let mut output = unsafe { Planes::vacant(input.images, input.channels, size, before, after) };
    let to = output.inside();
    to.check(input.images, input.channels, size);
    let [a, b, c] = size;
    (0..input.images * input.channels).into_par_iter().for_each(|index| {
        let (image, channel) = (index / input.channels, index % input.channels);
        let mut row = vec![0.0; c];
        for (x, y) in (0..a).flat_map(|x| (0..b).map(move |y| (x, y))) {
            let fine = (0..factor[0]).flat_map(|i| (0..factor[1]).map(move |j| (i, j)));
            let fine = fine.map(|(i, j)| input.row(image, channel, x * factor[0] + i, y * factor[1] + j));
            if input.paired {
                largest_of(fine, factor[2], &mut row, least(), larger);
            } else {
                largest(fine, factor[2], &mut row);
            }
            // SAFETY: these rows belong to this channel's task alone.
            unsafe { to.put([image, channel, x, y], row.iter().copied(), false, false) };
        }
    });
    if input.paired { output.into_pairs() } else { output }
}

/// The maximum of every block of plain values.
pub(crate) fn pool_values(values: &[f32], size: [usize; 3], factor: [usize; 3]) -> Vec<f32> {
    let [a, b, c] = pooled(size, factor);
    let mut output = vec![0.0; values.len() / volume(factor)];
    output.par_chunks_mut(a * b * c).zip(values.par_chunks(volume(size))).for_each(|(output, values)| {
        for (row, output) in output.chunks_exact_mut(c).enumerate() {
            let fine = fine_rows(size, factor, row / b, row % b);
            largest(fine.map(|start| &values[start..start + size[2]]), factor[2], output);
        }
    });
    output
}

/// A coarse row: the maxima of blocks of `factor` voxels over the fine rows that meet in it.
fn largest<'a>(fine: impl Iterator<Item = &'a [f32]>, factor: usize, coarse: &mut [f32]) {
    largest_of(fine, factor, coarse, f32::NEG_INFINITY, f32::max);
}

/// The same by another order.
fn largest_of<'a>(
    fine: impl Iterator<Item = &'a [f32]>,
    factor: usize,
    coarse: &mut [f32],
    least: f32,
    larger: impl Fn(f32, f32) -> f32,
) {
    coarse.fill(least);
    for fine in fine {
        for (coarse, block) in coarse.iter_mut().zip(fine.chunks_exact(factor)) {
            *coarse = block.iter().copied().fold(*coarse, &larger);
        }
    }
}

/// The gradient of the input: each block's goes to the first voxel that holds its maximum.
pub(crate) fn pool_backward(
    values: &[f32],
    gradient: &[f32],
    size: [usize; 3],
    factor: [usize; 3],
) -> Vec<f32> {
    let [a, b, c] = pooled(size, factor);
    let mut output = vec![0.0; values.len()];
    let channels = values.par_chunks(volume(size)).zip(gradient.par_chunks(a * b * c));
    output.par_chunks_mut(volume(size)).zip(channels).for_each(|(output, (values, gradient))| {
        for (row, gradient) in gradient.chunks_exact(c).enumerate() {
            for (z, &gradient) in gradient.iter().enumerate() {
                let mut best = (f32::NEG_INFINITY, 0);
                for start in fine_rows(size, factor, row / b, row % b) {
                    let block = start + z * factor[2]..start + (z + 1) * factor[2];
                    for (at, &value) in block.clone().zip(&values[block]) {
                        if value > best.0 {
                            best = (value, at);
                        }
                    }
                }
                output[best.1] = gradient;
            }
        }
    });
    output
}
