//! `predict`: any scan in, named centroids out.

use std::collections::HashMap;
use std::io::BufRead;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};
use clap::{Args, ValueEnum};

use super::options::{Computing, Cutting, Pieces, positive};
use vertebrae::analysis::{Analysis, Decode, Settings, analyse};
use vertebrae::annotation::landmark::{Format, Landmark};
use vertebrae::artifact;
use vertebrae::batch::{Failures, sentence};
use vertebrae::decoding::Vertebra as Located;
use vertebrae::device::Device;
use vertebrae::inference::network::Network;
use vertebrae::inference::tiling::Tiling;
use vertebrae::progress::Progress;
use vertebrae::report;
use vertebrae::report::prediction::{Document, File, Image, SCHEMA, Vertebra, is_current};
use vertebrae::scan::{self, Scan};

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
    /// Take every n-th scan only, beginning with the i-th, such as 1/8
    #[arg(long, value_name = "I/N", value_parser = shard)]
    shard: Option<(usize, usize)>,
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

/// What can be written for a scan.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Output {
    /// NAME.vertebrae.json: everything
    Json,
    /// NAME.mrk.json: 3D Slicer's markups
    Markups,
    /// NAME.csv: 3D Slicer's table
    Csv,
    /// NAME_ctd.json: VerSe's centroids
    Verse,
    /// NAME.lml: an annotation to correct and train on
    Lml,
    /// NAME.png: the spine with its names
    Preview,
}

impl Output {
    fn path(self, folder: &Path, name: &str) -> PathBuf {
        folder.join(match self {
            Output::Json => format!("{name}.vertebrae.json"),
            Output::Markups => format!("{name}.mrk.json"),
            Output::Csv => format!("{name}.csv"),
            Output::Verse => format!("{name}_ctd.json"),
            Output::Lml => format!("{name}.lml"),
            Output::Preview => format!("{name}.png"),
        })
    }
}

/// `2/8` → the second of eight.
fn shard(text: &str) -> Result<(usize, usize), String> {
    let parts = text.split_once('/').and_then(|(i, n)| Some((i.parse().ok()?, n.parse().ok()?)));
    match parts {
        Some((i, n)) if (1..=n).contains(&i) => Ok((i, n)),
        _ => Err("two numbers are needed, such as 1/8 for the first of eight parts".to_owned()),
    }
}

/// What all scans of a run share.
struct Run {
    networks: [Network; 2],
    models: [File; 2],
    settings: Settings,
    device: Device,
}

impl Predict {
    pub fn run(self) -> Result<()> {
        let mut scans = self.scans()?;
        if let Some((first, of)) = self.shard {
            scans = scans.into_iter().skip(first - 1).step_by(of).collect();
        }
        let models = self.model_files()?;
        let mut done = 0;
        if self.resume {
            let all = scans.len();
            scans.retain(|path| !self.is_done(path, &models));
            done = all - scans.len();
        }
        let device = self.computing.device();
        let run = Run {
            networks: Network::read_both(models.each_ref().map(|model| model.path.as_path()), device)?,
            models,
            settings: Settings {
                spacing: self.spacing,
                cutting: Cutting { tiling: Pieces::Wide, max_memory: self.max_memory }
                    .cutting(Tiling::ORIGINAL),
                decode: Decode::Sequence,
            },
            device,
        };
        let progress = Progress::on_stderr();
        let mut failures = Failures::default();
        for path in &scans {
            match self.scan(path, &run, &progress) {
                Ok(document) => self.print(&document, &progress)?,
                Err(error) => {
                    progress.warn(&format!("error: {}", sentence(path, &error)));
                    failures.add(path, error);
                }
            }
        }
        progress.clear();
        if !self.quiet && scans.len() + done > 1 {
            let failed = failures.sentences().len();
            eprintln!("{} scans done, {done} done before, {failed} failed", scans.len() - failed);
        }
        failures.into_result(scans.len())
    }

    /// The scans that were asked for, in order, each once.
    fn scans(&self) -> Result<Vec<PathBuf>> {
        let mut scans = Vec::new();
        let mut add = |input: &Path| -> Result<()> {
            let text = input.to_string_lossy();
            if input.is_dir() {
                scans.extend(scan::find_any(input)?);
            } else if !input.exists() && text.contains(['*', '?', '[']) {
                let found: Vec<PathBuf> = glob::glob(&text)
                    .with_context(|| format!("'{text}' is no pattern"))?
                    .collect::<Result<_, _>>()
                    .with_context(|| format!("'{text}' cannot be searched"))?;
                ensure!(!found.is_empty(), "nothing matches '{text}'");
                scans.extend(found);
            } else {
                scans.push(input.to_owned());
            }
            Ok(())
        };
        for input in &self.inputs {
            if input.as_os_str() == "-" {
                for line in std::io::stdin().lock().lines() {
                    let line = line.context("the list on standard input cannot be read")?;
                    if !line.trim().is_empty() {
                        add(Path::new(line.trim()))?;
                    }
                }
            } else {
                add(input)?;
            }
        }
        let mut seen: HashMap<String, PathBuf> = HashMap::new();
        let mut unique = Vec::new();
        for path in scans {
            match seen.insert(scan::name(&path), path.clone()) {
                None => unique.push(path),
                Some(other) if other == path => {}
                Some(other) => bail!(
                    "{} and {} have the same name, so their results would overwrite each other; rename one or use \
                     two output folders",
                    other.display(),
                    path.display()
                ),
            }
        }
        Ok(unique)
    }

    /// The two model files, where they are found, with their hashes.
    fn model_files(&self) -> Result<[File; 2]> {
        const NAMES: [&str; 2] = ["detection.safetensors", "identification.safetensors"];
        let beside =
            std::env::current_exe().ok().and_then(|program| Some(program.parent()?.join("saved_models")));
        let places = match &self.models {
            Some(folder) => vec![folder.clone()],
            None => [Some(PathBuf::from("saved_models")), beside].into_iter().flatten().collect(),
        };
        let folder = places.iter().find(|folder| NAMES.iter().all(|name| folder.join(name).is_file()));
        let folder = folder.with_context(|| {
            let places: Vec<String> = places.iter().map(|place| place.display().to_string()).collect();
            format!(
                "{} and {} are not in {}; name their folder with --models",
                NAMES[0],
                NAMES[1],
                places.join(" or ")
            )
        })?;
        let [detection, identification] = NAMES.map(|name| {
            artifact::sha256(&folder.join(name)).map(|sha256| File { path: folder.join(name), sha256 })
        });
        Ok([detection?, identification?])
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

    fn scan(&self, path: &Path, run: &Run, progress: &Progress) -> Result<Document> {
        let begin = Instant::now();
        let scan = Scan::read(path, true)?;
        let frame = scan.frame.clone();
        let mut warnings = scan.volume.warnings.clone();
        if scan.volume.voxels.iter().all(|&value| value > -200.0) {
            warnings.push(
                "no voxel is as dark as air; if the values are no Hounsfield units, the result means nothing"
                    .to_owned(),
            );
        }
        let Analysis { volume, found, .. } = analyse(scan, &run.networks, &run.settings, &mut (), progress)?;
        if found.is_empty() {
            warnings.push("no vertebra was found".to_owned());
        }
        let landmarks: Vec<Landmark> = found
            .iter()
            .map(|found| {
                let mut centroid = found.vertebra.centroid();
                centroid.mm = frame.to_stored(centroid.mm);
                let mut landmark = Landmark::of(&centroid, &frame.stored);
                landmark.description = found
                    .certainty
                    .as_ref()
                    .map_or_else(String::new, |certainty| format!("confidence {:.2}", certainty.confidence));
                landmark
            })
            .collect();
        let name = scan::name(path);
        for &output in self.format.iter().filter(|output| **output != Output::Json) {
            let target = output.path(&self.output, &name);
            if output == Output::Preview {
                let found: Vec<_> = found.iter().map(|found| Located::centroid(&found.vertebra)).collect();
                report::sagittal(&target, &volume, self.spacing, &[], &found)?;
                continue;
            }
            for level in Format::of(&target)?.write(&target, &landmarks, Some(&frame.stored))? {
                warnings.push(format!("{level} has no number in {}", target.display()));
            }
        }
        let document = Document {
            schema: SCHEMA,
            version: env!("CARGO_PKG_VERSION"),
            input: File { path: path.to_owned(), sha256: scan::sha256(path)? },
            models: run.models.clone(),
            image: Image::of(&frame.stored),
            device: run.device.to_string(),
            seconds: (begin.elapsed().as_secs_f64() * 100.0).round() / 100.0,
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
