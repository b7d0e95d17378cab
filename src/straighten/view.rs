//! Flat views of a straightened spine: projections as a radiologist would turn it in the hand.

use ndarray::{Array3, Axis, s};
use serde::{Deserialize, Serialize};

use super::block::{Across, Block};

/// What a pixel of a view shows of the columns behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Their mean.
    Mean,
    /// Their brightest.
    Brightest,
}

/// How Hounsfield units become grey values: `(hu − centre) / width`, cut off at `limits`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Window {
    /// Hounsfield units that become 0.
    pub centre: f32,
    /// Hounsfield units from 0 to 1.
    pub width: f32,
    /// The darkest and the brightest grey value.
    pub limits: [f32; 2],
}

/// Columns that a view projects, in mm from the course: to the left in a view from the side, to the
/// back in one from the front.
pub type Range = [f64; 2];

/// One projection.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct View {
    /// What is done to the intensities first.
    pub window: Window,
    /// Which columns are projected.
    pub range: Range,
    /// And how.
    pub kind: Kind,
}

/// The views of a network.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Views {
    /// Millimetres a pixel, across the course and along it.
    pub pitch: f64,
    /// Pixels from side to side and from front to back.
    pub across: [usize; 2],
    /// Millimetres of the foremost pixel to the back of the course: negative, as it lies in front.
    pub front: f64,
    /// Views from the front.
    pub coronal: Vec<View>,
    /// Views from the side.
    pub sagittal: Vec<View>,
}

/// What a view shows where there is nothing.
pub const NOTHING: f32 = -1.0;

impl Views {
    /// The columns that the views need.
    pub fn columns(&self) -> Across {
        Across::new(self.across, self.pitch, self.front)
    }

    /// The views of a block from the front, `[view, left, along]`, and from the side, `[view, back, along]`.
    pub fn of(&self, block: &Block) -> [Array3<f32>; 2] {
        let columns = self.columns();
        [
            project(block, &self.coronal, Axis(1), &columns.back),
            project(block, &self.sagittal, Axis(0), &columns.left),
        ]
    }
}

fn project(block: &Block, views: &[View], behind: Axis, columns: &[f64]) -> Array3<f32> {
    let (width, depth, length) = block.values.dim();
    let rows = if behind == Axis(0) { depth } else { width };
    let mut pictures = Array3::zeros((views.len(), rows, length));
    for (mut picture, view) in pictures.outer_iter_mut().zip(views) {
        let Window { centre, width, limits: [dark, bright] } = view.window;
        let chosen: Vec<usize> =
            (0..columns.len()).filter(|&i| (view.range[0]..view.range[1]).contains(&columns[i])).collect();
        let share = 1.0 / chosen.len().max(1) as f32;
        for (row, mut pixels) in picture.outer_iter_mut().enumerate() {
            pixels.fill(if view.kind == Kind::Mean { 0.0 } else { dark });
            for &column in &chosen {
                let values = match behind {
                    Axis(0) => block.values.slice(s![column, row, ..]),
                    _ => block.values.slice(s![row, column, ..]),
                };
                for (pixel, &value) in pixels.iter_mut().zip(values) {
                    let grey = ((value - centre) / width).clamp(dark, bright);
                    match view.kind {
                        Kind::Mean => *pixel += grey * share,
                        Kind::Brightest => *pixel = pixel.max(grey),
                    }
                }
            }
        }
    }
    pictures
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rod_is_bright_where_it_stands_and_the_mean_knows_how_thick_it_is() {
        let window = Window { centre: 0.0, width: 1000.0, limits: [-1.0, 1.0] };
        let view = |kind, range| View { window, range, kind };
        let views = Views {
            pitch: 1.0,
            across: [4, 5],
            front: -2.0,
            coronal: vec![view(Kind::Brightest, [-2.5, 3.0]), view(Kind::Mean, [-2.5, 3.0])],
            sagittal: vec![view(Kind::Brightest, [-0.6, 2.0])],
        };
        let mut values = Array3::from_elem((4, 5, 2), -1000.0);
        values[[3, 1, 0]] = 500.0;
        let block = Block { values, seen: vec![1.0; 2] };
        let [coronal, sagittal] = views.of(&block);
        assert_eq!((coronal.dim(), sagittal.dim()), ((2, 4, 2), (1, 5, 2)));
        assert_eq!((coronal[[0, 3, 0]], coronal[[0, 2, 0]], coronal[[0, 3, 1]]), (0.5, -1.0, -1.0));
        assert!((coronal[[1, 3, 0]] + 0.7).abs() < 1e-6);
        // Column 3 lies 1.5 mm to the left, inside the range; row 1 stands 1 mm in front.
        assert_eq!((sagittal[[0, 1, 0]], sagittal[[0, 2, 0]]), (0.5, -1.0));
    }
}
