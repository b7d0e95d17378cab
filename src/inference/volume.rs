//! A whole volume through one network at once: what it says of every voxel.

use anyhow::Result;
use ndarray::{Array3, Array4, Array5, ArrayView1, Axis, s};

use crate::anatomy::Level;
use crate::network::output::softmax;
use crate::network::{Predictor, Windows, output};
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
pub fn answer(volume: &Volume, network: &dyn Predictor, input: &Windows) -> Result<Field> {
    answer_in_parts(volume, network, input, MOST)
}

/// The same, computing about `most` voxels together.
fn answer_in_parts(volume: &Volume, network: &dyn Predictor, input: &Windows, most: usize) -> Result<Field> {
    let (intensities, grid) = reduce(volume, input.spacing);
    let channels = input.channels(&intensities);
    let [nx, ny, nz] = grid.shape;
    let granularity = network.architecture().granularity();
    let up = |size: usize, axis: usize| size.div_ceil(granularity[axis]) * granularity[axis];
    // Parts along the body: it is the long axis of every scan that is too large.
    let kept = (most / (up(nx, 0) * up(ny, 1)).max(1)).saturating_sub(2 * CONTEXT).max(CONTEXT);
    let mut values = Array4::zeros((output::CHANNELS, nx, ny, nz));
    let outside = input.channels(&ndarray::arr3(&[[[Windows::OUTSIDE]]]));
    for start in (0..nz).step_by(kept) {
        let end = (start + kept).min(nz);
        let (low, high) = (start.saturating_sub(CONTEXT), (end + CONTEXT).min(nz));
        let size = [up(nx, 0), up(ny, 1), up(high - low, 2)];
        let mut part = Array5::zeros((1, Windows::WINDOWS, size[0], size[1], size[2]));
        for channel in 0..Windows::WINDOWS {
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
    /// The same field where it lies so many mm further along each axis.
    pub fn moved(&self, mm: [f64; 3]) -> Field {
        let origin = std::array::from_fn(|axis| self.grid.origin[axis] + mm[axis]);
        Field { values: self.values.clone(), grid: Grid { origin, ..self.grid } }
    }

    /// The likeliest level value of every body's voxel of another grid, 0 elsewhere.
    pub fn levels(&self, grid: &Grid) -> Array3<u8> {
        self.spread(grid, |voxel| {
            let likeliest = output::LEVELS.max_by(|&a, &b| voxel[a].total_cmp(&voxel[b]));
            likeliest.map_or(0, |channel| (channel - output::LEVELS.start + 1) as u8)
        })
    }

    /// 1 in every body, 0 elsewhere, on another grid.
    pub fn mask(&self, grid: &Grid) -> Array3<u8> {
        self.spread(grid, |_| 1)
    }

    /// A value for every body's voxel of another grid: the nearest voxel's, 0 where there is none.
    fn spread(&self, grid: &Grid, value: impl Fn(ArrayView1<f32>) -> u8) -> Array3<u8> {
        let (_, nx, ny, nz) = self.values.dim();
        let own = [nx, ny, nz];
        let nearest: [Vec<Option<usize>>; 3] = std::array::from_fn(|axis| {
            let place = |index: usize| {
                let mm = grid.origin[axis] + index as f64 * grid.spacing;
                let place = ((mm - self.grid.origin[axis]) / self.grid.spacing).round();
                // Half a voxel beyond its middle still belongs to the last one.
                (-1.0..=own[axis] as f64)
                    .contains(&place)
                    .then(|| place.clamp(0.0, own[axis] as f64 - 1.0) as usize)
            };
            (0..grid.shape[axis]).map(place).collect()
        });
        let coarse = Array3::from_shape_fn(own, |(x, y, z)| {
            let voxel = self.values.slice(s![.., x, y, z]);
            if voxel[output::BODY] > 0.0 { value(voxel) } else { 0 }
        });
        Array3::from_shape_fn(grid.shape, |(x, y, z)| match (nearest[0][x], nearest[1][y], nearest[2][z]) {
            (Some(x), Some(y), Some(z)) => coarse[[x, y, z]],
            _ => 0,
        })
    }

    /// How likely each level value is in a voxel, given that it is a body's.
    pub(crate) fn chances(&self, [x, y, z]: [usize; 3]) -> [f32; Level::MAX_VALUE as usize] {
        let mut chances = std::array::from_fn(|level| self.values[[output::LEVELS.start + level, x, y, z]]);
        softmax(&mut chances);
        chances
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::{Architecture, Kind};
    use crate::scan::Geometry;

    /// Calls a voxel a body when it is brighter than water, of the level that its brightness says, so
    /// that any slip in cutting or putting together shows.
    struct Bright;

    impl Predictor for Bright {
        fn architecture(&self) -> Architecture {
            Architecture { kind: Kind::Volume, filters: 1 }
        }

        fn predict(&self, input: Array5<f32>) -> Result<Array5<f32>> {
            let (_, _, x, y, z) = input.dim();
            let mut output = Array5::zeros((1, output::CHANNELS, x, y, z));
            for ((x, y, z), &value) in input.slice(s![0, 0, .., .., ..]).indexed_iter() {
                output[[0, output::BODY, x, y, z]] = value;
                let level = ((value.max(0.0) * 26.0) as usize).min(25);
                output[[0, output::LEVELS.start + level, x, y, z]] = 9.0;
            }
            Ok(output)
        }
    }

    fn volume() -> Volume {
        let (shape, spacing) = ([20, 18, 300], [2.0, 2.0, 1.0]);
        let affine = [[-2.0, 0.0, 0.0, 0.0], [0.0, -2.0, 0.0, 0.0], [0.0, 0.0, 1.0, 0.0]];
        let voxels =
            Array3::from_shape_fn(shape, |(x, y, z)| if (x + y) % 7 < 3 { z as f32 * 3.0 } else { -500.0 });
        Volume { voxels, geometry: Geometry { shape, spacing, affine }, warnings: vec![] }
    }

    #[test]
    fn a_volume_computed_in_parts_is_the_whole_one() {
        let input = Windows { spacing: 2.0, ..Windows::DEFAULT };
        let whole = answer_in_parts(&volume(), &Bright, &input, usize::MAX / 4).unwrap();
        let parts = answer_in_parts(&volume(), &Bright, &input, 1).unwrap();
        assert_eq!(whole.grid.shape, [20, 18, 150]);
        assert_eq!(whole.values, parts.values);
    }

    #[test]
    fn levels_and_mask_lie_where_the_bodies_are_on_any_grid() {
        let field = answer(&volume(), &Bright, &Windows { spacing: 2.0, ..Windows::DEFAULT }).unwrap();
        let grid = Grid::over(&volume(), 1.0);
        assert_eq!(grid.shape, [40, 36, 300]);
        let (levels, mask) = (field.levels(&grid), field.mask(&grid));
        let far = field.moved([500.0, 0.0, 0.0]).mask(&grid);
        assert!(far.iter().all(|&inside| inside == 0));
        // The way back from a second look at a part: the same mask, so many voxels further.
        let near = field.moved([6.0, 4.0, 10.0]).mask(&grid);
        assert!(mask.indexed_iter().all(|((x, y, z), &inside)| {
            near.get((x + 6, y + 4, z + 10)).is_none_or(|&moved| moved == inside)
        }));
        assert!(levels.iter().zip(&mask).all(|(&level, &inside)| (level > 0) == (inside > 0)));
        // 450 HU are 0.45 of the window; the voxel at 150 mm of x + y = 0.
        assert!((12..=13).contains(&levels[[0, 0, 150]]), "{}", levels[[0, 0, 150]]);
        assert_eq!(levels[[9, 0, 150]], 0);
        let chances = field.chances([0, 0, 75]);
        assert!(chances[11] + chances[12] > 0.9, "{chances:?}");
    }
}
