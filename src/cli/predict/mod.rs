//! `predict`: any scan in, named centroids out.

mod output;

use super::stdout::say;
use std::io::BufRead;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, Result, anyhow, ensure};
use clap::{Args, ValueEnum};

use self::output::{Output, Results};
use super::bar::Progress;
use super::interrupt::{Interrupt, Interrupted};
use super::options::{Precise, Sharding};
use crate::artifact::{self, File};
use crate::batch::{Failures, guarded, read_ahead};
use crate::pipeline::{Models, Pipeline};
use crate::progress::{Observer, Stage};
use crate::report::collection::Collection;
use crate::report::dicom::{Moment, Origin};
use crate::report::layout::{self, Layout};
use crate::report::prediction::{self, Document, Vertebra, is_current};
use crate::report::run::{self, Run as Record};
use crate::scan::{self, Listing, Scan};

#[derive(Args)]
pub struct Predict {
    /// Scans: NIfTI files, folders searched recursively for those and for DICOM slices, patterns such as
    /// 'a/*.nii.gz', or - for a list of paths on standard input
    #[arg(required = true)]
    inputs: Vec<PathBuf>,
    /// Folder the results go to
    #[arg(long, short)]
    output: PathBuf,
    /// Folder of course.safetensors, bodies.safetensors and names.safetensors, and of further names-*.safetensors,
    /// which are averaged with it [default: saved_models in the working folder, or beside the program]
    #[arg(long, value_name = "DIR")]
    models: Option<PathBuf>,
    /// What to write for each scan; json is always written, as it says whose results the others are
    #[arg(long, value_enum, value_delimiter = ',', default_value = "json,markups,preview,evidence")]
    format: Vec<Output>,
    /// Measure the vertebrae, too: heights, end plates, density, contrast agent and curves, into the document of each scan and
    /// into measurements.csv over all scans (research use)
    #[arg(long)]
    measure: bool,
    /// Skip scans whose results are there: of the same content, made by the same models
    #[arg(long)]
    resume: bool,
    /// SeriesInstanceUID of the DICOM series to take, where folders hold several [default: the CT of most slices]
    #[arg(long, value_name = "UID")]
    series: Option<String>,
    #[command(flatten)]
    sharding: Sharding,
    /// Print nothing but errors
    #[arg(long, short)]
    quiet: bool,
    /// Print a line of JSON for each scan instead of a table
    #[arg(long, conflicts_with = "quiet")]
    json: bool,
    #[command(flatten)]
    applying: Precise,
}

/// Parts of a scan's work that the bar shows: looking for the course, walking along the bodies, naming them, measuring, writing.
const PARTS: usize = 5;

/// What all scans of a run share.
struct Run {
    pipeline: Pipeline,
    layout: Layout,
}

/// A scan's stages as parts of the batch's bar.
struct Parts<'a> {
    progress: &'a Progress,
    /// Stands behind the stage's name.
    note: &'a str,
}

impl Observer for Parts<'_> {
    fn begins(&mut self, stage: Stage, _: usize) -> Result<()> {
        self.progress.part(&format!("{stage}{}", self.note));
        Ok(())
    }
}

/// A scan as it was read.
struct Read {
    scan: Scan,
    sha256: String,
    seconds: f64,
}

impl Predict {
    pub fn run(self) -> Result<()> {
        let (begin, started) = (Instant::now(), jiff::Timestamp::now());
        let Listing { scans, unreadable } = self.scans()?;
        let layout = Layout::of(&scans);
        let mut scans = self.sharding.part(scans);
        let models = Models::find(self.models.as_deref())?;
        artifact::check_folder(&self.output)?;
        let all = scans.len();
        if self.resume {
            scans.retain(|path| !self.is_done(path, &layout, &models.files));
        }
        let kept = all - scans.len();
        let run = Run { pipeline: Pipeline::load(&models, self.applying.device()?)?, layout };
        let interrupt = Interrupt::listen();
        let progress = Progress::on_stderr();
        let mut failures = Failures::default();
        // What could not be looked at belongs to one shard only.
        if self.sharding.shard.is_none_or(|shard| shard.number == 1) {
            for (path, sentence) in unreadable {
                failures.add(&path, anyhow!(sentence));
            }
        }
        let unlisted = failures.len();
        let mut done = 0;
        progress.start_parts(scans.len(), PARTS, "scans");
        let read = |path: &Path| read(path, self.series.as_deref());
        let taken = read_ahead(&scans, read, |path, read| {
            let note =
                if failures.is_empty() { String::new() } else { format!(", {} failed", failures.len()) };
            match read.and_then(|read| guarded(|| self.scan(path, read, &run, &progress, &note))) {
                Ok(document) => {
                    done += 1;
                    self.print(&document, &progress)?;
                }
                Err(error) => {
                    self.forget(path, &run)?;
                    failures.add(path, error);
                }
            }
            progress.whole();
            Ok(!interrupt.came())
        })?;
        progress.clear();
        let interrupted = taken < scans.len();
        let failed = failures.len();
        let record = Record {
            schema: run::SCHEMA.to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            started: started.to_string(),
            seconds: begin.elapsed().as_secs_f64(),
            shard: self.sharding.shard.map(|shard| shard.to_string()),
            done,
            kept,
            failed: failures.listed(),
            interrupted,
        };
        record.write(&self.output)?;
        if self.sharding.shard.is_none() {
            Collection::of(std::slice::from_ref(&self.output))?.write(&self.output, false)?;
        }
        if !self.quiet && all > 1 {
            eprintln!("{done} scans done, {kept} done before, {failed} failed");
        }
        if interrupted {
            let left = scans.len() - taken;
            return Err(
                Interrupted(format!("interrupted with {left} scans left; go on with --resume")).into()
            );
        }
        failures.into_result(taken + unlisted)
    }

    /// The scans that were asked for, in order and those of a list last, each once.
    fn scans(&self) -> Result<Listing> {
        let (lists, inputs): (Vec<_>, Vec<_>) =
            self.inputs.iter().cloned().partition(|input| input.as_os_str() == "-");
        let mut list = Vec::new();
        if !lists.is_empty() {
            for line in std::io::stdin().lock().lines() {
                let line = line.context("the list on standard input cannot be read")?;
                // Lists are written by hand and by programs that begin them with a byte-order mark.
                let line = line.trim_start_matches('\u{feff}').trim();
                if !line.is_empty() && !line.starts_with('#') {
                    list.push(PathBuf::from(line));
                }
            }
            ensure!(!list.is_empty() || !inputs.is_empty(), "the list on standard input names no scan");
        }
        scan::listed(&inputs, &list)
    }

    /// Whether a scan has its results: all of them, of this content, by these models.
    fn is_done(&self, path: &Path, layout: &Layout, models: &[File]) -> bool {
        // A scan that cannot be read is tried again, and says why.
        let Ok(sha256) = scan::sha256(path) else { return false };
        let (stem, _) = layout.free(&self.output, path, &sha256);
        let document = layout::document(&self.output, &stem);
        let complete = |output: &Output| {
            let none = output.is_dicom() && !(path.is_dir() && prediction::has_vertebrae(&document));
            none || output.path(&self.output, &stem).is_file()
        };
        // The document is written last and says of what and with what.
        is_current(&document, &sha256, self.series.as_deref(), models, self.measure)
            && self.format.iter().all(complete)
    }

    /// Takes away what an earlier run left of a scan that can be used no longer: it is of another content.
    fn forget(&self, path: &Path, run: &Run) -> Result<()> {
        let stem = run.layout.stem(path);
        let document = layout::document(&self.output, &stem);
        if prediction::owner(&document).is_some_and(|owner| owner.path == path) {
            for output in Output::value_variants() {
                let file = output.path(&self.output, &stem);
                if file.is_file() {
                    std::fs::remove_file(&file).with_context(|| {
                        format!("{}, a result of an earlier content, cannot be removed", file.display())
                    })?;
                }
            }
        }
        Ok(())
    }

    /// Analyses one scan and writes what was found; `note` stands behind the bar.
    fn scan(&self, path: &Path, read: Read, run: &Run, progress: &Progress, note: &str) -> Result<Document> {
        let begin = Instant::now();
        let Read { scan, sha256, seconds } = read;
        let mut prediction = run.pipeline.predict_observed(&scan, &mut Parts { progress, note })?;
        // Outlines are what masks are made of.
        let outlined = self.format.iter().any(|output| output.is_outlined());
        let measurements = (self.measure || outlined).then(|| {
            progress.part(&format!("{}{note}", Stage::Measuring));
            prediction.measure(&scan)
        });
        progress.part(&format!("writing{note}"));
        let (stem, other) = run.layout.free(&self.output, path, &sha256);
        if let Some(other) = other {
            prediction.warnings.push(format!(
                "{} holds the result of {}, another scan; the results of this one are named {}",
                layout::document(&self.output, &run.layout.stem(path)).display(),
                other.path.display(),
                stem.display()
            ));
        }
        let wanted = self.format.iter().any(|output| output.is_dicom());
        let source = scan.source.as_ref().filter(|_| wanted);
        let results = Results {
            path,
            scan: &scan,
            prediction: &prediction,
            measurements: measurements.as_ref(),
            origin: source.map(Origin::of).transpose()?,
            now: moment(),
        };
        let mut remarks = Vec::new();
        for output in &self.format {
            remarks.extend(output.write(&self.output, &stem, &results)?);
        }
        let input = File { path: path.to_owned(), sha256 };
        let seconds = seconds + begin.elapsed().as_secs_f64();
        let mut document = Document::of(&run.pipeline, &scan, &prediction, input, seconds);
        document.warnings.extend(remarks);
        if let Some(measurements) = measurements.as_ref().filter(|_| self.measure) {
            document = document.measured(measurements, &scan.frame);
        }
        for output in &self.format {
            output.write_of(&document, &self.output, &stem, &results)?;
        }
        artifact::write_json(&layout::document(&self.output, &stem), &document)?;
        Ok(document)
    }

    fn print(&self, document: &Document, progress: &Progress) -> Result<()> {
        if self.quiet {
            return Ok(());
        }
        let path = document.input.path.display();
        for warning in &document.warnings {
            progress.warn(&format!("warning: {path}: {warning}"));
        }
        if self.json {
            let line = serde_json::to_string(document)?;
            progress.aside(|| say!("{line}"));
            return Ok(());
        }
        progress.aside(|| {
            say!("{path}");
            if document.vertebrae.is_empty() {
                return;
            }
            let measured = document.measurements.is_some();
            let heading = if measured { "density HU  heights mm      flags" } else { "flags" };
            say!(
                "  {:<5} {:>9} {:>9} {:>9}  {:<10}  {heading}",
                "level",
                "left mm",
                "back mm",
                "head mm",
                "confidence"
            );
            for vertebra in &document.vertebrae {
                let Vertebra { label, lps: [l, p, s], confidence, .. } = vertebra;
                let mut rest = vertebra.all_flags().join(" ");
                if measured {
                    rest = format!("{:<22}  {rest}", vertebra.in_short());
                }
                say!("  {label:<5} {l:>9.1} {p:>9.1} {s:>9.1}  {confidence:<10.2}  {rest}");
            }
        });
        Ok(())
    }
}

/// Now, where the clock on the wall says so.
fn moment() -> Moment {
    let now = jiff::Zoned::now();
    Moment { date: now.strftime("%Y%m%d").to_string(), time: now.strftime("%H%M%S").to_string() }
}

fn read(path: &Path, series: Option<&str>) -> Result<Read> {
    let begin = Instant::now();
    let scan = Scan::read_as(path, true, series)?;
    let sha256 = scan::sha256(path)?;
    Ok(Read { scan, sha256, seconds: begin.elapsed().as_secs_f64() })
}
