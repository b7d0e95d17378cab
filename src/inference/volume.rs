//! A whole volume through one network at once: what it says of every voxel.

use anyhow::{Context, Result};
use ndarray::{Array4, Array5, Axis, s};

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

/// What the weights of a volume network say they are given.
pub fn input_of(weights: &crate::network::Weights) -> Result<Input> {
    weights.input.context("the model does not say which voxels and intensities it is given")
}
