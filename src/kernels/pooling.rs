//! Max pooling on the way down, upsampling and concatenation on the way up, and their gradients.
//!
//! Values are `[image, channel, x, y, z]`; pooled axes are multiples of their factor, and the
//! factor along z is 2.

use rayon::prelude::*;

/// Extent after pooling.
pub fn pooled(size: [usize; 3], factor: [usize; 3]) -> [usize; 3] {
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

/// The maximum of every block.
pub fn pool(values: &[f32], size: [usize; 3], factor: [usize; 3]) -> Vec<f32> {
    let [a, b, c] = pooled(size, factor);
    let mut output = vec![f32::NEG_INFINITY; values.len() / volume(factor)];
    output.par_chunks_mut(a * b * c).zip(values.par_chunks(volume(size))).for_each(|(output, values)| {
        for (row, output) in output.chunks_exact_mut(c).enumerate() {
            for start in fine_rows(size, factor, row / b, row % b) {
                let fine = &values[start..start + size[2]];
                for (output, block) in output.iter_mut().zip(fine.chunks_exact(factor[2])) {
                    *output = block.iter().copied().fold(*output, f32::max);
                }
            }
        }
    });
    output
}

/// The gradient of the input: each block's goes to the first voxel that holds its maximum.
pub fn pool_backward(values: &[f32], gradient: &[f32], size: [usize; 3], factor: [usize; 3]) -> Vec<f32> {
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

/// The channels of `skip`, then those of `coarse` with every voxel repeated `factor` times.
pub fn join(
    skip: &[f32],
    coarse: &[f32],
    images: usize,
    [near, far]: [usize; 2],
    size: [usize; 3],
    factor: [usize; 3],
) -> Vec<f32> {
    let [a, b, c] = pooled(size, factor);
    let mut output = vec![0.0; images * (near + far) * volume(size)];
    output.par_chunks_mut(volume(size)).enumerate().for_each(|(index, output)| {
        let (image, channel) = (index / (near + far), index % (near + far));
        if channel < near {
            output.copy_from_slice(&skip[(image * near + channel) * output.len()..][..output.len()]);
            return;
        }
        let coarse = &coarse[(image * far + channel - near) * a * b * c..][..a * b * c];
        for (row, coarse) in coarse.chunks_exact(c).enumerate() {
            for start in fine_rows(size, factor, row / b, row % b) {
                let fine = &mut output[start..start + size[2]];
                for (block, &value) in fine.chunks_exact_mut(factor[2]).zip(coarse) {
                    block.fill(value);
                }
            }
        }
    });
    output
}

/// The gradients of `skip` and `coarse`: a coarse voxel gets the sum over its copies.
pub fn join_backward(
    gradient: &[f32],
    images: usize,
    [near, far]: [usize; 2],
    size: [usize; 3],
    factor: [usize; 3],
) -> (Vec<f32>, Vec<f32>) {
    let [a, b, c] = pooled(size, factor);
    let fine = |image: usize, channel: usize| {
        &gradient[(image * (near + far) + channel) * volume(size)..][..volume(size)]
    };
    let mut skip = vec![0.0; images * near * volume(size)];
    skip.par_chunks_mut(volume(size)).enumerate().for_each(|(index, skip)| {
        skip.copy_from_slice(fine(index / near, index % near));
    });
    let mut coarse = vec![0.0; images * far * a * b * c];
    coarse.par_chunks_mut(a * b * c).enumerate().for_each(|(index, coarse)| {
        let fine = fine(index / far, near + index % far);
        for (row, coarse) in coarse.chunks_exact_mut(c).enumerate() {
            for start in fine_rows(size, factor, row / b, row % b) {
                for (sum, block) in
                    coarse.iter_mut().zip(fine[start..start + size[2]].chunks_exact(factor[2]))
                {
                    *sum += block.iter().sum::<f32>();
                }
            }
        }
    });
    (skip, coarse)
}
