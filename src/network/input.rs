//! What a network is given.

use ndarray::{Array3, Array4, Axis, Zip};
use serde::{Deserialize, Serialize};

/// What a network was taught with and is to be given, part of its file.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Input {
    /// A whole volume's Hounsfield units.
    Windows(Windows),
    /// Pieces of a volume that was normalised to mean 0 and deviation 1 (docs/original.md §1).
    Normalised {
        /// Its voxels in mm; Keras's files and older ones do not say.
        spacing: Option<f64>,
    },
}

impl Input {
    /// The windows of a network of whole volumes.
    pub fn windows(self) -> Option<Windows> {
        match self {
            Input::Windows(windows) => Some(windows),
            Input::Normalised { .. } => None,
        }
    }

    /// Whether there can be such an input.
    pub(super) fn is_possible(&self) -> bool {
        let possible = |spacing: f64| (0.1..100.0).contains(&spacing);
        match self {
            Input::Windows(Windows { spacing, windows }) => {
                let ordered = |[low, high]: &[f32; 2]| low.is_finite() && high.is_finite() && low < high;
                possible(*spacing) && windows.iter().all(ordered)
            }
            Input::Normalised { spacing } => spacing.is_none_or(possible),
        }
    }
}

/// The grid and the intensities that a network of whole volumes is given.
///
/// Unlike mean and deviation of whatever a crop contains, a window of Hounsfield units means the same
/// in every scan.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Windows {
    /// Voxels in mm.
    pub spacing: f64,
    /// Hounsfield units that become -1 and 1 in each channel; what is beyond is cut off.
    pub windows: [[f32; 2]; Windows::WINDOWS],
}

impl Windows {
    /// Intensity outside of a scan: air, in Hounsfield units.
    pub(crate) const OUTSIDE: f32 = -1000.0;

    /// Channels.
    pub(crate) const WINDOWS: usize = 2;

    /// Voxels that hold a whole trunk in a moment and still part cervical vertebrae, 17 mm from one
    /// to the next; a window that shows lungs, flesh and bones, and one that parts organs from fat.
    pub const DEFAULT: Windows = Windows { spacing: 4.0, windows: [[-1000.0, 1000.0], [-160.0, 320.0]] };

    /// Hounsfield units `[x, y, z]` → `[channel, x, y, z]`.
    pub fn channels(&self, intensities: &Array3<f32>) -> Array4<f32> {
        let (x, y, z) = intensities.dim();
        let mut channels = Array4::zeros((Self::WINDOWS, x, y, z));
        for (mut channel, [low, high]) in channels.axis_iter_mut(Axis(0)).zip(self.windows) {
            Zip::from(&mut channel).and(intensities).par_for_each(|value, &intensity| {
                *value = (intensity.clamp(low, high) - low) / (high - low) * 2.0 - 1.0;
            });
        }
        channels
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::array;

    #[test]
    fn windows_end_at_minus_one_and_one() {
        let channels = Windows::DEFAULT.channels(&array![[[-3000.0, 0.0, 80.0, 3000.0]]]);
        let expected = array![[[[-1.0, 0.0, 0.08, 1.0]]], [[[-1.0, -1.0 / 3.0, 0.0, 1.0]]]];
        assert!(
            channels.iter().zip(&expected).all(|(a, b): (&f32, &f32)| (a - b).abs() < 1e-6),
            "{channels}"
        );
    }
}
