//! A CT on disk becomes a [`Volume`]: read, brought to one orientation, resampled, normalised.

mod geometry;
mod intensity;
pub mod nifti;
mod orientation;
mod reduce;
mod resample;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use ndarray::Array3;

pub use geometry::Geometry;
pub use intensity::{Scale, normalise, replace_non_finite};
pub use orientation::Orientation;
pub use reduce::{Grid, reduce};
pub use resample::{resample, resampled_shape};

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
    /// Reads a NIfTI file and, unless `reorient` is false, brings it to LPS.
    pub fn read(path: &Path, reorient: bool) -> Result<Scan> {
        let volume = nifti::read(path)?;
        let stored = volume.geometry.clone();
        let orientation = if reorient {
            Orientation::to_lps(&stored).with_context(|| format!("{}", path.display()))?
        } else {
            Orientation::IDENTITY
        };
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

/// All scans below `folder`, sorted by path. An empty result is an error that names the folder.
pub fn find(folder: &Path) -> Result<Vec<PathBuf>> {
    anyhow::ensure!(folder.is_dir(), "{} is no folder; name one that holds .nii.gz scans", folder.display());
    let mut paths = Vec::new();
    for entry in walkdir::WalkDir::new(folder).follow_links(true) {
        let entry = entry.with_context(|| format!("the folder {} cannot be listed", folder.display()))?;
        if entry.file_type().is_file() && is_scan(entry.path()) {
            paths.push(entry.into_path());
        }
    }
    paths.sort();
    anyhow::ensure!(
        !paths.is_empty(),
        "{} holds no .nii.gz or .nii scan, nor do the folders below it",
        folder.display()
    );
    Ok(paths)
}

/// The file name of a scan without `.nii.gz` or `.nii`.
pub fn name(path: &Path) -> String {
    let file = path.file_name().unwrap_or_default().to_string_lossy();
    let stem = file.strip_suffix(".nii.gz").or_else(|| file.strip_suffix(".nii")).unwrap_or(&file);
    stem.to_owned()
}

fn is_scan(path: &Path) -> bool {
    let file = path.file_name().unwrap_or_default().to_string_lossy();
    !file.starts_with('.') && (file.ends_with(".nii.gz") || file.ends_with(".nii"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scan_keeps_the_dots_inside_its_name() {
        assert_eq!(name(Path::new("a/4778.644.nii.gz")), "4778.644");
        assert_eq!(name(Path::new("b/x.nii")), "x");
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
