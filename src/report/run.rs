//! What a run of `predict` leaves of itself: which scans could not be used, and why.

use std::path::Path;

use anyhow::Result;
use serde::{Deserialize, Serialize};

use crate::artifact;
use crate::batch::Failed;

/// Name and version of the record's schema, see docs/formats.md.
pub const SCHEMA: &str = "vertebrae/run/1";
/// Records of a folder begin like this; those of shards say which between both ends.
const START: &str = "vertebrae-run";
const END: &str = ".json";

/// A run over many scans.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Run {
    /// [`SCHEMA`].
    pub schema: String,
    /// Version of the program.
    pub version: String,
    /// When it began, in UTC.
    pub started: String,
    /// How long it took.
    pub seconds: f64,
    /// Which part of the scans it took, such as `1/8`.
    pub shard: Option<String>,
    /// Scans it analysed.
    pub done: usize,
    /// Scans whose results were there before.
    pub kept: usize,
    /// Scans it could not use.
    pub failed: Vec<Failed>,
    /// Whether it was stopped before its end.
    pub interrupted: bool,
}

impl Run {
    /// Writes the record into the folder of the results.
    pub fn write(&self, folder: &Path) -> Result<()> {
        let shard =
            self.shard.as_ref().map_or(String::new(), |shard| format!("-{}", shard.replace('/', "-of-")));
        artifact::write_json(&folder.join(format!("{START}{shard}{END}")), self)
    }

    /// Reads a record.
    pub fn read(path: &Path) -> Result<Run> {
        artifact::read_json(path)
    }

    /// Whether a file is a record by its name.
    pub(crate) fn is_record(path: &Path) -> bool {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        name.strip_prefix(START)
            .and_then(|rest| rest.strip_suffix(END))
            .is_some_and(|shard| shard.is_empty() || (shard.starts_with('-') && shard.contains("-of-")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_of_shards_lie_side_by_side_and_are_read_back() {
        let folder = tempfile::tempdir().unwrap();
        let failed = vec![Failed { path: "a.nii".into(), error: "a.nii is empty".into() }];
        for shard in [None, Some("2/8".to_owned())] {
            let run = Run {
                schema: SCHEMA.into(),
                version: "1".into(),
                started: "now".into(),
                seconds: 1.5,
                shard: shard.clone(),
                done: 3,
                kept: 1,
                failed: failed.clone(),
                interrupted: false,
            };
            run.write(folder.path()).unwrap();
        }
        for name in ["vertebrae-run.json", "vertebrae-run-2-of-8.json"] {
            let path = folder.path().join(name);
            assert!(Run::is_record(&path));
            assert_eq!(Run::read(&path).unwrap().failed, failed);
        }
        assert!(!Run::is_record(Path::new("vertebrae-runaway.json")));
    }
}
