//! Bringing a stored volume to the data set's orientation by swapping and flipping axes.

use anyhow::{Result, bail};
use ndarray::{Array3, Axis, Zip, s};

use super::{Geometry, Volume};

/// Signs of the RAS world axes when walking along L, P and S.
const LPS: [f64; 3] = [-1.0, -1.0, 1.0];

/// Which stored axis becomes each axis of the oriented volume, and which of them are reversed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Orientation {
    /// `axes[i]` is the stored axis that becomes axis i.
    pub axes: [usize; 3],
    /// Whether axis i runs against its stored axis.
    pub flipped: [bool; 3],
}

impl Orientation {
    /// Leaves a volume as it is stored.
    pub const IDENTITY: Orientation = Orientation { axes: [0, 1, 2], flipped: [false; 3] };

    /// The permutation and flips that bring `stored` closest to LPS (x right→left, y
    /// anterior→posterior, z inferior→superior). Oblique volumes go to their nearest axes.
    pub(crate) fn to_lps(stored: &Geometry) -> Result<Orientation> {
        const PERMUTATIONS: [[usize; 3]; 6] =
            [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]];
        let Some(directions) = stored.directions() else {
            bail!(
                "the header's orientation has an axis without a direction; repair the sform or qform, \
                 or pass --no-reorient if the volume is stored right→left, anterior→posterior, \
                 inferior→superior"
            );
        };
        let alignment = |axes: &[usize; 3]| -> f64 {
            axes.iter().enumerate().map(|(world, &axis)| directions[axis][world].abs()).sum()
        };
        // Ties keep the earlier permutation, so an exact 45° turn is stable.
        let mut axes = PERMUTATIONS[0];
        for candidate in PERMUTATIONS {
            if alignment(&candidate) > alignment(&axes) + 1e-9 {
                axes = candidate;
            }
        }
        let flipped = std::array::from_fn(|world| directions[axes[world]][world] * LPS[world] < 0.0);
        Ok(Orientation { axes, flipped })
    }

    /// Degrees by which the stored axis that is turned most differs from the patient's axis it is taken for.
    pub(crate) fn obliquity(&self, stored: &Geometry) -> f64 {
        let Some(directions) = stored.directions() else { return 0.0 };
        let angle = |world: usize| directions[self.axes[world]][world].abs().min(1.0).acos().to_degrees();
        (0..3).map(angle).fold(0.0, f64::max)
    }

    /// The volume in this orientation, its geometry with it, its last axis contiguous.
    pub(crate) fn apply(&self, stored: Volume) -> Volume {
        let geometry = self.geometry(&stored.geometry);
        let mut voxels = stored.voxels.permuted_axes(self.axes);
        for (axis, &flipped) in self.flipped.iter().enumerate() {
            if flipped {
                voxels.invert_axis(Axis(axis));
            }
        }
        Volume { voxels: contiguous(voxels), geometry, warnings: stored.warnings }
    }

    fn geometry(&self, stored: &Geometry) -> Geometry {
        let mut first = [0.0; 3];
        for (axis, &from) in self.axes.iter().enumerate() {
            if self.flipped[axis] {
                first[from] = stored.shape[from] as f64 - 1.0;
            }
        }
        let origin = stored.world(first);
        let affine = std::array::from_fn(|row| {
            let column = |axis: usize| {
                let step = stored.affine[row][self.axes[axis]];
                if self.flipped[axis] { -step } else { step }
            };
            [column(0), column(1), column(2), origin[row]]
        });
        Geometry {
            shape: self.axes.map(|axis| stored.shape[axis]),
            spacing: self.axes.map(|axis| stored.spacing[axis]),
            affine,
        }
    }

    /// Millimetres from the first stored voxel along the stored axes → along the oriented axes.
    pub fn from_stored(&self, mm: [f64; 3], stored: &Geometry) -> [f64; 3] {
        let extent = stored.extent();
        std::array::from_fn(|axis| {
            let from = self.axes[axis];
            if self.flipped[axis] { extent[from] - mm[from] } else { mm[from] }
        })
    }

    /// The inverse of [`Orientation::from_stored`].
    pub fn to_stored(&self, mm: [f64; 3], stored: &Geometry) -> [f64; 3] {
        let extent = stored.extent();
        let mut result = [0.0; 3];
        for (axis, &from) in self.axes.iter().enumerate() {
            result[from] = if self.flipped[axis] { extent[from] - mm[axis] } else { mm[axis] };
        }
        result
    }
}

/// Side of the squares in which voxels are rearranged: a row of one is a line of the cache, and lines of a whole
/// square stay there until all of their voxels are taken.
const SQUARE: usize = 16;

/// The array with its last axis contiguous; unchanged where it is so already.
fn contiguous(voxels: Array3<f32>) -> Array3<f32> {
    if voxels.is_standard_layout() {
        return voxels;
    }
    let stride = |axis: usize| voxels.strides()[axis].unsigned_abs();
    // The planes hold the contiguous axes of both arrays.
    let across = if stride(0) < stride(1) { Axis(1) } else { Axis(0) };
    let mut ordered = Array3::zeros(voxels.dim());
    Zip::from(ordered.axis_iter_mut(across)).and(voxels.axis_iter(across)).par_for_each(|mut to, from| {
        let (rows, columns) = to.dim();
        for row in (0..rows).step_by(SQUARE) {
            for column in (0..columns).step_by(SQUARE) {
                let square = s![row..(row + SQUARE).min(rows), column..(column + SQUARE).min(columns)];
                to.slice_mut(square).assign(&from.slice(square));
            }
        }
    });
    ordered
}

#[cfg(test)]
mod tests {
    use super::*;

    fn volume(affine: [[f64; 4]; 3], spacing: [f64; 3]) -> Volume {
        let voxels = Array3::from_shape_fn((2, 3, 4), |(x, y, z)| (x * 100 + y * 10 + z) as f32);
        Volume { voxels, geometry: Geometry { shape: [2, 3, 4], spacing, affine }, warnings: vec![] }
    }

    #[test]
    fn lps_stays_as_it_is() {
        let lps =
            volume([[-1.0, 0.0, 0.0, 0.0], [0.0, -2.0, 0.0, 0.0], [0.0, 0.0, 3.0, 0.0]], [1.0, 2.0, 3.0]);
        assert_eq!(Orientation::to_lps(&lps.geometry).unwrap(), Orientation::IDENTITY);
    }

    #[test]
    fn a_swapped_and_flipped_volume_keeps_every_voxel_at_its_place_in_the_world() {
        // Stored axes: superior→inferior, left→right, anterior→posterior, slightly oblique.
        let stored =
            volume([[0.1, 2.0, 0.0, 5.0], [0.0, 0.1, -3.0, 6.0], [-1.0, 0.0, 0.0, 7.0]], [1.0, 2.0, 3.0]);
        let orientation = Orientation::to_lps(&stored.geometry).unwrap();
        assert_eq!(orientation, Orientation { axes: [1, 2, 0], flipped: [true, false, true] });
        let oriented = orientation.apply(stored.clone());
        assert_eq!(oriented.geometry.spacing, [2.0, 3.0, 1.0]);
        assert_eq!(oriented.voxels.shape(), [3, 4, 2]);
        for ((i, j, k), &value) in stored.voxels.indexed_iter() {
            let mm = [i as f64, j as f64 * 2.0, k as f64 * 3.0];
            let there = orientation.from_stored(mm, &stored.geometry);
            let index = oriented.geometry.index(there);
            assert_eq!(oriented.voxels[index.map(|part| part.round() as usize)], value);
            assert_eq!(orientation.to_stored(there, &stored.geometry), mm);
            let (before, after) =
                (stored.geometry.world([i as f64, j as f64, k as f64]), oriented.geometry.world(index));
            for row in 0..3 {
                assert!((before[row] - after[row]).abs() < 1e-9);
            }
        }
    }

    #[test]
    fn an_array_in_any_order_of_memory_becomes_contiguous_with_the_same_voxels() {
        let voxels = Array3::from_shape_fn((19, 17, 35), |(x, y, z)| (x * 10_000 + y * 100 + z) as f32);
        for axes in [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]] {
            for flips in 0..8 {
                let mut turned = voxels.clone().permuted_axes(axes);
                (0..3).filter(|axis| flips >> axis & 1 == 1).for_each(|axis| turned.invert_axis(Axis(axis)));
                let ordered = contiguous(turned.clone());
                assert!(ordered.is_standard_layout() && ordered == turned, "{axes:?} {flips}");
            }
        }
    }

    #[test]
    fn a_turned_volume_says_by_how_much() {
        let (sine, cosine) = 20f64.to_radians().sin_cos();
        let turned =
            volume([[-cosine, 0.0, sine, 0.0], [0.0, -1.0, 0.0, 0.0], [sine, 0.0, cosine, 0.0]], [1.0; 3]);
        let orientation = Orientation::to_lps(&turned.geometry).unwrap();
        assert_eq!(orientation, Orientation::IDENTITY);
        assert!((orientation.obliquity(&turned.geometry) - 20.0).abs() < 1e-9);
    }

    #[test]
    fn an_axis_without_direction_is_refused_with_the_remedy() {
        let stored = volume([[0.0; 4]; 3], [1.0; 3]);
        let error = Orientation::to_lps(&stored.geometry).unwrap_err().to_string();
        assert!(error.contains("--no-reorient"), "{error}");
    }
}
