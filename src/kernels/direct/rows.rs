//! Rows of a plane that are computed together: in a framed volume they are one run of voxels.

use rayon::prelude::*;

use super::{Job, TASKS_PER_THREAD};
use crate::kernels::planes::Planes;

/// Floats of input a task looks at: about half of a 1 MiB second-level cache.
const CACHED: usize = 96 * 1024;

/// Some rows of one plane.
#[derive(Clone, Copy)]
pub(super) struct Rows {
    /// Image.
    pub image: usize,
    /// Plane.
    pub x: usize,
    /// First row.
    pub first: usize,
    /// Number of rows.
    pub count: usize,
}

impl Rows {
    /// Where in the input their run begins, at its first channel.
    pub fn start(&self, input: &Planes) -> usize {
        self.image * input.channels * input.channel_stride()
            + (self.x * input.framed[1] + self.first) * input.framed[2]
    }

    /// Voxels of the run, with what lies between the rows.
    pub fn length(&self, input: &Planes) -> usize {
        (self.count - 1) * input.framed[2] + input.size[2]
    }
}

impl Job<'_> {
    /// Does the work of all rows, so many at once that their inputs stay in the cache, and every thread finds work.
    pub(super) fn for_all_rows(&self, work: impl Fn(Rows) + Sync) {
        let [a, b, _] = self.input.size;
        let per_row = self.packed.inputs * self.packed.kernel[0] * self.input.framed[2];
        let tasks_wanted = TASKS_PER_THREAD * rayon::current_num_threads();
        let fair = (self.input.images * a * b).div_ceil(tasks_wanted);
        let rows = (CACHED / per_row).min(fair).clamp(1, b);
        let chunks = b.div_ceil(rows);
        (0..self.input.images * a * chunks).into_par_iter().for_each(|task| {
            let (image, x, first) = (task / (a * chunks), task / chunks % a, task % chunks * rows);
            work(Rows { image, x, first, count: rows.min(b - first) });
        });
    }
}
