//! Where the results of each scan go, so that none is ever taken for another's.
//!
//! A scan's results are named like its file. Scans of one run that have the same name get the layout of their folders
//! (`s0001/ct.nii.gz` → `s0001/ct…`). Results of an earlier run that belong to another scan stay: a result belongs to a path and a
//! content.

use std::collections::HashMap;
use std::path::{Component, Path, PathBuf};

use super::prediction;
use crate::artifact::File;
use crate::scan;

/// Where results of scans go, relative to the folder of results, without an ending.
pub struct Layout {
    stems: HashMap<PathBuf, PathBuf>,
}

impl Layout {
    /// The layout of a whole run; shards are parts of it.
    pub fn of(scans: &[PathBuf]) -> Layout {
        let mut names: HashMap<String, Vec<&Path>> = HashMap::new();
        for path in scans {
            names.entry(scan::name(path)).or_default().push(path);
        }
        let mut stems = HashMap::new();
        for (name, paths) in names {
            if let [only] = paths[..] {
                stems.insert(only.to_owned(), PathBuf::from(name));
                continue;
            }
            let parents: Vec<Vec<Component>> = paths.iter().map(|path| parents(path)).collect();
            let common = shared(&parents);
            let mut taken: HashMap<PathBuf, usize> = HashMap::new();
            for (path, parents) in paths.iter().zip(&parents) {
                let folder: PathBuf = parents[common..].iter().collect();
                let mut stem = folder.join(&name);
                // Beside each other lie `ct.nii` and `ct.nii.gz`.
                if taken.insert(stem.clone(), 1).is_some() {
                    stem = folder.join(path.file_name().unwrap_or_default());
                }
                stems.insert((*path).to_owned(), stem);
            }
        }
        Layout { stems }
    }

    /// The stem of a scan's results.
    pub fn stem(&self, path: &Path) -> PathBuf {
        self.stems.get(path).cloned().unwrap_or_else(|| PathBuf::from(scan::name(path)))
    }

    /// The stem of a scan's results in a folder where another scan's may lie: its own one, or one with more of its
    /// path. Says whose results are in the way.
    pub fn free(&self, folder: &Path, path: &Path, sha256: &str) -> (PathBuf, Option<File>) {
        let own = self.stem(path);
        let Some(other) = other(folder, &own, path, sha256) else { return (own, None) };
        let parents = parents(path);
        let name = own.file_name().unwrap_or_default().to_owned();
        let more = (1..=parents.len())
            .map(|count| parents[parents.len() - count..].iter().collect::<PathBuf>().join(&name));
        let with_hash =
            PathBuf::from(format!("{}-{}", name.to_string_lossy(), &sha256[..sha256.len().min(12)]));
        let stem = more.into_iter().find(|stem| self::other(folder, stem, path, sha256).is_none());
        (stem.unwrap_or(with_hash), Some(other))
    }
}

/// The folders a scan lies in, from the outermost one that is named.
fn parents(path: &Path) -> Vec<Component<'_>> {
    let parent = path.parent().unwrap_or(Path::new(""));
    parent.components().filter(|part| matches!(part, Component::Normal(_))).collect()
}

/// How many folders all paths share from the outermost on.
fn shared(paths: &[Vec<Component>]) -> usize {
    let Some((first, rest)) = paths.split_first() else { return 0 };
    (0..first.len())
        .find(|&depth| rest.iter().any(|path| path.get(depth) != first.get(depth)))
        .unwrap_or(first.len())
}

/// The scan whose results lie at a stem, if it is another one: neither this path nor this content.
fn other(folder: &Path, stem: &Path, path: &Path, sha256: &str) -> Option<File> {
    let owner = prediction::owner(&document(folder, stem))?;
    let same_path = owner.path == path || owner.path.to_string_lossy() == path.to_string_lossy();
    (owner.sha256 != sha256 && !same_path).then_some(owner)
}

/// The document of a stem.
pub fn document(folder: &Path, stem: &Path) -> PathBuf {
    with_ending(folder, stem, ".vertebrae.json")
}

/// A file of a stem.
pub fn with_ending(folder: &Path, stem: &Path, ending: &str) -> PathBuf {
    let mut name = stem.file_name().unwrap_or_default().to_owned();
    name.push(ending);
    folder.join(stem).with_file_name(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stems(paths: &[&str]) -> Vec<String> {
        let scans: Vec<PathBuf> = paths.iter().map(PathBuf::from).collect();
        let layout = Layout::of(&scans);
        scans.iter().map(|scan| layout.stem(scan).display().to_string()).collect()
    }

    #[test]
    fn scans_of_one_name_keep_the_layout_of_their_folders_and_others_lie_flat() {
        assert_eq!(stems(&["in/a.nii.gz", "in/x/b.nii"]), ["a", "b"]);
        let same = ["in/s0001/ct.nii.gz", "in/s0002/ct.nii.gz", "in/other.nii"];
        assert_eq!(stems(&same), ["s0001/ct", "s0002/ct", "other"]);
        assert_eq!(stems(&["../p/1/CT", "../p/2/CT"]), ["1/CT", "2/CT"]);
        assert_eq!(stems(&["in/ct.nii.gz", "in/x/ct.nii.gz"]), ["ct", "x/ct"]);
        assert_eq!(stems(&["in/ct.nii", "in/ct.nii.gz"]), ["ct", "ct.nii.gz"]);
    }

    #[test]
    fn another_scans_results_stay_where_they_are() {
        let folder = tempfile::tempdir().unwrap();
        let path = Path::new("in/d2/ct.nii.gz");
        let layout = Layout::of(&[path.to_owned()]);
        let result = |stem: &str, of: &str, sha256: &str| {
            let text = format!(r#"{{"input": {{"path": "{of}", "sha256": "{sha256}"}}}}"#);
            let target = document(folder.path(), Path::new(stem));
            std::fs::create_dir_all(target.parent().unwrap()).unwrap();
            std::fs::write(target, text).unwrap();
        };
        let free = |sha256: &str| layout.free(folder.path(), path, sha256);
        assert_eq!(free("22"), (PathBuf::from("ct"), None));
        result("ct", "in/d1/ct.nii.gz", "11");
        let (stem, other) = free("22");
        assert_eq!((stem, other.unwrap().path), (PathBuf::from("d2/ct"), PathBuf::from("in/d1/ct.nii.gz")));
        // The same content under another path, and another content under the same path, are the scan's own.
        assert_eq!(free("11").1, None);
        result("ct", "in/d2/ct.nii.gz", "33");
        assert_eq!(free("22").1, None);
        result("ct", "in/d1/ct.nii.gz", "11");
        result("d2/ct", "elsewhere/d2/ct.nii.gz", "44");
        assert_eq!(free("22").0, PathBuf::from("in/d2/ct"));
    }
}
