//! The results of one or many runs of `predict`, gathered into a page and a list.

use std::collections::BTreeMap;
use std::io::{Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

use super::evidence;
use super::measurements::{self, COLUMNS};
use super::page::{Page, Row};
use super::prediction::Document;
use super::run::Run;
use crate::artifact;

/// How the documents of predictions end.
const DOCUMENT: &str = ".vertebrae.json";
/// Name of the table of measurements.
const TABLE: &str = "measurements.csv";

/// What lies in the folders of results.
pub struct Collection {
    documents: Vec<PathBuf>,
    /// Scans that could not be used, with a sentence each.
    failed: BTreeMap<PathBuf, String>,
}

impl Collection {
    /// Looks through folders and those below them.
    pub fn of(folders: &[PathBuf]) -> Result<Collection> {
        let mut collection = Collection { documents: Vec::new(), failed: BTreeMap::new() };
        for folder in folders {
            ensure!(folder.is_dir(), "{} is no folder; name one with results of predict", folder.display());
            for entry in walkdir::WalkDir::new(folder).follow_links(true) {
                let path =
                    entry.with_context(|| format!("the folder {} cannot be listed", folder.display()))?;
                let path = path.into_path();
                if path.to_string_lossy().ends_with(DOCUMENT) {
                    collection.documents.push(path);
                } else if Run::is_record(&path) {
                    let failed = Run::read(&path)?.failed;
                    collection.failed.extend(failed.into_iter().map(|failed| (failed.path, failed.error)));
                }
            }
        }
        collection.documents.sort();
        collection.documents.dedup();
        Ok(collection)
    }

    /// How many scans have results and how many could not be used.
    pub fn counts(&self) -> [usize; 2] {
        [self.documents.len(), self.failed.len()]
    }

    /// Writes `report.html`, with `list` also `report.jsonl`: the documents, one a line. Where scans were measured, writes
    /// `measurements.csv`, a row a vertebra.
    ///
    /// Documents are read one after the other, so that a million of them take no more memory than their rows.
    pub fn write(&self, folder: &Path, list: bool) -> Result<()> {
        let mut table = csv::Writer::from_writer(tempfile::tempfile()?);
        table.write_record(COLUMNS)?;
        let mut measured = 0;
        let mut rows = Vec::new();
        let mut failed = self.failed.clone();
        let mut add = |lines: Option<&mut dyn Write>| -> Result<()> {
            let mut lines = lines;
            for path in &self.documents {
                // One that is damaged or another program's is no reason to hide the rest.
                let document: Document = match artifact::read_json(path) {
                    Ok(document) => document,
                    Err(error) => {
                        rows.push(Row::failed(path, &format!("{error:#}")));
                        continue;
                    }
                };
                if let Some(lines) = &mut lines {
                    serde_json::to_writer(&mut **lines, &document)?;
                    writeln!(lines)?;
                }
                for row in measurements::rows(&document) {
                    table.write_record(row)?;
                    measured += 1;
                }
                // A scan that failed in one run and was repaired for the next has its results now.
                failed.remove(&document.input.path);
                rows.push(Row::of(&document, &picture(path), &beside(path, ".html")));
            }
            Ok(())
        };
        if list {
            artifact::write(&folder.join("report.jsonl"), |file| add(Some(file)))?;
        } else {
            add(None)?;
        }
        if measured > 0 {
            let mut table = table.into_inner().map_err(|error| error.into_error())?;
            table.seek(SeekFrom::Start(0))?;
            artifact::write(&folder.join(TABLE), |file| Ok(std::io::copy(&mut table, file).map(drop)?))?;
        }
        rows.extend(failed.iter().map(|(path, error)| Row::failed(path, error)));
        let page = Page::of(rows, folder);
        artifact::write(&folder.join("report.html"), |file| Ok(file.write_all(page.html().as_bytes())?))
    }
}

/// The documents of predictions in a folder and those below it, by path.
pub fn documents(folder: &Path) -> Result<Vec<PathBuf>> {
    Ok(Collection::of(&[folder.to_owned()])?.documents)
}

/// The picture beside a document: why its vertebrae have their names, or else the preview.
fn picture(document: &Path) -> PathBuf {
    let evidence = beside(document, evidence::ENDING);
    if evidence.is_file() { evidence } else { beside(document, ".png") }
}

/// Another result of the same scan.
fn beside(document: &Path, ending: &str) -> PathBuf {
    let text = document.to_string_lossy();
    PathBuf::from(format!("{}{ending}", text.strip_suffix(DOCUMENT).unwrap_or(&text)))
}
