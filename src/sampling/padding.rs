//! Padding at the far end of each axis.

use ndarray::{Array, ArrayView, Dimension, Slice};

/// The array grown at the far end of every axis to at least `least` entries, filled with `value`.
pub fn padded<T: Clone, D: Dimension>(array: ArrayView<T, D>, least: &[usize], value: T) -> Array<T, D> {
    let mut shape = array.raw_dim();
    for (axis, &least) in least.iter().enumerate() {
        shape[axis] = shape[axis].max(least);
    }
    let mut grown = Array::from_elem(shape, value);
    grown.slice_each_axis_mut(|axis| Slice::from(0..array.len_of(axis.axis))).assign(&array);
    grown
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::array;

    #[test]
    fn short_axes_grow_and_long_ones_stay() {
        let grown = padded(array![[1, 2, 3]].view(), &[2, 2], 9);
        assert_eq!(grown, array![[1, 2, 3], [9, 9, 9]]);
    }
}
