//! A folder of DICOM slices, read into a [`Volume`].

mod bare;
mod jpeg_ls;
mod lengths;
mod slice;
mod source;
mod stack;

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use super::error::NoSuchSeries;
use anyhow::{Context, Result, bail, ensure};
use ndarray::{Array3, ArrayView2, ArrayViewMut2, Axis, ShapeBuilder};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

pub use self::slice::is_dicom;
use self::slice::{Slice, headers};
pub use self::source::{Reference, Source};
use self::stack::{FEW, Stacked, stack};
use super::listing::is_own_result;
use super::{Geometry, Volume, intensity};

/// Reads the CT series of most slices directly in `folder`, indexed `[column, row, slice]`, slices in the order of their
/// normal; other series and files are named in the warnings. A tilted gantry makes a sheared grid.
///
/// Errors name the file or the folder, what is wrong and what to do: uneven gaps are refused.
pub fn read(folder: &Path) -> Result<Volume> {
    Ok(read_series(folder, None)?.0)
}

/// The same of the series with a SeriesInstanceUID, if one is named, and which series that is.
pub fn read_series(folder: &Path, wanted: Option<&str>) -> Result<(Volume, Series)> {
    let (volume, source) = read_source(folder, wanted)?;
    Ok((volume, source.series))
}

/// The same, and of which slices the volume was made.
pub(super) fn read_source(folder: &Path, wanted: Option<&str>) -> Result<(Volume, Source)> {
    read_unnamed(folder, wanted).with_context(|| format!("{} cannot be used", folder.display()))
}

/// Which series a volume is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Series {
    /// StudyInstanceUID.
    pub study: String,
    /// SeriesInstanceUID.
    pub series: String,
    /// SeriesNumber and SeriesDescription.
    pub title: String,
}

/// The DICOM files directly in `folder`, sorted, without this program's own results; where there are none, those directly in the folders below it, over
/// which a series may be spread.
pub fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    let (mut files, mut folders) = (Vec::new(), Vec::new());
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            folders.push(path);
        } else if is_dicom(&path) && !is_own_result(&path) {
            files.push(path);
        }
    }
    if files.is_empty() {
        for folder in folders {
            for entry in std::fs::read_dir(folder)? {
                files.extend(Some(entry?.path()).filter(|path| path.is_file() && is_dicom(path)));
            }
        }
    }
    files.sort();
    Ok(files)
}

/// The SeriesInstanceUID of the first DICOM file directly in a folder.
pub(crate) fn first_series(folder: &Path) -> Option<String> {
    let mut files: Vec<PathBuf> =
        std::fs::read_dir(folder).ok()?.flatten().map(|entry| entry.path()).collect();
    files.sort();
    let first = files.into_iter().find(|path| path.is_file() && is_dicom(path))?;
    Slice::read(&first).ok()?.first().map(|slice| slice.series.clone())
}

/// Where the voxels of the series that [`read`] would take lie.
pub fn geometry(folder: &Path) -> Result<Geometry> {
    let chosen = choose(folder, None).with_context(|| format!("{} cannot be used", folder.display()))?;
    Ok(chosen.geometry)
}

/// Voxels of a series at most: a whole body of thin slices, 4 GiB.
const MOST_VOXELS: usize = 1 << 30;
/// Of a series with files that are no slices of it, at most so many are named.
const NAMED: usize = 3;

fn choose(folder: &Path, wanted: Option<&str>) -> Result<Stacked> {
    let files = files(folder)?;
    ensure!(
        !files.is_empty(),
        "no file in it begins like a DICOM file; name a folder with the slices of one CT"
    );
    let (slices, others) = headers(&files);
    if slices.is_empty() {
        bail!("none of its {} DICOM files is a slice of a CT: {}", files.len(), reasons(&others));
    }
    let mut warnings = Vec::new();
    if !others.is_empty() {
        warnings.push(format!("{} of its files were left out: {}", others.len(), reasons(&others)));
    }
    let mut series = by_series(slices);
    if let Some(wanted) = wanted {
        let found: Vec<&str> = series.iter().map(|series| series[0].series.as_str()).collect();
        if !found.contains(&wanted) {
            let found = found.into_iter().map(str::to_owned).collect();
            return Err(NoSuchSeries { wanted: wanted.to_owned(), found }.into());
        }
        series.retain(|series| series[0].series == wanted);
    }
    let uids: Vec<usize> = series.iter().map(Vec::len).collect();
    if uids.len() > 2 && uids.iter().all(|&count| count == 1) {
        // Careless anonymisation gave every slice a series of its own; what looks alike belongs together.
        series = by_look(series.into_iter().flatten().collect());
        warnings.push(
            "each of its slices names a series of its own; those that are alike were taken for one"
                .to_owned(),
        );
    }
    let largest = series[0].len();
    let mut failure = None;
    let mut chosen = None;
    // A much smaller series is another picture, not a better one.
    for (index, slices) in series.iter().enumerate().take_while(|(_, slices)| 2 * slices.len() >= largest) {
        match stack(slices.clone()) {
            Ok(stacked) => {
                chosen = Some((index, stacked));
                break;
            }
            Err(error) => failure = failure.or(Some(error)),
        }
    }
    let (index, mut stacked) = match (chosen, failure) {
        (Some(chosen), _) => chosen,
        (None, Some(failure)) if warnings.is_empty() => return Err(failure),
        (None, Some(failure)) => bail!("{failure:#} ({})", warnings.join("; ")),
        (None, None) => bail!("it holds no series of slices"),
    };
    for (_, other) in series.iter().enumerate().filter(|(other, _)| *other != index) {
        warnings.push(format!(
            "the series {} with {} of {} x {} pixels was passed over for {} with {}",
            other[0].title,
            counted(other.len()),
            other[0].size[1],
            other[0].size[0],
            stacked.slices[0].title,
            counted(stacked.slices.len())
        ));
    }
    let bare = stacked.slices.iter().filter(|slice| slice.bare.is_some()).count();
    if bare > 0 {
        warnings.push(format!(
            "{} without the header of a DICOM file were taken as uncompressed and little endian",
            counted(bare)
        ));
    }
    if stacked.slices.iter().any(|slice| !slice.rescaled) {
        warnings.push("RescaleSlope is missing: the values may be no Hounsfield units".to_owned());
    }
    warnings.append(&mut stacked.warnings);
    Ok(Stacked { warnings, ..stacked })
}

/// Why files are no slices: each reason with its files.
fn reasons(others: &[(PathBuf, String)]) -> String {
    let mut by_reason: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for (path, reason) in others {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        by_reason.entry(reason).or_default().push(name);
    }
    let text = |(reason, names): (&&str, &Vec<String>)| {
        let more =
            if names.len() > NAMED { format!(" and {} more", names.len() - NAMED) } else { String::new() };
        format!("{reason} ({}{more})", names[..names.len().min(NAMED)].join(", "))
    };
    by_reason.iter().map(text).collect::<Vec<_>>().join("; ")
}

fn counted(slices: usize) -> String {
    format!("{slices} {}", if slices == 1 { "slice" } else { "slices" })
}

fn read_unnamed(folder: &Path, wanted: Option<&str>) -> Result<(Volume, Source)> {
    let Stacked { slices, planes: shown, geometry, mut warnings } = choose(folder, wanted)?;
    let claimed: usize = geometry.shape.iter().product();
    ensure!(
        claimed <= MOST_VOXELS,
        "its slices claim {claimed} voxels, more than any CT has; export the series again"
    );
    // The first axis contiguous, as slices are stored; turning them is the work of `Orientation::apply`.
    let mut voxels = Array3::zeros(geometry.shape.f());
    let planes: Vec<_> = voxels.axis_iter_mut(Axis(2)).collect();
    // Frames of one file are decoded together.
    let framed: Vec<&Slice> = slices.iter().filter(|slice| slice.frame.is_some()).collect();
    let mut decoded: HashMap<(&Path, Option<u32>), Vec<f32>> = HashMap::new();
    for file in framed.chunk_by(|a, b| a.path == b.path) {
        let keys = file.iter().map(|slice| (slice.path.as_path(), slice.frame));
        decoded.extend(keys.zip(Slice::frames(file)?));
    }
    let read = |slice: &Slice, mut plane: ArrayViewMut2<f32>| -> Result<()> {
        let pixels = match decoded.get(&(slice.path.as_path(), slice.frame)) {
            Some(pixels) => pixels.clone(),
            None => slice.pixels()?,
        };
        plane.assign(&ArrayView2::from_shape((slice.size[0], slice.size[1]), &pixels)?.t());
        Ok(())
    };
    let mut outcomes: Vec<Option<Result<()>>> = shown
        .par_iter()
        .zip(planes)
        .map(|(slice, plane)| slice.map(|index| read(&slices[index], plane)))
        .collect();
    // A slice that is missing or cannot be decoded is told by its neighbours, if it has both and is an exception.
    let lost = outcomes.iter().flatten().filter(|outcome| outcome.is_err()).count();
    for index in 0..outcomes.len() {
        let there = |index: usize| matches!(outcomes.get(index), Some(Some(Ok(()))));
        let between = index > 0 && there(index - 1) && there(index + 1);
        match outcomes[index].take() {
            Some(Ok(())) => outcomes[index] = Some(Ok(())),
            None if !between => bail!("a slice is missing beside one that cannot be decoded"),
            Some(Err(error)) if !between || lost > slices.len() / FEW => return Err(error),
            failed => {
                if let Some(Err(error)) = failed {
                    warnings.push(format!("{error:#}; the slice was made of its neighbours"));
                }
                let mean =
                    (&voxels.index_axis(Axis(2), index - 1) + &voxels.index_axis(Axis(2), index + 1)) / 2.0;
                voxels.index_axis_mut(Axis(2), index).assign(&mean);
            }
        }
    }
    intensity::make_finite(&mut voxels, &mut warnings)?;
    Ok((Volume { voxels, geometry, warnings }, Source::of(&slices, &shown)))
}

/// Slices that can form one volume, those of most slices first: of one series, one direction and one size.
fn by_series(slices: Vec<Slice>) -> Vec<Vec<Slice>> {
    grouped(slices, |a, b| a.series == b.series && alike(a, b))
}

/// The same whatever series they name.
fn by_look(slices: Vec<Slice>) -> Vec<Vec<Slice>> {
    grouped(slices, alike)
}

fn alike(a: &Slice, b: &Slice) -> bool {
    let turned =
        (0..2).any(|i| (0..3).any(|axis| (a.directions[i][axis] - b.directions[i][axis]).abs() > 1e-3));
    let coarser = (0..2).any(|axis| (a.spacing[axis] - b.spacing[axis]).abs() > 1e-4);
    a.size == b.size && !turned && !coarser
}

fn grouped(slices: Vec<Slice>, like: impl Fn(&Slice, &Slice) -> bool) -> Vec<Vec<Slice>> {
    let mut series: Vec<Vec<Slice>> = Vec::new();
    for slice in slices {
        match series.iter_mut().find(|series| like(&series[0], &slice)) {
            Some(series) => series.push(slice),
            None => series.push(vec![slice]),
        }
    }
    // Stable: of equally large ones the first file's.
    series.sort_by_key(|series| std::cmp::Reverse((series.len(), series[0].size[0] * series[0].size[1])));
    series
}
