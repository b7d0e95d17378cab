//! A CT on disk becomes a [`Volume`]: read, brought to one orientation, resampled, normalised.

pub mod dicom;
mod error;
mod geometry;
pub(crate) mod hounsfield;
mod intensity;
mod listing;
pub mod metaimage;
pub mod nifti;
pub mod nrrd;
mod orientation;
mod plausible;
mod reduce;
mod resample;
mod upright;
mod voxels;

use std::io::Read;
use std::ops::Range;
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use ndarray::Array3;

use crate::artifact;

use dicom::Source;

pub use dicom::Series;
pub use error::Error;
pub(crate) use geometry::cross;
pub use geometry::{Geometry, distance};
pub use intensity::{Scale, normalise, replace_non_finite};
pub use listing::{Listing, find, listed, name};
pub use orientation::Orientation;
pub use reduce::{Grid, reduce, reduce_part};
pub use resample::{resample, resampled_shape};

/// Degrees between a stored axis and the patient's, and by which two axes miss the right angle, from which on a
/// volume is resampled along the patient's axes.
const OBLIQUE: f64 = 15.0;
const SHEARED: f64 = 1.0;

/// Voxels with the grid they lie on.
#[derive(Clone, Debug)]
pub struct Volume {
    /// Intensities, indexed `[axis 0, axis 1, axis 2]` of the grid; in a [`Scan`] the last axis is contiguous.
    pub voxels: Array3<f32>,
    /// Where the voxels lie in the patient.
    pub geometry: Geometry,
    /// What the reader of the file had to put right, a sentence each.
    pub warnings: Vec<String>,
}

impl Volume {
    /// A part of the volume, its geometry with it.
    pub fn cut(&self, part: &[Range<usize>; 3]) -> Volume {
        let [x, y, z] = part.clone();
        let voxels = self.voxels.slice(ndarray::s![x, y, z]).as_standard_layout().into_owned();
        let origin = self.geometry.world(std::array::from_fn(|axis| part[axis].start as f64));
        let mut geometry = Geometry { shape: voxels.dim().into(), ..self.geometry.clone() };
        for (row, origin) in geometry.affine.iter_mut().zip(origin) {
            row[3] = origin;
        }
        Volume { voxels, geometry, warnings: Vec::new() }
    }
}

/// A scan in the orientation of the data set, with the way back to the file's own frame.
pub struct Scan {
    /// Voxels in LPS order: x right→left, y anterior→posterior, z inferior→superior.
    pub volume: Volume,
    /// How that lies in the file.
    pub frame: Frame,
    /// The slices that it was made of, if it is a DICOM series.
    pub source: Option<Source>,
}

/// The file's own frame and the way between it and LPS order.
#[derive(Clone, Debug)]
pub struct Frame {
    /// How the stored axes map to the ones in LPS order.
    pub orientation: Orientation,
    /// The grid as it is stored in the file.
    pub stored: Geometry,
    /// The grid along the patient's axes that a volume was resampled to which stood askew.
    upright: Option<Geometry>,
}

impl Frame {
    /// The frame of a volume whose axes are taken for the patient's.
    pub fn new(orientation: Orientation, stored: Geometry) -> Frame {
        Frame { orientation, stored, upright: None }
    }

    /// Millimetres from the first stored voxel along the stored axes → the same in LPS order.
    pub fn from_stored(&self, mm: [f64; 3]) -> [f64; 3] {
        let across = |upright: &Geometry| {
            let index = upright.unworld(self.stored.world(self.stored.index(mm)))?;
            Some(std::array::from_fn(|axis| index[axis] * upright.spacing[axis]))
        };
        let found = self.upright.as_ref().and_then(across);
        found.unwrap_or_else(|| self.orientation.from_stored(mm, &self.stored))
    }

    /// Millimetres in LPS order → millimetres from the first stored voxel along the stored axes.
    pub fn to_stored(&self, mm: [f64; 3]) -> [f64; 3] {
        let across = |upright: &Geometry| {
            let index = self.stored.unworld(upright.world(upright.index(mm)))?;
            Some(std::array::from_fn(|axis| index[axis] * self.stored.spacing[axis]))
        };
        let found = self.upright.as_ref().and_then(across);
        found.unwrap_or_else(|| self.orientation.to_stored(mm, &self.stored))
    }
}

impl Frame {
    /// Millimetres in LPS order from the volume's first voxel → the patient's millimetres to the left, back and head
    /// (DICOM's LPS).
    pub fn lps(&self, mm: [f64; 3]) -> [f64; 3] {
        let [x, y, z] = self.stored.world(self.stored.index(self.to_stored(mm)));
        [-x, -y, z]
    }
}

impl Scan {
    /// Reads a file (NIfTI, NRRD, MetaImage) or a folder of DICOM slices and brings it to LPS. Errors name the file, what is wrong with it and
    /// what to do.
    pub fn read(path: &Path) -> Result<Scan, Error> {
        Scan::read_as(path, true, None)
    }

    /// The same; `reorient` says whether axes are brought to LPS or taken for it as they are, `wanted` is the
    /// SeriesInstanceUID to take of a folder of DICOM slices.
    pub fn read_as(path: &Path, reorient: bool, wanted: Option<&str>) -> Result<Scan, Error> {
        Scan::read_any(path, reorient, wanted).map_err(|error| Error::of(path, error))
    }

    fn read_any(path: &Path, reorient: bool, wanted: Option<&str>) -> Result<Scan> {
        if path.is_file() && dicom::is_dicom(path) {
            bail!("{} is a single DICOM file; name the folder with all slices of its series", path.display());
        }
        let (volume, source) = if path.is_dir() {
            let (volume, source) = dicom::read_source(path, wanted)?;
            (volume, Some(source))
        } else {
            let volume = match Format::of(path) {
                Format::Nifti => nifti::read(path)?,
                Format::Nrrd => nrrd::read(path)?,
                Format::MetaImage => metaimage::read(path)?,
            };
            (volume, None)
        };
        Scan::placed(volume, source, reorient).with_context(|| format!("{} cannot be used", path.display()))
    }

    /// A volume of Hounsfield units that lies anywhere in the patient, brought to LPS order. Errors say what is wrong with it.
    pub fn of(mut volume: Volume) -> Result<Scan> {
        let shape: [usize; 3] = volume.voxels.dim().into();
        ensure!(
            shape == volume.geometry.shape,
            "the volume has {shape:?} voxels, its geometry {:?}",
            volume.geometry.shape
        );
        intensity::make_finite(&mut volume.voxels, &mut volume.warnings)?;
        Scan::placed(volume, None, true)
    }

    fn placed(mut volume: Volume, source: Option<Source>, reorient: bool) -> Result<Scan> {
        let stored = volume.geometry.clone();
        plausible::check(&stored, &mut volume.warnings)?;
        let orientation = if reorient { Orientation::to_lps(&stored)? } else { Orientation::IDENTITY };
        let (angle, shear) = (orientation.obliquity(&stored), upright::shear(&stored));
        if reorient && (angle > OBLIQUE || shear > SHEARED) {
            volume.warnings.push(if shear > SHEARED {
                format!(
                    "its axes are {shear:.0} degrees from being at right angles (as of a tilted gantry); it was resampled \
                     along the patient's axes"
                )
            } else {
                format!(
                    "its axes are turned by {angle:.0} degrees against the patient's; it was resampled along the patient's"
                )
            });
            let grid = upright::grid(&stored, &orientation);
            if let Some(volume) = upright::resampled(&volume, &grid) {
                return Ok(Scan {
                    volume,
                    frame: Frame { orientation, stored, upright: Some(grid) },
                    source,
                });
            }
        }
        Ok(Scan { volume: orientation.apply(volume), frame: Frame::new(orientation, stored), source })
    }

    /// The voxels at `spacing` mm, normalised to mean 0 and deviation 1 (docs/original.md §1), and with what.
    /// The scan's own voxels are freed.
    pub fn normalised(self, spacing: f64) -> (Array3<f32>, Scale) {
        let mut voxels = resample(&self.volume, spacing);
        drop(self);
        let scale = normalise(&mut voxels);
        (voxels, scale)
    }
}

/// The formats of one file.
enum Format {
    Nifti,
    Nrrd,
    MetaImage,
}

impl Format {
    /// Told by how a file begins or, of a MetaImage, which begins in any way, by its name.
    fn of(path: &Path) -> Format {
        let mut start = [0; 5];
        let read = std::fs::File::open(path).and_then(|mut file| file.read_exact(&mut start));
        let named = |ending: &str| path.extension().is_some_and(|own| own.eq_ignore_ascii_case(ending));
        if read.is_ok() && nrrd::begins(&start) || named("nrrd") || named("nhdr") {
            Format::Nrrd
        } else if named("mha") || named("mhd") {
            Format::MetaImage
        } else {
            Format::Nifti
        }
    }
}

/// Where the voxels of a file or of a folder of DICOM slices lie.
pub fn geometry(path: &Path) -> Result<Geometry, Error> {
    let found = match Format::of(path) {
        _ if path.is_dir() => dicom::geometry(path),
        Format::Nifti => nifti::geometry(path),
        Format::Nrrd => nrrd::geometry(path),
        Format::MetaImage => metaimage::geometry(path),
    };
    found.map_err(|error| Error::of(path, error))
}

/// The SHA-256 of a scan's file, or of those of all DICOM files in its folder, one after the other.
pub fn sha256(path: &Path) -> Result<String> {
    if !path.is_dir() {
        return artifact::sha256(path);
    }
    let hashes: Vec<String> =
        dicom::files(path)?.iter().map(|file| artifact::sha256(file)).collect::<Result<_>>()?;
    Ok(artifact::sha256_of(hashes.concat().as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_of_a_volume_stays_where_it_was() {
        let affine = [[-2.0, 0.0, 0.0, 10.0], [0.0, -2.0, 0.0, 20.0], [0.0, 0.0, 3.0, 30.0]];
        let geometry = Geometry { shape: [4, 5, 6], spacing: [2.0, 2.0, 3.0], affine };
        let voxels = Array3::from_shape_fn((4, 5, 6), |(x, y, z)| (100 * x + 10 * y + z) as f32);
        let whole = Volume { voxels, geometry, warnings: vec![] };
        let part = whole.cut(&[1..3, 2..5, 4..6]);
        assert_eq!((part.geometry.shape, part.voxels[[1, 2, 1]]), ([2, 3, 2], 245.0));
        assert_eq!(part.geometry.world([1.0, 2.0, 1.0]), whole.geometry.world([2.0, 4.0, 5.0]));
    }
}
