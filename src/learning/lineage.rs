//! Which examples a training learns from, in a few letters: another set is another training.

use std::path::Path;

use crate::artifact;

/// Their number and a hash of their names, such as `137 named 5e884898`. Folders may be called otherwise on another
/// machine, so they do not count.
pub fn of<'a>(paths: impl IntoIterator<Item = &'a Path>) -> String {
    let name = |path: &Path| path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let mut names: Vec<String> = paths.into_iter().map(name).collect();
    names.sort();
    format!("{} named {}", names.len(), &artifact::sha256_of(names.join("\n").as_bytes())[..8])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_name_is_another_lineage_and_another_folder_is_not() {
        let lineage = |names: [&str; 2]| of(names.map(Path::new));
        assert_eq!(lineage(["a/x.npy", "a/y.npy"]), lineage(["b/y.npy", "b/x.npy"]));
        assert_ne!(lineage(["a/x.npy", "a/y.npy"]), lineage(["a/x.npy", "a/z.npy"]));
        assert!(lineage(["a", "b"]).starts_with("2 named "));
    }
}
