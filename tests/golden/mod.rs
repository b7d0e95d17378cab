//! Golden data that lies beside a checkout of the developers; a user's clone has none.
#![allow(dead_code)]

use std::fs::File;
use std::path::{Path, PathBuf};

use ndarray_npy::NpzReader;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared")
}

/// A golden file, or `None` with a line that says the test was skipped.
pub fn file(name: &str) -> Option<PathBuf> {
    let path = folder().join(name);
    if path.exists() {
        return Some(path);
    }
    println!("SKIPPED: the golden file {name} is not on this machine");
    None
}

/// A golden JSON document.
pub fn json(name: &str) -> serde_json::Value {
    serde_json::from_reader(File::open(folder().join(name)).unwrap()).unwrap()
}

/// A golden text.
pub fn text(name: &str) -> String {
    std::fs::read_to_string(folder().join(name)).unwrap()
}

/// A golden NumPy archive.
pub fn npz(name: &str) -> NpzReader<File> {
    NpzReader::new(File::open(folder().join(name)).unwrap()).unwrap()
}
