//! Which scans a person means: files, folders, patterns.

use std::collections::{BTreeSet, HashSet};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

use super::dicom;

/// What makes a name a pattern, unless a file has it.
const WILDCARDS: [char; 3] = ['*', '?', '['];

/// The scans that files, folders (searched recursively for NIfTI files and folders of DICOM slices) and patterns
/// name, in that order, each once; then those of a list.
///
/// A line of the list that ends as a NIfTI file does is taken for one unseen: a shared file system that is asked
/// about every line of a long list by every shard of a run has nothing else to do for hours.
pub fn listed(inputs: &[PathBuf], list: &[PathBuf]) -> Result<Vec<PathBuf>> {
    let mut scans = Vec::new();
    for input in inputs {
        scans.extend(named_by(input)?);
    }
    for line in list {
        if is_scan(line) && !line.to_string_lossy().contains(WILDCARDS) {
            scans.push(line.clone());
        } else {
            scans.extend(named_by(line)?);
        }
    }
    let mut seen = HashSet::with_capacity(scans.len());
    let first: Vec<bool> = scans.iter().map(|path| seen.insert(path.as_os_str())).collect();
    drop(seen);
    Ok(scans.into_iter().zip(first).filter_map(|(path, first)| first.then_some(path)).collect())
}

fn named_by(input: &Path) -> Result<Vec<PathBuf>> {
    if input.is_dir() {
        return find_any(input);
    }
    let text = input.to_string_lossy();
    if input.exists() || !text.contains(WILDCARDS) {
        return Ok(vec![input.to_owned()]);
    }
    let found: Vec<PathBuf> = glob::glob(&text)
        .with_context(|| format!("'{text}' is no pattern"))?
        .collect::<Result<_, _>>()
        .with_context(|| format!("'{text}' cannot be searched"))?;
    ensure!(!found.is_empty(), "nothing matches '{text}'");
    Ok(found)
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
fn find_any(folder: &Path) -> Result<Vec<PathBuf>> {
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
            if !is_own_result(entry.path()) {
                paths.insert(entry.into_path());
            }
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

/// Whether a file is a labelled spine of an earlier run: results may lie among the scans.
fn is_own_result(path: &Path) -> bool {
    let name = name(path);
    let Some(scan) = name.strip_suffix("_seg") else { return false };
    path.with_file_name(format!("{scan}.vertebrae.json")).is_file()
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
    fn scans_are_found_in_subfolders_in_path_order_and_hidden_files_are_passed_over() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("a")).unwrap();
        let results = ["a/z_seg.nii.gz", "a/z.vertebrae.json"];
        for file in
            ["b.nii.gz", "a/z.nii.gz", "a/z.lml", ".c.nii.gz", "b_seg.nii.gz"].into_iter().chain(results)
        {
            std::fs::write(folder.path().join(file), b"").unwrap();
        }
        let found: Vec<String> = find(folder.path()).unwrap().iter().map(|path| name(path)).collect();
        assert_eq!(found, ["z", "b", "b_seg"]);
    }

    #[test]
    fn each_scan_is_listed_once_and_a_list_is_believed_without_a_look() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        std::fs::create_dir(at("more")).unwrap();
        for file in ["a.nii.gz", "b.nii.gz", "more/c.nii"] {
            std::fs::write(at(file), b"").unwrap();
        }
        let inputs = [at("?.nii.gz"), at("b.nii.gz")];
        let list = [at("gone.nii.gz"), at("more"), at("a.nii.gz"), at("*.nii.gz")];
        let found = listed(&inputs, &list).unwrap();
        assert_eq!(found, ["a.nii.gz", "b.nii.gz", "gone.nii.gz", "more/c.nii"].map(at));
        let error = listed(&[at("x*.nii")], &[]).unwrap_err().to_string();
        assert!(error.contains("nothing matches"), "{error}");
    }

    #[test]
    fn a_folder_without_scans_is_an_error_that_names_it() {
        let folder = tempfile::tempdir().unwrap();
        assert!(find(folder.path()).unwrap_err().to_string().contains("holds no .nii.gz"));
    }
}
