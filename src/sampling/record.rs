//! What the samples of a folder were cut from: a file `samples.json` beside them.

use std::path::Path;

use anyhow::{Result, ensure};
use serde::{Deserialize, Serialize};

use crate::artifact;

/// Name of the file.
const NAME: &str = "samples.json";

/// What all samples of a folder have in common, and a network that learns from them has to know.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// Voxels in mm.
    pub spacing: f64,
}

impl Record {
    /// Writes the record before the first sample. A folder of other samples is refused: together they would teach
    /// nonsense.
    pub fn write(&self, folder: &Path) -> Result<()> {
        if let Some(Record { spacing }) = Record::read(folder)? {
            ensure!(
                spacing == self.spacing,
                "{} holds samples with voxels of {spacing} mm; write those of {} mm to another folder",
                folder.display(),
                self.spacing
            );
        }
        artifact::write_json(&folder.join(NAME), self)
    }

    /// The record of a folder; the original's samples and older ones have none.
    pub fn read(folder: &Path) -> Result<Option<Record>> {
        let path = folder.join(NAME);
        path.is_file().then(|| artifact::read_json(&path)).transpose()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_of_two_sizes_do_not_share_a_folder() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(Record::read(folder.path()).unwrap(), None);
        let fine = Record { spacing: 1.0 };
        fine.write(folder.path()).unwrap();
        fine.write(folder.path()).unwrap();
        assert_eq!(Record::read(folder.path()).unwrap(), Some(fine));
        let error = Record { spacing: 2.0 }.write(folder.path()).unwrap_err().to_string();
        assert!(error.contains("voxels of 1 mm"), "{error}");
    }
}
