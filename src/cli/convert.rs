//! `convert`: centroids from one file format to another.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;

use crate::annotation::landmark::Format;
use crate::scan;

#[derive(Args)]
pub struct Convert {
    /// File to read: .vertebrae.json (a result of predict), .mrk.json, .csv or .fcsv (3D Slicer), _ctd.json (VerSe) or .lml
    input: PathBuf,
    /// File to write, with one of these endings but the first
    output: PathBuf,
    /// The image that positions in _ctd.json and .lml files are relative to
    #[arg(long, value_name = "SCAN")]
    image: Option<PathBuf>,
}

impl Convert {
    pub fn run(self) -> Result<()> {
        let (from, to) = (Format::of(&self.input)?, Format::of(&self.output)?);
        let image = self.image.as_deref().map(scan::geometry).transpose()?;
        let landmarks = from.read(&self.input, image.as_ref())?;
        for level in to.write(&self.output, &landmarks, image.as_ref())? {
            eprintln!(
                "warning: {}: {level} has no number in this format and is left out",
                self.output.display()
            );
        }
        Ok(())
    }
}
