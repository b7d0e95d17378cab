//! Volumes with a frame of zeros around them, so that a convolution needs no edge cases.

use std::mem::MaybeUninit;
use std::sync::Mutex;

use rayon::prelude::*;

use super::destination::Destination;
use super::isa::Isa;
use super::pairs::words;

/// Floats behind the last voxel that a register may read: the widest block of any kernel.
pub(crate) const SLACK: usize = 256;

const ZERO: MaybeUninit<f32> = MaybeUninit::new(0.0);

/// Images × channels × volumes, each volume framed by zeros.
pub struct Planes {
    /// Images.
    pub images: usize,
    /// Channels of each, or pairs of channels.
    pub channels: usize,
    /// Whether they are pairs of bfloat16 (`kernels/pairs.rs`).
    pub paired: bool,
    /// Extent of a volume without its frame.
    pub size: [usize; 3],
    /// Zeros before each axis.
    pub before: [usize; 3],
    /// Extent of a volume with its frame.
    pub framed: [usize; 3],
    data: Vec<MaybeUninit<f32>>,
}

/// Buffers of earlier volumes: fresh memory costs a page fault every 4 KiB.
static SPARE: Mutex<Vec<Vec<MaybeUninit<f32>>>> = Mutex::new(Vec::new());
/// Spare buffers kept at most.
const SPARES: usize = 8;

fn take(length: usize) -> Vec<MaybeUninit<f32>> {
    let mut spare = SPARE.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    // The smallest buffer that fits wastes least.
    let fitting = (0..spare.len()).filter(|&i| spare[i].len() >= length).min_by_key(|&i| spare[i].len());
    match fitting {
        Some(index) if spare[index].len() <= 4 * length => spare.swap_remove(index),
        // Not zeroed: whoever writes the values first touches the pages, on all cores.
        _ => {
            let mut fresh = Vec::with_capacity(length);
            // SAFETY: these elements may be uninitialised.
            unsafe { fresh.set_len(length) };
            fresh
        }
    }
}

/// Frees the buffers of earlier volumes.
pub fn rest() {
    SPARE.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).clear();
}

impl Drop for Planes {
    fn drop(&mut self) {
        let mut spare = SPARE.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        if spare.len() >= SPARES
            && let Some(smallest) = (0..spare.len()).min_by_key(|&i| spare[i].len())
        {
            spare.swap_remove(smallest);
        }
        spare.push(std::mem::take(&mut self.data));
    }
}

impl Planes {
    /// Copies `values` (`[image, channel, x, y, z]`) into a frame of `before` and `after` zeros.
    pub fn framed(
        values: &[f32],
        images: usize,
        channels: usize,
        size: [usize; 3],
        before: [usize; 3],
        after: [usize; 3],
    ) -> Planes {
        assert_eq!(values.len(), images * channels * size.iter().product::<usize>());
        // SAFETY: every row of every channel is written here.
        let mut planes = unsafe { Planes::vacant(images, channels, size, before, after) };
        let to = planes.inside();
        to.check(images, channels, size);
        let [_, b, c] = size;
        values.par_chunks(b * c).enumerate().for_each(|(index, plane)| {
            let (channel, x) = (index / size[0], index % size[0]);
            for (y, row) in plane.chunks_exact(c).enumerate() {
                let place = [channel / channels, channel % channels, x, y];
                // SAFETY: this row belongs to this task alone.
                unsafe { to.put(place, row.iter().copied(), false, false) };
            }
        });
        planes
    }

    /// The same as what convolutions on `isa` read: pairs of channels, where it multiplies bfloat16.
    pub(crate) fn framed_for(
        isa: Isa,
        values: &[f32],
        images: usize,
        channels: usize,
        size: [usize; 3],
        (before, after): ([usize; 3], [usize; 3]),
    ) -> Planes {
        if !isa.is_bf16() {
            return Planes::framed(values, images, channels, size, before, after);
        }
        let [a, b, c] = size;
        assert_eq!(values.len(), images * channels * a * b * c);
        let words = words(channels);
        // SAFETY: both halves of every row of every pair are written here.
        let mut planes = unsafe { Planes::vacant(images, words, size, before, after) }.into_pairs();
        let to = planes.inside();
        to.check(images, 2 * words, size);
        (0..images * words * a).into_par_iter().for_each(|task| {
            let (image, word, x) = (task / (words * a), task / a % words, task % a);
            let plane = |channel: usize| &values[((image * channels + channel) * a + x) * b * c..][..b * c];
            let low = plane(2 * word);
            let high = (2 * word + 1 < channels).then(|| plane(2 * word + 1));
            for y in 0..b {
                let place = [image, 2 * word, x, y];
                let low = &low[y * c..][..c];
                // SAFETY: this row belongs to this task alone.
                unsafe {
                    match high {
                        Some(high) => {
                            let both = low.iter().zip(&high[y * c..][..c]).map(|(&low, &high)| [low, high]);
                            to.put_pairs(place, both, false);
                        }
                        None => to.put_pairs(place, low.iter().map(|&low| [low, 0.0]), false),
                    }
                }
            }
        });
        planes
    }

    /// Volumes whose frame is zero and whose inside is yet to be written.
    ///
    /// # Safety
    /// All of [`Planes::inside`] is written before anything is read.
    pub(crate) unsafe fn vacant(
        images: usize,
        channels: usize,
        size: [usize; 3],
        before: [usize; 3],
        after: [usize; 3],
    ) -> Planes {
        let framed: [usize; 3] = std::array::from_fn(|axis| before[axis] + size[axis] + after[axis]);
        let volume: usize = framed.iter().product();
        let mut data = take(images * channels * volume + SLACK);
        let [_, b, c] = framed;
        let inside = |at: usize, axis: usize| (before[axis]..before[axis] + size[axis]).contains(&at);
        data[..images * channels * volume].par_chunks_mut(b * c).enumerate().for_each(|(index, plane)| {
            if !inside(index % framed[0], 0) {
                plane.fill(ZERO);
                return;
            }
            for (y, row) in plane.chunks_exact_mut(c).enumerate() {
                if inside(y, 1) {
                    row[..before[2]].fill(ZERO);
                    row[before[2] + size[2]..].fill(ZERO);
                } else {
                    row.fill(ZERO);
                }
            }
        });
        data[images * channels * volume..].fill(ZERO);
        Planes { images, channels, paired: false, size, before, framed, data }
    }

    /// The same volumes, their channels taken for pairs of bfloat16.
    pub(crate) fn into_pairs(mut self) -> Planes {
        self.paired = true;
        self
    }

    /// The inside of all volumes, to be written.
    pub fn inside(&mut self) -> Destination<'_> {
        let [a, b, c] = self.framed;
        let [x, y, z] = self.before;
        let paired = self.paired;
        let inside = Destination::at(
            self.data.as_mut_ptr().cast(),
            self.data.len(),
            (x * b + y) * c + z,
            [self.channels * a * b * c, a * b * c, b * c, c, 1],
            [self.images, self.channels, self.size[0], self.size[1], self.size[2]],
        );
        if paired { inside.of_pairs() } else { inside }
    }

    /// All memory, frames and slack included.
    pub(super) fn whole(&mut self) -> &mut [MaybeUninit<f32>] {
        &mut self.data
    }

    /// A row of the inside.
    pub fn row(&self, image: usize, channel: usize, x: usize, y: usize) -> &[f32] {
        let [a, b, c] = self.framed;
        let [p, q, r] = self.before;
        let start = (((image * self.channels + channel) * a + p + x) * b + q + y) * c + r;
        &self.data()[start..start + self.size[2]]
    }

    /// All values with frames, and some slack behind them.
    pub fn data(&self) -> &[f32] {
        // SAFETY: the frame and the slack are written on creation, and so is the inside or, in
        // vacant volumes, by whoever asked for those.
        unsafe { std::slice::from_raw_parts(self.data.as_ptr().cast(), self.data.len()) }
    }

    /// Floats from one channel to the next.
    pub(crate) fn channel_stride(&self) -> usize {
        self.framed.iter().product()
    }

    /// Where the taps of a kernel whose first one is moved by `shift` lie relative to the frame's
    /// corner, kernel axes in order x, y, z.
    pub fn taps(&self, kernel: [usize; 3], shift: [usize; 3]) -> Vec<usize> {
        let [_, b, c] = self.framed;
        let reaches = |axis: usize| shift[axis] + kernel[axis] + self.size[axis] <= self.framed[axis] + 1;
        assert!((0..3).all(reaches), "a kernel reaches out of the frame");
        let mut taps = Vec::with_capacity(kernel.iter().product());
        for u in shift[0]..shift[0] + kernel[0] {
            for v in shift[1]..shift[1] + kernel[1] {
                taps.extend((shift[2]..shift[2] + kernel[2]).map(|w| (u * b + v) * c + w));
            }
        }
        taps
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_frame_is_zero_even_in_a_used_buffer() {
        let values: Vec<f32> = (1..=24).map(|value| value as f32).collect();
        for _ in 0..2 {
            let planes = Planes::framed(&values, 1, 2, [2, 2, 3], [1, 0, 2], [0, 1, 1]);
            assert_eq!(planes.framed, [3, 3, 6]);
            let sum: f32 = planes.data().iter().sum();
            assert_eq!(sum, values.iter().sum::<f32>());
            // Channel 1, voxel (1, 1, 2) is the last value.
            assert_eq!(planes.data()[planes.channel_stride() + (2 * 3 + 1) * 6 + 4], 24.0);
            assert_eq!(planes.taps([2, 1, 2], [0; 3]), [0, 1, 18, 19]);
            // Spoil the buffer before it is used again.
            let mut planes = planes;
            planes.data.fill(MaybeUninit::new(9.0));
        }
    }
}
