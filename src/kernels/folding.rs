//! Blocks of voxels become channels: how a network halves what it sees without losing any of it.

use rayon::prelude::*;

/// Each channel volume's voxels ordered by their place in a block of `factor`: `[…, x, y, z]` of extent `size` →
/// `[…, place, x, y, z]` of the extent in blocks.
pub(crate) fn folded(values: &[f32], size: [usize; 3], factor: [usize; 3]) -> Vec<f32> {
    let volume: usize = size.iter().product();
    let mut output = vec![0.0; values.len()];
    output.par_chunks_mut(volume).zip(values.par_chunks(volume)).for_each(|(to, from)| {
        for_each_row(size, factor, |place, coarse, fine| {
            let step = factor[2];
            let length = size[2] / step;
            let row = &from[fine + place % step..];
            let blocks = volume / factor.iter().product::<usize>();
            let to = &mut to[place * blocks + coarse..][..length];
            to.iter_mut().zip(row.iter().step_by(step)).for_each(|(to, &from)| *to = from);
        });
    });
    output
}

/// The inverse of [`folded`]; `size` is the extent in blocks.
pub(crate) fn unfolded(values: &[f32], size: [usize; 3], factor: [usize; 3]) -> Vec<f32> {
    let fine_size: [usize; 3] = std::array::from_fn(|axis| size[axis] * factor[axis]);
    let volume: usize = fine_size.iter().product();
    let mut output = vec![0.0; values.len()];
    output.par_chunks_mut(volume).zip(values.par_chunks(volume)).for_each(|(to, from)| {
        for_each_row(fine_size, factor, |place, coarse, fine| {
            let blocks: usize = size.iter().product();
            let from = &from[place * blocks + coarse..][..size[2]];
            let row = to[fine + place % factor[2]..].iter_mut().step_by(factor[2]);
            row.zip(from).for_each(|(to, &from)| *to = from);
        });
    });
    output
}

/// Calls `visit` for each place in a block and each row of blocks: the place, where the row begins in a volume
/// of blocks, and where its blocks' row begins in the fine volume.
fn for_each_row(size: [usize; 3], factor: [usize; 3], mut visit: impl FnMut(usize, usize, usize)) {
    let [a, b, c] = size;
    let [p, q, r] = factor;
    for place in 0..p * q * r {
        let (u, v) = (place / (q * r), place / r % q);
        for x in 0..a / p {
            for y in 0..b / q {
                visit(place, (x * (b / q) + y) * (c / r), ((x * p + u) * b + y * q + v) * c);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::backend::KernelBackend;
    use crate::kernels::operations::{unwrap, wrap};
    use crate::kernels::{generic, reference};
    use burn::backend::{Autodiff, Flex};
    use burn::tensor::{Tensor, TensorData};

    #[test]
    fn a_plane_is_folded_row_by_row() {
        let values: Vec<f32> = (0..8).map(|value| value as f32).collect();
        let folded = folded(&values, [1, 2, 4], [1, 2, 2]);
        assert_eq!(folded, [0.0, 2.0, 1.0, 3.0, 4.0, 6.0, 5.0, 7.0]);
        assert_eq!(unfolded(&folded, [1, 1, 2], [1, 2, 2]), values);
    }

    #[test]
    fn folding_is_the_generic_one_and_its_gradient_unfolds() {
        for factor in [[1, 2, 2], [1, 4, 1], [2, 2, 3], [1, 1, 1]] {
            let dims = [2, 3, 2, 4, 6];
            let data = TensorData::new(reference::noise(288, 1), dims);
            let x = Tensor::<Flex, 5>::from_data(data.clone(), &Default::default());
            let ours = wrap::<Flex, 5>(Flex::fold(unwrap(x.clone()), factor));
            let other = wrap::<Flex, 5>(generic::fold::<Flex>(unwrap(x.clone()), factor));
            assert_eq!(ours.to_data(), other.to_data());
            let back = wrap::<Flex, 5>(Flex::unfold(unwrap(ours.clone()), factor));
            let other = wrap::<Flex, 5>(generic::unfold::<Flex>(unwrap(ours.clone()), factor));
            assert_eq!((back.to_data(), other.to_data()), (x.to_data(), x.to_data()));
            let x = Tensor::<Autodiff<Flex>, 5>::from_data(data, &Default::default()).require_grad();
            let output = crate::kernels::fold(x.clone(), factor);
            let weights = Tensor::<Autodiff<Flex>, 5>::from_inner(ours);
            let gradients = (output * weights).sum().backward();
            assert_eq!(x.grad(&gradients).unwrap().to_data(), x.to_data());
        }
    }
}
