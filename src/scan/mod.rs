//! A CT on disk becomes a [`Volume`]: read, brought to one orientation, resampled, normalised.

pub mod dicom;
mod geometry;
mod intensity;
pub mod nifti;
mod orientation;
mod reduce;
mod resample;

use std::collections::BTreeSet;
use std::ops::Range;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use ndarray::Array3;

use crate::artifact;

pub use geometry::Geometry;
pub use intensity::{Scale, normalise, replace_non_finite};
pub use orientation::Orientation;
pub use reduce::{Grid, reduce};
pub use resample::{resample, resampled_shape};

/// Degrees between a stored axis and the patient's above which networks see an unusual picture.
const OBLIQUE: f64 = 15.0;

/// Voxels with the grid they lie on.
#[derive(Clone, Debug)]
pub struct Volume {
    /// Intensities, indexed `[axis 0, axis 1, axis 2]` of the grid, last axis contiguous.
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
}

/// The file's own frame and the way between it and LPS order.
#[derive(Clone, Debug)]
pub struct Frame {
    /// How the stored axes map to the ones in LPS order.
    pub orientation: Orientation,
    /// The grid as it is stored in the file.
    pub stored: Geometry,
}

impl Frame {
    /// Millimetres from the first stored voxel along the stored axes → the same in LPS order.
    pub fn from_stored(&self, mm: [f64; 3]) -> [f64; 3] {
        self.orientation.from_stored(mm, &self.stored)
    }

    /// Millimetres in LPS order → millimetres from the first stored voxel along the stored axes.
    pub fn to_stored(&self, mm: [f64; 3]) -> [f64; 3] {
        self.orientation.to_stored(mm, &self.stored)
    }
}

impl Scan {
    /// Reads a NIfTI file or a folder of DICOM slices and, unless `reorient` is false, brings it to LPS.
    pub fn read(path: &Path, reorient: bool) -> Result<Scan> {
        let mut volume = if path.is_dir() { dicom::read(path)? } else { nifti::read(path)? };
        let stored = volume.geometry.clone();
        let orientation = if reorient {
            Orientation::to_lps(&stored).with_context(|| format!("{}", path.display()))?
        } else {
            Orientation::IDENTITY
        };
        let angle = orientation.obliquity(&stored);
        if angle > OBLIQUE {
            volume.warnings.push(format!(
                "its axes are turned by {angle:.0} degrees against the patient's and were taken for the nearest ones; \
                 results may be poor"
            ));
        }
        Ok(Scan { volume: orientation.apply(volume), frame: Frame { orientation, stored } })
    }

    /// The voxels at `spacing` mm, normalised to mean 0 and deviation 1 (SPEC §1), and with what.
    /// The scan's own voxels are freed.
    pub fn normalised(self, spacing: f64) -> (Array3<f32>, Scale) {
        let mut voxels = resample(&self.volume, spacing);
        drop(self);
        let scale = normalise(&mut voxels);
        (voxels, scale)
    }
}

/// Where the voxels of a NIfTI file or of a folder of DICOM slices lie.
pub fn geometry(path: &Path) -> Result<Geometry> {
    if path.is_dir() { dicom::geometry(path) } else { nifti::geometry(path) }
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

/// All NIfTI files below `folder`, sorted by path. An empty result is an error that names the folder.
pub fn find(folder: &Path) -> Result<Vec<PathBuf>> {
    let paths = walk(folder, false)?;
    ensure!(
        !paths.is_empty(),
        "{} holds no .nii.gz or .nii scan, nor do the folders below it",
        folder.display()
    );
    Ok(paths)
}

/// The same with folders that hold DICOM slices.
pub fn find_any(folder: &Path) -> Result<Vec<PathBuf>> {
    let paths = walk(folder, true)?;
    ensure!(
        !paths.is_empty(),
        "{} holds no .nii.gz or .nii scan and no DICOM slices, nor do the folders below it",
        folder.display()
    );
    Ok(paths)
}

fn walk(folder: &Path, dicom: bool) -> Result<Vec<PathBuf>> {
    ensure!(folder.is_dir(), "{} is no folder; name one that holds .nii.gz scans", folder.display());
    let mut paths = BTreeSet::new();
    for entry in walkdir::WalkDir::new(folder).follow_links(true) {
        let entry = entry.with_context(|| format!("the folder {} cannot be listed", folder.display()))?;
        if !entry.file_type().is_file() {
            continue;
        }
        if is_scan(entry.path()) {
            paths.insert(entry.into_path());
        } else if let Some(series) = entry.path().parent().filter(|_| dicom) {
            // One slice tells; the rest of a large series need not be opened.
            if !paths.contains(series) && dicom::is_dicom(entry.path()) {
                paths.insert(series.to_owned());
            }
        }
    }
    Ok(paths.into_iter().collect())
}

/// Endings of files that are scans; the `.img` of a pair belongs to its `.hdr`.
const ENDINGS: [&str; 4] = [".nii.gz", ".nii", ".hdr.gz", ".hdr"];

/// The file name of a scan without its ending, or the name of a folder of slices.
pub fn name(path: &Path) -> String {
    let Some(file) = path.file_name() else {
        // The folder `.`, or one that ends in `..`.
        let whole = path.canonicalize().ok();
        return whole
            .and_then(|path| Some(path.file_name()?.to_string_lossy().into_owned()))
            .unwrap_or_default();
    };
    let file = file.to_string_lossy();
    let endings = ENDINGS.into_iter().chain([".img.gz", ".img"]);
    let stem = endings.filter_map(|ending| file.strip_suffix(ending)).next();
    stem.unwrap_or(&file).to_owned()
}

fn is_scan(path: &Path) -> bool {
    let file = path.file_name().unwrap_or_default().to_string_lossy();
    !file.starts_with('.') && ENDINGS.iter().any(|ending| file.ends_with(ending))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scan_keeps_the_dots_inside_its_name() {
        assert_eq!(name(Path::new("a/4778.644.nii.gz")), "4778.644");
        assert_eq!(name(Path::new("b/x.nii")), "x");
        assert_eq!(name(Path::new("b/x.img.gz")), "x");
        assert_eq!(name(Path::new("series/1.2.840.1/")), "1.2.840.1");
    }

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

    #[test]
    fn scans_are_found_in_subfolders_in_path_order_and_hidden_files_are_passed_over() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("a")).unwrap();
        for file in ["b.nii.gz", "a/z.nii.gz", "a/z.lml", ".c.nii.gz"] {
            std::fs::write(folder.path().join(file), b"").unwrap();
        }
        let found: Vec<String> = find(folder.path()).unwrap().iter().map(|path| name(path)).collect();
        assert_eq!(found, ["z", "b"]);
    }

    #[test]
    fn a_folder_without_scans_is_an_error_that_names_it() {
        let folder = tempfile::tempdir().unwrap();
        assert!(find(folder.path()).unwrap_err().to_string().contains("holds no .nii.gz"));
    }
}
