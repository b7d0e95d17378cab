//! Which scans a person means: files, folders, patterns.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};

use super::dicom;

/// What makes a name a pattern, unless a file has it.
const WILDCARDS: [char; 3] = ['*', '?', '['];

/// What a search found, and what it could not look at.
#[derive(Debug, Default)]
pub struct Listing {
    /// Scans in the order in which they were named, each once.
    pub scans: Vec<PathBuf>,
    /// Files and folders that cannot be read, with a sentence each; they are no reason to leave the rest.
    pub unreadable: Vec<(PathBuf, String)>,
}

/// The scans that files, folders (searched recursively for NIfTI files and folders of DICOM slices) and patterns
/// name, in that order, each once; then those of a list.
///
/// A line of the list that ends as a NIfTI file does is taken for one unseen: a shared file system that is asked
/// about every line of a long list by every shard of a run has nothing else to do for hours.
pub fn listed(inputs: &[PathBuf], list: &[PathBuf]) -> Result<Listing> {
    let mut listing = Listing::default();
    for input in inputs {
        listing.add(input)?;
    }
    for line in list {
        if is_scan(line) && !line.to_string_lossy().contains(WILDCARDS) {
            listing.scans.push(line.clone());
        } else {
            listing.add(line)?;
        }
    }
    let mut seen = HashSet::with_capacity(listing.scans.len());
    let first: Vec<bool> = listing.scans.iter().map(|path| seen.insert(path.as_os_str())).collect();
    drop(seen);
    listing.scans =
        listing.scans.into_iter().zip(first).filter_map(|(path, first)| first.then_some(path)).collect();
    Ok(listing)
}

impl Listing {
    fn add(&mut self, input: &Path) -> Result<()> {
        if input.is_dir() {
            let mut found = walk(input, true)?;
            if found.scans.len() + found.unreadable.len() == 0 {
                bail!(
                    "{} holds no scan (.nii.gz, .nii, .nrrd, .mha) and no DICOM slices, nor do the folders below it",
                    input.display()
                );
            }
            self.scans.append(&mut found.scans);
            self.unreadable.append(&mut found.unreadable);
            return Ok(());
        }
        let text = input.to_string_lossy();
        if input.exists() || !text.contains(WILDCARDS) {
            self.scans.push(input.to_owned());
            return Ok(());
        }
        let found: Vec<PathBuf> = glob::glob(&text)
            .with_context(|| format!("'{text}' is no pattern"))?
            .collect::<Result<_, _>>()
            .with_context(|| format!("'{text}' cannot be searched"))?;
        ensure!(!found.is_empty(), "nothing matches '{text}'");
        self.scans.extend(found);
        Ok(())
    }
}

/// All NIfTI files below `folder`, sorted by path. An empty result is an error that names the folder, and so is
/// what cannot be read.
pub fn find(folder: &Path) -> Result<Vec<PathBuf>> {
    let Listing { scans, unreadable } = walk(folder, false)?;
    if let Some((path, sentence)) = unreadable.first() {
        anyhow::bail!("{}: {sentence}", path.display());
    }
    ensure!(
        !scans.is_empty(),
        "{} holds no scan (.nii.gz, .nii, .nrrd, .mha), nor do the folders below it",
        folder.display()
    );
    Ok(scans)
}

fn walk(folder: &Path, dicom: bool) -> Result<Listing> {
    ensure!(folder.is_dir(), "{} is no folder; name one that holds scans", folder.display());
    let mut paths = BTreeSet::new();
    let mut unreadable = Vec::new();
    for entry in walkdir::WalkDir::new(folder).follow_links(true) {
        let entry = match entry {
            Ok(entry) => entry,
            Err(error) => {
                let path = error.path().unwrap_or(folder).to_owned();
                // A link that leads nowhere matters where a scan should be.
                if path.is_symlink() && !path.is_dir() {
                    if is_scan(&path) {
                        unreadable.push((path, "it is a link to a file that is not there".to_owned()));
                    }
                    continue;
                }
                let reason = match error.loop_ancestor() {
                    Some(ancestor) => format!("it leads back to {}", ancestor.display()),
                    None => error.io_error().map_or_else(|| error.to_string(), ToString::to_string),
                };
                unreadable.push((path, format!("it cannot be looked into ({reason})")));
                continue;
            }
        };
        if !entry.file_type().is_file() || is_own_result(entry.path()) {
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
    unreadable.sort();
    if dicom {
        gather(&mut paths);
    }
    Ok(Listing { scans: paths.into_iter().collect(), unreadable })
}

/// Folders that lie beside each other and begin with slices of one series hold one scan: that of the folder above.
fn gather(paths: &mut BTreeSet<PathBuf>) {
    let mut siblings: BTreeMap<PathBuf, Vec<PathBuf>> = BTreeMap::new();
    for path in paths.iter().filter(|path| path.is_dir()) {
        if let Some(parent) = path.parent() {
            siblings.entry(parent.to_owned()).or_default().push(path.clone());
        }
    }
    for (parent, folders) in siblings.into_iter().filter(|(_, folders)| folders.len() > 1) {
        let mut by_series: BTreeMap<String, Vec<PathBuf>> = BTreeMap::new();
        for folder in folders {
            if let Some(series) = dicom::first_series(&folder).filter(|series| !series.is_empty()) {
                by_series.entry(series).or_default().push(folder);
            }
        }
        for parts in by_series.into_values().filter(|parts| parts.len() > 1) {
            parts.iter().for_each(|part| {
                paths.remove(part);
            });
            paths.insert(parent.clone());
        }
    }
}

/// Endings of files that are scans; the `.img` of a pair belongs to its `.hdr`.
const ENDINGS: [&str; 8] = [".nii.gz", ".nii", ".hdr.gz", ".hdr", ".nrrd", ".nhdr", ".mha", ".mhd"];

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
    let stem = endings.filter_map(|ending| without(&file, ending)).next();
    stem.unwrap_or(&file).to_owned()
}

fn is_scan(path: &Path) -> bool {
    let file = path.file_name().unwrap_or_default().to_string_lossy();
    !file.starts_with('.') && ENDINGS.iter().any(|ending| without(&file, ending).is_some())
}

/// A name without an ending, in capitals or not: some systems write all names in capitals.
fn without<'a>(file: &'a str, ending: &str) -> Option<&'a str> {
    let at = file.len().checked_sub(ending.len())?;
    file.get(at..).filter(|end| end.eq_ignore_ascii_case(ending)).map(|_| &file[..at])
}

/// Whether a file is a labelled spine or a report of an earlier run: results may lie among the scans.
pub(super) fn is_own_result(path: &Path) -> bool {
    let name = name(path);
    let endings = ["_seg", "_seg.dcm", "_sr.dcm"];
    let Some(scan) = endings.iter().find_map(|ending| name.strip_suffix(ending)) else { return false };
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
        assert_eq!(name(Path::new("B/SCAN.NII.GZ")), "SCAN");
        assert!(
            is_scan(Path::new("B/é.Nii")) && !is_scan(Path::new("nii.gz")) && !is_scan(Path::new("é.gz"))
        );
    }

    #[test]
    fn scans_are_found_in_subfolders_in_path_order_and_hidden_files_are_passed_over() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("a")).unwrap();
        let results = ["a/z_seg.nii.gz", "a/z_sr.dcm", "a/z.vertebrae.json"];
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
        let found = listed(&inputs, &list).unwrap().scans;
        assert_eq!(found, ["a.nii.gz", "b.nii.gz", "gone.nii.gz", "more/c.nii"].map(at));
        let error = listed(&[at("x*.nii")], &[]).unwrap_err().to_string();
        assert!(error.contains("nothing matches"), "{error}");
    }

    #[test]
    #[cfg(unix)]
    fn a_link_that_leads_nowhere_is_named_and_the_rest_is_found() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("a.nii.gz"), b"").unwrap();
        for link in ["b.nii.gz", "notes.txt"] {
            std::os::unix::fs::symlink("gone", folder.path().join(link)).unwrap();
        }
        let Listing { scans, unreadable } = listed(&[folder.path().to_owned()], &[]).unwrap();
        assert_eq!(scans, [folder.path().join("a.nii.gz")]);
        assert_eq!(unreadable.len(), 1);
        assert!(
            unreadable[0].0.ends_with("b.nii.gz") && unreadable[0].1.contains("is not there"),
            "{unreadable:?}"
        );
    }

    #[test]
    fn a_folder_without_scans_is_an_error_that_names_it() {
        let folder = tempfile::tempdir().unwrap();
        assert!(find(folder.path()).unwrap_err().to_string().contains("holds no scan (.nii.gz"));
    }
}
