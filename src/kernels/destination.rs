//! Where the values of an operation go.

use std::marker::PhantomData;
use std::mem::MaybeUninit;

/// Where values `[image, channel, x, y, z]` go, at any strides.
#[derive(Clone, Copy)]
pub struct Destination<'a> {
    data: *mut f32,
    length: usize,
    origin: usize,
    strides: [usize; 5],
    owner: PhantomData<&'a mut f32>,
}

// SAFETY: it borrows its floats for itself alone; the tasks it is copied to write disjoint rows.
unsafe impl Send for Destination<'_> {}
unsafe impl Sync for Destination<'_> {}

impl<'a> Destination<'a> {
    /// All of `values`.
    pub fn dense(values: &'a mut [f32], channels: usize, size: [usize; 3]) -> Self {
        Self::whole(values.as_mut_ptr(), values.len(), channels, size)
    }

    /// All of some memory that holds no values yet; nothing may be added to it.
    pub fn vacant(values: &'a mut [MaybeUninit<f32>], channels: usize, size: [usize; 3]) -> Self {
        Self::whole(values.as_mut_ptr().cast(), values.len(), channels, size)
    }

    fn whole(data: *mut f32, length: usize, channels: usize, [a, b, c]: [usize; 3]) -> Self {
        let volume = a * b * c;
        Self::at(data, length, 0, [channels * volume, volume, b * c, c, 1])
    }

    /// `length` floats at `data`, the first value at `origin`; the caller's borrow becomes this one's.
    pub(super) fn at(data: *mut f32, length: usize, origin: usize, strides: [usize; 5]) -> Self {
        Destination { data, length, origin, strides, owner: PhantomData }
    }

    /// Every `factor`-th voxel only, beginning with `phase`.
    pub fn every(mut self, factor: [usize; 3], phase: [usize; 3]) -> Self {
        for axis in 0..3 {
            self.origin += phase[axis] * self.strides[axis + 2];
            self.strides[axis + 2] *= factor[axis];
        }
        self
    }

    /// Panics unless a volume of this extent fits.
    pub(super) fn check(&self, images: usize, channels: usize, size: [usize; 3]) {
        let extent = [images, channels, size[0], size[1], size[2]];
        let last: usize = (0..5).map(|axis| (extent[axis] - 1) * self.strides[axis]).sum();
        assert!(self.origin + last < self.length, "a result larger than its destination");
    }

    /// Writes a row, or adds it to what is there, and rectifies it.
    ///
    /// # Safety
    /// The row lies inside a checked extent, nobody else has it, and it holds values if `added`.
    #[inline(always)]
    pub(super) unsafe fn put(
        &self,
        [image, channel, x, y]: [usize; 4],
        values: impl Iterator<Item = f32>,
        added: bool,
        rectified: bool,
    ) {
        let [i, c, p, q, step] = self.strides;
        let start = self.origin + image * i + channel * c + x * p + y * q;
        let floor = if rectified { 0.0 } else { f32::NEG_INFINITY };
        unsafe {
            let to = self.data.add(start);
            // Two loops each, so that the common ones become vector code.
            match (added, step) {
                (false, 1) => {
                    values.enumerate().for_each(|(z, value)| *to.add(z) = value.max(floor));
                }
                (true, 1) => values.enumerate().for_each(|(z, value)| {
                    *to.add(z) = (*to.add(z) + value).max(floor);
                }),
                (false, _) => values.enumerate().for_each(|(z, value)| *to.add(z * step) = value.max(floor)),
                (true, _) => values.enumerate().for_each(|(z, value)| {
                    *to.add(z * step) = (*to.add(z * step) + value).max(floor);
                }),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_other_voxel_is_reached_and_added_to() {
        let mut values = vec![1.0f32; 2 * 2 * 4];
        let to = Destination::dense(&mut values, 1, [2, 2, 4]).every([2, 2, 2], [1, 0, 1]);
        to.check(1, 1, [1, 1, 2]);
        // SAFETY: one row, inside what was checked.
        unsafe { to.put([0, 0, 0, 0], [2.0, -4.0].into_iter(), true, true) };
        let mut expected = vec![1.0; 16];
        (expected[9], expected[11]) = (3.0, 0.0);
        assert_eq!(values, expected);
    }

    #[test]
    #[should_panic(expected = "larger than its destination")]
    fn a_result_that_does_not_fit_is_refused() {
        Destination::dense(&mut [0.0; 7], 1, [2, 2, 2]).check(1, 1, [2, 2, 2]);
    }
}
