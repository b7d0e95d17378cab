//! `predict`: any scan in, named centroids out.

mod models;
mod output;

use std::io::BufRead;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, Result};
use clap::Args;

use self::models::Models;
use self::output::{Analysed, Output};
use super::interrupt::{Interrupt, Interrupted};
use super::options::{Computing, Cutting, Pieces, Sharding, positive};
use vertebrae::analysis::{Decode, Found, Settings, analyse};
use vertebrae::annotation::landmark::Landmark;
use vertebrae::artifact;
use vertebrae::batch::{Failures, check_names, read_ahead, sentence};
use vertebrae::device::Device;
use vertebrae::inference::network::Network;
use vertebrae::inference::tiling::Tiling;
use vertebrae::progress::Progress;
use vertebrae::report::collection::Collection;
use vertebrae::report::prediction::{Document, File, Image, SCHEMA, Vertebra, is_current};
use vertebrae::report::run::{self, Run as Record};
use vertebrae::scan::{self, Frame, Scan};

#[derive(Args)]
pub struct Predict {
    /// Scans: NIfTI files, folders searched recursively for those and for DICOM slices, patterns such as
    /// 'a/*.nii.gz', or - for a list of paths on standard input
    #[arg(required = true)]
    inputs: Vec<PathBuf>,
    /// Folder the results go to
    #[arg(long, short)]
    output: PathBuf,
    /// Folder of detection.safetensors and identification.safetensors [default: saved_models in the
    /// working folder, or beside the program]
    #[arg(long, value_name = "DIR")]
    models: Option<PathBuf>,
    /// What to write for each scan
    #[arg(long, value_enum, value_delimiter = ',', default_value = "json,markups,preview")]
    format: Vec<Output>,
    /// Skip scans whose results are there, made by the same models
    #[arg(long)]
    resume: bool,
    #[command(flatten)]
    sharding: Sharding,
    /// Print nothing but errors
    #[arg(long, short)]
    quiet: bool,
    /// Print a line of JSON for each scan instead of a table
    #[arg(long, conflicts_with = "quiet")]
    json: bool,
    /// Voxels in mm of the previews, and of networks that do not say themselves what they are given
    #[arg(long, value_name = "MM", default_value = "2", value_parser = positive)]
    spacing: f64,
    /// Memory that tiles may make this program use, such as 2GiB [default: half of the machine's,
    /// 4GiB at most]
    #[arg(long, value_name = "SIZE", value_parser = super::options::bytes)]
    max_memory: Option<u64>,
    #[command(flatten)]
    computing: Computing,
}

/// What all scans of a run share.
struct Run {
    networks: [Network; 2],
    models: [File; 2],
    settings: Settings,
    device: Device,
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
        let mut scans = self.sharding.part(self.scans()?);
        let models = Models::find(self.models.as_deref())?;
        artifact::check_folder(&self.output)?;
        let all = scans.len();
        if self.resume {
            scans.retain(|path| !self.is_done(path, &models.files));
        }
        let kept = all - scans.len();
        let device = self.computing.device();
        let run = Run {
            networks: models.load(device)?,
            models: models.files,
            settings: Settings {
                spacing: self.spacing,
                cutting: Cutting { tiling: Pieces::Wide, max_memory: self.max_memory }
                    .cutting(Tiling::ORIGINAL),
                decode: Decode::Sequence,
            },
            device,
        };
        let interrupt = Interrupt::listen();
        let progress = Progress::on_stderr();
        let mut failures = Failures::default();
        let mut done = 0;
        let taken = read_ahead(&scans, read, |path, read| {
            match read.and_then(|read| self.scan(path, read, &run, &progress)) {
                Ok(document) => {
                    done += 1;
                    self.print(&document, &progress)?;
                }
                Err(error) => {
                    progress.warn(&format!("error: {}", sentence(path, &error)));
                    failures.add(path, error);
                }
            }
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
        failures.into_result(taken)
    }

    /// The scans that were asked for, in order and those of a list last, each once.
    fn scans(&self) -> Result<Vec<PathBuf>> {
        let (lists, inputs): (Vec<_>, Vec<_>) =
            self.inputs.iter().cloned().partition(|input| input.as_os_str() == "-");
        let mut list = Vec::new();
        if !lists.is_empty() {
            for line in std::io::stdin().lock().lines() {
                let line = line.context("the list on standard input cannot be read")?;
                list.extend(Some(line.trim()).filter(|line| !line.is_empty()).map(PathBuf::from));
            }
        }
        let scans = scan::listed(&inputs, &list)?;
        check_names(&scans)?;
        Ok(scans)
    }

    fn is_done(&self, path: &Path, models: &[File; 2]) -> bool {
        let name = scan::name(path);
        let complete = |output: &Output| match output {
            Output::Json => is_current(&output.path(&self.output, &name), models),
            _ => output.path(&self.output, &name).is_file(),
        };
        // The document is written last and says with what.
        self.format.contains(&Output::Json) && self.format.iter().all(complete)
    }

    fn scan(&self, path: &Path, read: Read, run: &Run, progress: &Progress) -> Result<Document> {
        let begin = Instant::now();
        let Read { scan, sha256, seconds } = read;
        let frame = scan.frame.clone();
        let mut warnings = scan.volume.warnings.clone();
        let implausible = scan.implausible();
        let hounsfield = implausible.is_none();
        warnings.extend(implausible);
        let analysis = analyse(scan, &run.networks, &run.settings, &mut (), progress)?;
        let found = &analysis.found;
        if found.is_empty() {
            warnings.push("no vertebra was found".to_owned());
        }
        let landmarks: Vec<Landmark> = found.iter().map(|found| landmark(found, &frame)).collect();
        let name = scan::name(path);
        let spacing = self.spacing;
        let analysed = Analysed {
            path,
            name: &name,
            frame: &frame,
            analysis: &analysis,
            hounsfield,
            landmarks: &landmarks,
            spacing,
        };
        for output in &self.format {
            warnings.extend(output.write(&self.output, &analysed)?);
        }
        let document = Document {
            schema: SCHEMA.to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            input: File { path: path.to_owned(), sha256 },
            models: run.models.clone(),
            image: Image::of(&frame.stored),
            device: run.device.to_string(),
            seconds: ((seconds + begin.elapsed().as_secs_f64()) * 100.0).round() / 100.0,
            warnings,
            vertebrae: found
                .iter()
                .zip(&landmarks)
                .map(|(found, landmark)| Vertebra::of(found, landmark, &frame.stored))
                .collect(),
        };
        if self.format.contains(&Output::Json) {
            artifact::write_json(&Output::Json.path(&self.output, &name), &document)?;
        }
        Ok(document)
    }

    fn print(&self, document: &Document, progress: &Progress) -> Result<()> {
        let path = document.input.path.display();
        for warning in &document.warnings {
            progress.warn(&format!("warning: {path}: {warning}"));
        }
        if self.quiet {
            return Ok(());
        }
        if self.json {
            let line = serde_json::to_string(document)?;
            progress.aside(|| println!("{line}"));
            return Ok(());
        }
        progress.aside(|| {
            println!("{path}");
            if document.vertebrae.is_empty() {
                return;
            }
            println!(
                "  {:<5} {:>9} {:>9} {:>9}  {:<10}  flags",
                "level", "left mm", "back mm", "head mm", "confidence"
            );
            for Vertebra { label, lps: [l, p, s], confidence, flags, .. } in &document.vertebrae {
                let flags: Vec<String> = flags.iter().map(ToString::to_string).collect();
                println!("  {label:<5} {l:>9.1} {p:>9.1} {s:>9.1}  {confidence:<10.2}  {}", flags.join(" "));
            }
        });
        Ok(())
    }
}

fn read(path: &Path) -> Result<Read> {
    let begin = Instant::now();
    let scan = Scan::read(path, true)?;
    let sha256 = scan::sha256(path)?;
    Ok(Read { scan, sha256, seconds: begin.elapsed().as_secs_f64() })
}

/// Where a found vertebra lies in the patient.
fn landmark(found: &Found, frame: &Frame) -> Landmark {
    let mut centroid = found.vertebra.centroid();
    centroid.mm = frame.to_stored(centroid.mm);
    let mut landmark = Landmark::of(&centroid, &frame.stored);
    if let Some(certainty) = &found.certainty {
        landmark.description = format!("confidence {:.2}", certainty.confidence);
    }
    landmark
}
