//! A folder of DICOM slices, read into a [`Volume`].

mod lengths;
mod slice;
mod stack;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use ndarray::{Array3, ArrayView2, Axis, ShapeBuilder};
use rayon::prelude::*;

pub use self::slice::is_dicom;
use self::slice::{Slice, headers};
use self::stack::stack;
use super::{Geometry, Volume, intensity};

/// Reads the largest CT series directly in `folder`, indexed `[column, row, slice]`, slices in the order of their
/// normal; other series are named in the warnings.
///
/// Errors name the file or the folder, what is wrong and what to do: uneven gaps and a tilted gantry are refused.
pub fn read(folder: &Path) -> Result<Volume> {
    read_unnamed(folder).with_context(|| format!("{} cannot be used", folder.display()))
}

/// The DICOM files directly in `folder`, sorted.
pub fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_file() && is_dicom(&path) {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

/// Where the voxels of the series that [`read`] would take lie.
pub fn geometry(folder: &Path) -> Result<Geometry> {
    let chosen = choose(folder).with_context(|| format!("{} cannot be used", folder.display()))?;
    Ok(chosen.geometry)
}

/// The slices of a series in order, the grid they fill and what is to be said of them.
struct Chosen {
    slices: Vec<Slice>,
    geometry: Geometry,
    warnings: Vec<String>,
}

fn choose(folder: &Path) -> Result<Chosen> {
    let files = files(folder)?;
    ensure!(
        !files.is_empty(),
        "no file in it begins like a DICOM file; name a folder with the slices of one CT"
    );
    let mut series = by_series(headers(&files)?);
    ensure!(
        !series.is_empty(),
        "none of its {} DICOM files is a slice of a CT with a place in the patient; name the folder of the CT",
        files.len()
    );
    let mut slices = series.remove(0);
    let mut warnings = Vec::new();
    for other in &series {
        warnings.push(format!(
            "the series {} with {} of {} x {} pixels was passed over for {} with {}",
            other[0].title,
            counted(other.len()),
            other[0].size[1],
            other[0].size[0],
            slices[0].title,
            counted(slices.len())
        ));
    }
    if slices.iter().any(|slice| !slice.rescaled) {
        warnings.push("RescaleSlope is missing: the values may be no Hounsfield units".to_owned());
    }
    let geometry = stack(&mut slices)?;
    Ok(Chosen { slices, geometry, warnings })
}

fn counted(slices: usize) -> String {
    format!("{slices} {}", if slices == 1 { "slice" } else { "slices" })
}

fn read_unnamed(folder: &Path) -> Result<Volume> {
    let Chosen { slices, geometry, mut warnings } = choose(folder)?;
    // The first axis contiguous, as slices are stored; turning them is the work of `Orientation::apply`.
    let mut voxels = Array3::zeros(geometry.shape.f());
    let planes: Vec<_> = voxels.axis_iter_mut(Axis(2)).collect();
    slices.par_iter().zip(planes).try_for_each(|(slice, mut plane)| -> Result<()> {
        let pixels = slice.pixels()?;
        let rows = ArrayView2::from_shape((slice.size[0], slice.size[1]), &pixels)?;
        plane.assign(&rows.t());
        Ok(())
    })?;
    let replaced = intensity::replace_non_finite(&mut voxels)?;
    if replaced > 0 {
        warnings.push(format!("{replaced} voxels are NaN or infinite and were taken as air"));
    }
    Ok(Volume { voxels, geometry, warnings })
}

/// Slices that can form one volume, the largest first: of one series, one direction and one size.
fn by_series(slices: Vec<Slice>) -> Vec<Vec<Slice>> {
    let mut series: Vec<Vec<Slice>> = Vec::new();
    for slice in slices {
        let like = |other: &Slice| {
            let turned = (0..2).any(|i| {
                (0..3).any(|axis| (slice.directions[i][axis] - other.directions[i][axis]).abs() > 1e-3)
            });
            let coarser = (0..2).any(|axis| (slice.spacing[axis] - other.spacing[axis]).abs() > 1e-4);
            slice.series == other.series && slice.size == other.size && !turned && !coarser
        };
        match series.iter_mut().find(|series| like(&series[0])) {
            Some(series) => series.push(slice),
            None => series.push(vec![slice]),
        }
    }
    // Stable: of equally large ones the first file's.
    series.sort_by_key(|series| std::cmp::Reverse(series.len() * series[0].size[0] * series[0].size[1]));
    series
}
