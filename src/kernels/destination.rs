//! Where the values of an operation go.

use std::marker::PhantomData;
use std::mem::MaybeUninit;

use super::pairs::{half, pair};

/// Where values `[image, channel, x, y, z]` go, at any strides. There is one of it for its memory at a time.
pub struct Destination<'a> {
    data: *mut f32,
    length: usize,
    origin: usize,
    strides: [usize; 5],
    /// Images, channels, voxels along x, y, z that it has room for, no two at one place.
    extent: [usize; 5],
    /// Whether it holds values, which can be added to.
    filled: bool,
    /// Whether two neighbouring channels share a float as a pair of bfloat16, see [`super::pairs`]; strides are those of pairs.
    paired: bool,
    owner: PhantomData<&'a mut f32>,
}

// SAFETY: it borrows its floats for itself alone; the tasks that share it write disjoint rows.
unsafe impl Send for Destination<'_> {}
unsafe impl Sync for Destination<'_> {}

impl<'a> Destination<'a> {
    /// All of `values`.
    pub fn dense(values: &'a mut [f32], channels: usize, size: [usize; 3]) -> Self {
        let mut whole = Self::whole(values.as_mut_ptr(), values.len(), channels, size);
        whole.filled = true;
        whole
    }

    /// All of some memory that holds no values yet; nothing can be added to it.
    pub(crate) fn vacant(values: &'a mut [MaybeUninit<f32>], channels: usize, size: [usize; 3]) -> Self {
        Self::whole(values.as_mut_ptr().cast(), values.len(), channels, size)
    }

    fn whole(data: *mut f32, length: usize, channels: usize, [a, b, c]: [usize; 3]) -> Self {
        let volume = a * b * c;
        let images = length / (channels * volume).max(1);
        let strides = [channels * volume, volume, b * c, c, 1];
        Self::at(data, length, 0, strides, [images, channels, a, b, c])
    }

    /// `length` floats at `data`, the first value at `origin`; the caller's borrow becomes this one's. No two places
    /// of `extent` are one.
    pub(super) fn at(
        data: *mut f32,
        length: usize,
        origin: usize,
        strides: [usize; 5],
        extent: [usize; 5],
    ) -> Self {
        Destination {
            data,
            length,
            origin,
            strides,
            extent,
            filled: false,
            paired: false,
            owner: PhantomData,
        }
    }

    /// Every `factor`-th voxel only, beginning with `phase`.
    pub fn every(&mut self, factor: [usize; 3], phase: [usize; 3]) -> Destination<'_> {
        let Destination { data, length, mut origin, mut strides, mut extent, filled, paired, .. } = *self;
        for axis in 0..3 {
            origin += phase[axis] * strides[axis + 2];
            strides[axis + 2] *= factor[axis];
            extent[axis + 2] = extent[axis + 2].saturating_sub(phase[axis]).div_ceil(factor[axis]);
        }
        Destination { data, length, origin, strides, extent, filled, paired, owner: PhantomData }
    }

    /// The same memory for pairs of channels: twice as many channels, of 16 bits. Nothing can be added to them.
    pub(super) fn of_pairs(mut self) -> Self {
        self.paired = true;
        self.extent[1] *= 2;
        self
    }

    /// Whether neighbouring channels are pairs.
    pub(super) fn is_paired(&self) -> bool {
        self.paired
    }

    /// Says that every place has been written.
    ///
    /// # Safety
    /// Every place has been written.
    pub(super) unsafe fn assume_filled(&mut self) {
        self.filled = true;
    }

    /// Whether it holds values.
    pub(super) fn is_filled(&self) -> bool {
        self.filled
    }

    /// Panics unless a volume of this extent fits, each value at a place of its own.
    pub(super) fn check(&self, images: usize, channels: usize, size: [usize; 3]) {
        let extent = [images, channels, size[0], size[1], size[2]];
        assert!((0..5).all(|axis| extent[axis] <= self.extent[axis]), "a result larger than its destination");
        let steps = |axis: usize| {
            let last = extent[axis].saturating_sub(1);
            if self.paired && axis == 1 { last / 2 } else { last }
        };
        let last: usize = (0..5).map(|axis| steps(axis) * self.strides[axis]).sum();
        let empty = extent.contains(&0);
        assert!(empty || self.origin + last < self.length, "a result larger than its destination");
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
        if self.paired {
            // SAFETY: as below; each half of a float belongs to one channel.
            unsafe { self.put_half([image, channel, x, y], values, rectified) };
            return;
        }
        let (start, step) = self.row([image, channel, x, y]);
        let floor = floor(rectified);
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

/// What no value is less than.
fn floor(rectified: bool) -> f32 {
    if rectified { 0.0 } else { f32::NEG_INFINITY }
}

impl Destination<'_> {
    /// Where the float of a row's first voxel lies, and how far it is to the next one's; `channel` counts pairs where it holds them.
    #[inline(always)]
    fn row(&self, [image, channel, x, y]: [usize; 4]) -> (usize, usize) {
        let [i, c, p, q, step] = self.strides;
        (self.origin + image * i + channel * c + x * p + y * q, step)
    }

    /// Writes a row of one channel of pairs.
    ///
    /// # Safety
    /// As of [`Destination::put`], and it holds pairs.
    #[inline(always)]
    unsafe fn put_half(
        &self,
        [image, channel, x, y]: [usize; 4],
        values: impl Iterator<Item = f32>,
        rectified: bool,
    ) {
        let (start, step) = self.row([image, channel / 2, x, y]);
        let floor = floor(rectified);
        unsafe {
            // The lower half of a float comes first in memory.
            let to = self.data.add(start).cast::<u16>().add(channel % 2);
            values.enumerate().for_each(|(z, value)| *to.add(2 * z * step) = half(value.max(floor)));
        }
    }

    /// Writes a row of pairs of two channels, the first of them even.
    ///
    /// # Safety
    /// As of [`Destination::put`] of both channels, and it holds pairs.
    #[inline(always)]
    pub(super) unsafe fn put_words(
        &self,
        [image, channel, x, y]: [usize; 4],
        words: impl Iterator<Item = f32>,
    ) {
        let (start, step) = self.row([image, channel / 2, x, y]);
        unsafe {
            let to = self.data.add(start);
            words.enumerate().for_each(|(z, word)| *to.add(z * step) = word);
        }
    }

    /// Writes a row of two channels of pairs, the first of them even.
    ///
    /// # Safety
    /// As of [`Destination::put`] of both channels, and it holds pairs.
    #[inline(always)]
    pub(super) unsafe fn put_pairs(
        &self,
        place: [usize; 4],
        values: impl Iterator<Item = [f32; 2]>,
        rectified: bool,
    ) {
        let floor = floor(rectified);
        // SAFETY: as above.
        unsafe { self.put_words(place, values.map(|[low, high]| pair(low.max(floor), high.max(floor)))) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_other_voxel_is_reached_and_added_to() {
        let mut values = vec![1.0f32; 2 * 2 * 4];
        let mut whole = Destination::dense(&mut values, 1, [2, 2, 4]);
        let to = whole.every([2, 2, 2], [1, 0, 1]);
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

    #[test]
    #[should_panic(expected = "larger than its destination")]
    fn channels_never_share_a_place() {
        // Eight channels of one voxel would all fit these floats, one upon the other.
        Destination::dense(&mut [0.0; 8], 1, [1, 1, 1]).check(1, 8, [1, 1, 1]);
    }

    #[test]
    fn an_empty_result_fits_anything() {
        Destination::dense(&mut [], 1, [0, 2, 2]).check(0, 1, [0, 2, 2]);
    }
}
