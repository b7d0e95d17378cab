//! Volumes with a frame of zeros around them, so that a convolution needs no edge cases.

use std::sync::Mutex;

use rayon::prelude::*;

/// Floats behind the last voxel that a register may read: the widest block of any kernel.
pub const SLACK: usize = 256;

/// Images × channels × volumes, each volume framed by zeros.
pub struct Planes {
    /// Images.
    pub images: usize,
    /// Channels of each.
    pub channels: usize,
    /// Extent of a volume without its frame.
    pub size: [usize; 3],
    /// Zeros before each axis.
    pub before: [usize; 3],
    /// Extent of a volume with its frame.
    pub framed: [usize; 3],
    data: Vec<f32>,
}

/// Buffers of earlier volumes: fresh memory costs a page fault every 4 KiB.
static SPARE: Mutex<Vec<Vec<f32>>> = Mutex::new(Vec::new());
/// Spare buffers kept at most.
const SPARES: usize = 8;

fn take(length: usize) -> Vec<f32> {
    let mut spare = SPARE.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    // The smallest buffer that fits wastes least.
    let fitting = (0..spare.len()).filter(|&i| spare[i].len() >= length).min_by_key(|&i| spare[i].len());
    match fitting {
        Some(index) if spare[index].len() <= 4 * length => spare.swap_remove(index),
        _ => vec![0.0; length],
    }
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
        let framed: [usize; 3] = std::array::from_fn(|axis| before[axis] + size[axis] + after[axis]);
        let volume: usize = framed.iter().product();
        let mut data = take(images * channels * volume + SLACK);
        let [_, b, c] = size;
        let plane = framed[1] * framed[2];
        data[..images * channels * volume].par_chunks_mut(plane).enumerate().for_each(|(index, plane)| {
            let (channel, x) = (index / framed[0], index % framed[0]);
            if x < before[0] || x >= before[0] + size[0] {
                plane.fill(0.0);
                return;
            }
            let source = &values[(channel * size[0] + x - before[0]) * b * c..][..b * c];
            for (y, row) in plane.chunks_exact_mut(framed[2]).enumerate() {
                if y < before[1] || y >= before[1] + b {
                    row.fill(0.0);
                } else {
                    row[..before[2]].fill(0.0);
                    row[before[2]..before[2] + c].copy_from_slice(&source[(y - before[1]) * c..][..c]);
                    row[before[2] + c..].fill(0.0);
                }
            }
        });
        data[images * channels * volume..].fill(0.0);
        Planes { images, channels, size, before, framed, data }
    }

    /// All values with frames, and some slack behind them.
    pub fn data(&self) -> &[f32] {
        &self.data
    }

    /// Floats from one channel to the next.
    pub fn channel_stride(&self) -> usize {
        self.framed.iter().product()
    }

    /// Where a kernel's taps lie relative to its first one, kernel axes in order x, y, z.
    pub fn taps(&self, kernel: [usize; 3]) -> Vec<usize> {
        let [_, b, c] = self.framed;
        let mut taps = Vec::with_capacity(kernel.iter().product());
        for u in 0..kernel[0] {
            for v in 0..kernel[1] {
                taps.extend((0..kernel[2]).map(|w| (u * b + v) * c + w));
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
            assert_eq!(planes.taps([2, 1, 2]), [0, 1, 18, 19]);
            // Spoil the buffer before it is used again.
            let mut planes = planes;
            planes.data.fill(9.0);
        }
    }
}
