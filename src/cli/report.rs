//! `report`: one page and one list over the results of many runs.

use super::stdout::say;
use std::path::PathBuf;

use anyhow::{Result, ensure};
use clap::Args;

use crate::artifact;
use crate::report::collection::Collection;

#[derive(Args)]
pub struct Report {
    /// Folders with results of predict, searched recursively
    #[arg(required = true)]
    folders: Vec<PathBuf>,
    /// Folder for report.html and report.jsonl [default: the first of the folders]
    #[arg(long, short)]
    output: Option<PathBuf>,
}

impl Report {
    pub fn run(self) -> Result<()> {
        let collection = Collection::of(&self.folders)?;
        let [done, failed] = collection.counts();
        ensure!(done + failed > 0, "{} holds no result of predict", self.folders[0].display());
        let output = self.output.unwrap_or_else(|| self.folders[0].clone());
        artifact::check_folder(&output)?;
        collection.write(&output, true)?;
        say!("{}: {done} scans with results, {failed} without", output.join("report.html").display());
        Ok(())
    }
}
