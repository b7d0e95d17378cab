//! The slow, obvious convolution the fast ones are tested against.

use crate::random::Legacy;

/// Numbers in [−1, 1).
pub fn noise(count: usize, seed: u32) -> Vec<f32> {
    let mut random = Legacy::seeded(seed);
    (0..count).map(|_| (2.0 * random.uniform() - 1.0) as f32).collect()
}

/// Whether two results agree up to the rounding of sums in another order.
pub fn close(a: &[f32], b: &[f32]) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| (a - b).abs() <= 1e-4 * (1.0 + b.abs()))
}

/// Calls `visit(output voxel, input voxel, weight)` for every product of a convolution.
fn products(
    images: usize,
    size: [usize; 3],
    [outputs, inputs]: [usize; 2],
    kernel: [usize; 3],
    mut visit: impl FnMut(usize, usize, usize),
) {
    let [a, b, c] = size;
    let [ka, kb, kc] = kernel;
    let source = |at: usize, tap: usize, k: usize, size: usize| {
        (at + tap).checked_sub((k - 1) / 2).filter(|&index| index < size)
    };
    for image in 0..images {
        for (output, input) in (0..outputs).flat_map(|o| (0..inputs).map(move |i| (o, i))) {
            for (u, v, w) in (0..ka).flat_map(|u| (0..kb).flat_map(move |v| (0..kc).map(move |w| (u, v, w))))
            {
                let weight = (((output * inputs + input) * ka + u) * kb + v) * kc + w;
                for (x, y, z) in (0..a).flat_map(|x| (0..b).flat_map(move |y| (0..c).map(move |z| (x, y, z))))
                {
                    if let (Some(p), Some(q), Some(r)) =
                        (source(x, u, ka, a), source(y, v, kb, b), source(z, w, kc, c))
                    {
                        let to = (((image * outputs + output) * a + x) * b + y) * c + z;
                        let from = (((image * inputs + input) * a + p) * b + q) * c + r;
                        visit(to, from, weight);
                    }
                }
            }
        }
    }
}

/// The convolution of `x`.
pub fn convolve(
    x: &[f32],
    images: usize,
    size: [usize; 3],
    weights: &[f32],
    channels: [usize; 2],
    kernel: [usize; 3],
) -> Vec<f32> {
    let mut output = vec![0.0; images * channels[0] * size.iter().product::<usize>()];
    products(images, size, channels, kernel, |to, from, weight| output[to] += x[from] * weights[weight]);
    output
}

/// The gradient of the input, given the one of the output.
pub(crate) fn input_gradient(
    gradient: &[f32],
    images: usize,
    size: [usize; 3],
    weights: &[f32],
    channels: [usize; 2],
    kernel: [usize; 3],
) -> Vec<f32> {
    let mut result = vec![0.0; images * channels[1] * size.iter().product::<usize>()];
    products(images, size, channels, kernel, |to, from, weight| {
        result[from] += gradient[to] * weights[weight]
    });
    result
}

/// The gradient of the weights, given the one of the output.
pub fn kernel_gradient(
    x: &[f32],
    gradient: &[f32],
    images: usize,
    size: [usize; 3],
    channels: [usize; 2],
    kernel: [usize; 3],
) -> Vec<f32> {
    let mut result = vec![0.0; channels[0] * channels[1] * kernel.iter().product::<usize>()];
    products(images, size, channels, kernel, |to, from, weight| result[weight] += x[from] * gradient[to]);
    result
}

/// The values as bfloat16 holds them.
pub(crate) fn rounded(values: &[f32]) -> Vec<f32> {
    values.iter().map(|&value| half::bf16::from_f32(value).to_f32()).collect()
}
