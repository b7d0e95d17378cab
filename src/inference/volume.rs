//! A whole volume through one network at once: what it says of every voxel.

use anyhow::Result;
use ndarray::{Array3, Array4, Array5, ArrayView1, Axis, s};

use crate::anatomy::Level;
use crate::learning::softmax;
use crate::network::{Input, Predictor, output};
use crate::scan::{Grid, Volume, reduce};

/// Voxels computed together at most: a trunk of a metre.
const MOST: usize = 6 << 20;
/// Voxels of context around what is kept of a part where a volume is too large for one.
const CONTEXT: usize = 32;

/// The answer of a volume network on its grid.
pub struct Field {
    /// `[channel, x, y, z]`, the channels of [`output`].
    pub values: Array4<f32>,
    /// Where the voxels lie.
    pub grid: Grid,
}

/// Applies a volume network; `volume` holds Hounsfield units in LPS order.
pub fn answer(volume: &Volume, network: &dyn Predictor, input: &Input) -> Result<Field> {
    let (intensities, grid) = reduce(volume, input.spacing);
    let channels = input.channels(&intensities);
    let [nx, ny, nz] = grid.shape;
    let granularity = network.architecture().granularity();
    let up = |size: usize, axis: usize| size.div_ceil(granularity[axis]) * granularity[axis];
    // Parts along the body: it is the long axis of every scan that is too large.
    let kept = (MOST / (up(nx, 0) * up(ny, 1)).max(1)).saturating_sub(2 * CONTEXT).max(CONTEXT);
    let mut values = Array4::zeros((output::CHANNELS, nx, ny, nz));
    let outside = input.channels(&ndarray::arr3(&[[[Input::OUTSIDE]]]));
    for start in (0..nz).step_by(kept) {
        let end = (start + kept).min(nz);
        let (low, high) = (start.saturating_sub(CONTEXT), (end + CONTEXT).min(nz));
        let size = [up(nx, 0), up(ny, 1), up(high - low, 2)];
        let mut part = Array5::zeros((1, Input::WINDOWS, size[0], size[1], size[2]));
        for channel in 0..Input::WINDOWS {
            let mut part = part.slice_mut(s![0, channel, .., .., ..]);
            part.fill(outside[[channel, 0, 0, 0]]);
            part.slice_mut(s![..nx, ..ny, ..high - low]).assign(&channels.slice(s![
                channel,
                ..,
                ..,
                low..high
            ]));
        }
        let answer = network.predict(part)?;
        let answer = answer.index_axis(Axis(0), 0);
        let inside = answer.slice(s![.., ..nx, ..ny, start - low..end - low]);
        values.slice_mut(s![.., .., .., start..end]).assign(&inside);
    }
    network.rest();
    Ok(Field { values, grid })
}

impl Field {
    /// The likeliest level value of every body's voxel, 0 elsewhere, on a grid of `shape` voxels of
    /// `spacing` mm with the same centre.
    pub fn levels(&self, shape: [usize; 3], spacing: f64) -> Array3<u8> {
        self.spread(shape, spacing, |voxel| {
            let likeliest = output::LEVELS.max_by(|&a, &b| voxel[a].total_cmp(&voxel[b]));
            likeliest.map_or(0, |channel| (channel - output::LEVELS.start + 1) as u8)
        })
    }

    /// 1 in every body, 0 elsewhere, on a grid as in [`Field::levels`].
    pub fn mask(&self, shape: [usize; 3], spacing: f64) -> Array3<u8> {
        self.spread(shape, spacing, |_| 1)
    }

    /// A value for every body's voxel on a grid with the same centre: the nearest voxel's.
    fn spread(&self, shape: [usize; 3], spacing: f64, value: impl Fn(ArrayView1<f32>) -> u8) -> Array3<u8> {
        let (_, nx, ny, nz) = self.values.dim();
        let own = [nx, ny, nz];
        let nearest: [Vec<usize>; 3] = std::array::from_fn(|axis| {
            let middle = |size: usize| (size as f64 - 1.0) / 2.0;
            let place = |index: usize| {
                let from_middle = (index as f64 - middle(shape[axis])) * spacing / self.grid.spacing;
                (from_middle + middle(own[axis])).round().clamp(0.0, own[axis] as f64 - 1.0) as usize
            };
            (0..shape[axis]).map(place).collect()
        });
        let coarse = Array3::from_shape_fn(own, |(x, y, z)| {
            let voxel = self.values.slice(s![.., x, y, z]);
            if voxel[output::BODY] > 0.0 { value(voxel) } else { 0 }
        });
        Array3::from_shape_fn(shape, |(x, y, z)| coarse[[nearest[0][x], nearest[1][y], nearest[2][z]]])
    }

    /// How likely each level value is in the voxel nearest to a place in mm, given a body there.
    pub fn chances(&self, mm: [f64; 3]) -> [f32; Level::MAX_VALUE as usize] {
        let index = self.grid.index(mm);
        let [x, y, z]: [usize; 3] = std::array::from_fn(|axis| {
            index[axis].round().clamp(0.0, self.grid.shape[axis] as f64 - 1.0) as usize
        });
        let mut chances = std::array::from_fn(|level| self.values[[output::LEVELS.start + level, x, y, z]]);
        softmax(&mut chances);
        chances
    }
}
