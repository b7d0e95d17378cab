//! `measure`: both networks on annotated scans, and how well they did (SPEC §8).

use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::Result;
use clap::{Args, ValueEnum};
use serde::Serialize;

use super::options::{Annotated, Computing, Cutting, Reading, not_negative, positive, size};
use vertebrae::anatomy::{Level, Region};
use vertebrae::annotation::Centroid;
use vertebrae::batch::Failures;
use vertebrae::decoding::candidate::{self, Candidate};
use vertebrae::decoding::sequence::Flag;
use vertebrae::decoding::{Thresholds, Vertebra, bodies, by_median, runs};
use vertebrae::device::Device;
use vertebrae::evaluation::accuracy::{self, Case};
use vertebrae::evaluation::{Comparison, REACH, Summary, Tally, compare, numpy_mean};
use vertebrae::inference::detect::detect;
use vertebrae::inference::identify::identify;
use vertebrae::inference::tiling::Tiling;
use vertebrae::inference::volume::{Field, answer};
use vertebrae::network::{Input, Kind, Predictor, Weights};
use vertebrae::progress::Progress;
use vertebrae::report::{self, MeasureText};
use vertebrae::scan::Volume;
use vertebrae::{artifact, scan};

#[derive(Args)]
pub struct Measure {
    /// Folder with scans (.nii.gz) and their annotations (.lml), searched recursively
    dataset: PathBuf,
    /// Detection model (.safetensors or Keras's .h5)
    detection_model: PathBuf,
    /// Identification model (.safetensors or Keras's .h5)
    identification_model: PathBuf,
    /// Write everything that was found and compared to this file as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Write tables of the accuracy in both directions, by region, level and scan, to this file as
    /// Markdown
    #[arg(long, value_name = "FILE")]
    accuracy: Option<PathBuf>,
    /// Folder for the box plot and a picture of each scan
    #[arg(long, value_name = "DIR", default_value = "plots")]
    plots: PathBuf,
    /// Size of exact detection patches in voxels; the middle half of each is kept
    #[arg(long, value_name = "XxYxZ", default_value = "64x64x80", value_parser = size::<3>)]
    sample_size: [usize; 3],
    /// How voxels become vertebrae
    #[arg(long, value_enum, default_value = "median")]
    decode: Decode,
    /// A label needs more mm³ than this share of its vertebra's diameter cubed
    #[arg(long, value_name = "SHARE", default_value = "0.4", value_parser = not_negative)]
    diameter_share: f64,
    /// A label needs more mm³ than this
    #[arg(long, value_name = "MM3", default_value = "3000", value_parser = not_negative)]
    least_volume: f64,
    /// An annotated vertebra is matched to the closest found one within this many mm
    #[arg(long, value_name = "MM", default_value_t = REACH, value_parser = positive)]
    reach: f64,
    #[command(flatten)]
    cutting: Cutting,
    #[command(flatten)]
    reading: Reading,
    #[command(flatten)]
    computing: Computing,
}

/// How voxels become vertebrae.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Decode {
    /// The original's way: the middle of all voxels of a label, whatever stands beside it
    Median,
    /// The most likely sequence of levels that a spine can have
    Sequence,
}

/// What `--json` holds.
#[derive(Serialize)]
struct Document {
    vertebrae: &'static str,
    detection_model: PathBuf,
    identification_model: PathBuf,
    device: String,
    spacing: f64,
    scans: Vec<ScanEntry>,
    summary: Figures,
}

#[derive(Serialize)]
struct ScanEntry {
    number: usize,
    path: PathBuf,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    #[serde(flatten)]
    result: Option<ScanResult>,
}

/// Positions are in mm from the first voxel along the stored axes.
#[derive(Serialize)]
struct ScanResult {
    shape: [usize; 3],
    detected_voxels: usize,
    vertebrae: Vec<Found>,
    #[serde(flatten)]
    comparison: Comparison,
    average: f64,
    seconds: f64,
}

#[derive(Serialize)]
struct Found {
    label: String,
    voxels: usize,
    mm: [f64; 3],
    #[serde(flatten)]
    certainty: Option<Certainty>,
}

/// What only a sequence knows.
#[derive(Serialize)]
struct Certainty {
    confidence: f64,
    alternatives: Vec<(Level, f64)>,
    flags: Vec<Flag>,
}

/// A network, ready.
struct Network {
    predictor: Box<dyn Predictor>,
    /// What it is given, if it sees whole volumes.
    input: Option<Input>,
}

impl Network {
    fn new(device: &Device, path: &Path, stage: Kind) -> Result<Network> {
        let weights = Weights::read(path, stage)?;
        Ok(Network { predictor: device.predictor(&weights)?, input: weights.input })
    }

    /// The answer for a whole volume, of a network that gives one.
    fn answer(&self, volume: &Volume) -> Result<Option<Field>> {
        self.input.map(|input| answer(volume, self.predictor.as_ref(), &input)).transpose()
    }
}

#[derive(Serialize)]
struct Figures {
    all: Tally,
    cervical: Tally,
    thoracic: Tally,
    lumbar: Tally,
}

impl Measure {
    pub fn run(self) -> Result<()> {
        let tiling = Tiling::of(self.sample_size, [16; 3])?;
        let device = self.computing.device();
        let networks = [
            Network::new(&device, &self.detection_model, Kind::Detection)?,
            Network::new(&device, &self.identification_model, Kind::Identification)?,
        ];
        let scans = scan::find(&self.dataset)?;
        let progress = Progress::on_stderr();
        let mut text = MeasureText::new(std::io::stdout());
        text.models(&self.detection_model, &self.identification_model)?;
        let (mut summary, mut failures, mut entries) = (Summary::default(), Failures::default(), Vec::new());
        let mut cases = Vec::new();
        for (number, path) in scans.iter().enumerate() {
            let mut entry = ScanEntry { number, path: path.clone(), error: None, result: None };
            match self.scan(number, path, &tiling, &networks, &mut text, &progress) {
                Ok((result, case)) => {
                    summary.add(&result.comparison);
                    cases.push(case);
                    entry.result = Some(result);
                }
                Err(error) => {
                    progress.warn(&format!("error: {error:#}"));
                    entry.error = Some(format!("{error:#}"));
                    failures.add(path, error);
                }
            }
            entries.push(entry);
        }
        progress.clear();
        text.summary(&summary)?;
        report::boxplot(&self.plots.join("boxplot.png"), &summary.distances())?;
        if let Some(path) = &self.json {
            artifact::write_json(path, &self.document(entries, &summary, device))?;
        }
        if let Some(path) = &self.accuracy {
            let tables = accuracy::tables(&cases, self.reach);
            artifact::write(path, |out| Ok(out.write_all(tables.as_bytes())?))?;
        }
        failures.into_result(scans.len())
    }

    fn scan(
        &self,
        number: usize,
        path: &Path,
        tiling: &Tiling,
        [detector, identifier]: &[Network; 2],
        text: &mut MeasureText<std::io::Stdout>,
        progress: &Progress,
    ) -> Result<(ScanResult, Case)> {
        let begin = Instant::now();
        let spacing = self.reading.spacing;
        let Annotated { scan, centroids, stored } = self.reading.annotated(path)?;
        let frame = scan.frame.clone();
        progress.aside(|| text.scan(number, path))?;
        let (found, named) = (detector.answer(&scan.volume)?, identifier.answer(&scan.volume)?);
        let (volume, scale) = scan.normalised(spacing);
        let shape = volume.dim().into();
        let (detector, identifier) = (detector.predictor.as_ref(), identifier.predictor.as_ref());
        let plan = self.cutting.plan(&volume, scale, *tiling, [detector, identifier]);
        progress.aside(|| text.detection_begins(&plan.tiling, shape))?;
        let mask = match &found {
            Some(field) => field.mask(shape, spacing),
            None => detect(&volume, detector, &plan, progress)?,
        };
        progress.aside(|| text.detection_ends().and_then(|()| text.identification_begins()))?;
        let mut levels = match &named {
            Some(field) => field.levels(shape, spacing),
            None => identify(&volume, &mask, identifier, self.cutting.slices(spacing), progress)?,
        };
        levels.zip_mut_with(&mask, |level, &inside| *level *= inside);
        progress.clear();
        text.aggregation_begins()?;
        let (mut vertebrae, certainties) = match (self.decode, &named) {
            (Decode::Median, _) => {
                let thresholds = Thresholds { diameter_share: self.diameter_share, least: self.least_volume };
                (by_median(&levels, spacing, &thresholds), Vec::new())
            }
            // A network of whole volumes parts the bodies itself.
            (Decode::Sequence, Some(names)) => {
                self.sequence(bodies::candidates(found.as_ref().unwrap_or(names), names))
            }
            (Decode::Sequence, None) => self.sequence(runs::candidates(&levels, spacing)),
        };
        let in_lps: Vec<Centroid> = vertebrae.iter().map(Vertebra::centroid).collect();
        report::sagittal(&self.picture(path), &volume, spacing, &centroids, &in_lps)?;

        // What is printed and compared stays in the scan's own frame.
        for vertebra in &mut vertebrae {
            vertebra.mm = frame.to_stored(vertebra.mm).map(vertebrae::decoding::hundredth);
        }
        let found: Vec<Centroid> = vertebrae.iter().map(Vertebra::centroid).collect();
        let comparison = compare(&stored, &found, self.reach);
        text.result(&vertebrae, &comparison)?;
        let distances: Vec<f64> = comparison.offsets.iter().map(|offset| offset.distance).collect();
        let result = ScanResult {
            shape,
            detected_voxels: mask.iter().filter(|&&value| value > 0).count(),
            vertebrae: vertebrae
                .iter()
                .zip(certainties.into_iter().map(Some).chain(std::iter::repeat_with(|| None)))
                .map(|(vertebra, certainty)| Found {
                    certainty,
                    label: vertebra.level.to_string(),
                    voxels: vertebra.voxels,
                    mm: vertebra.mm,
                })
                .collect(),
            comparison,
            average: numpy_mean(&distances),
            seconds: begin.elapsed().as_secs_f64(),
        };
        Ok((result, Case { name: scan::name(path), annotated: stored, found }))
    }

    /// The most likely sequence over candidate bodies, and how sure each label is.
    fn sequence(&self, mut candidates: Vec<Candidate>) -> (Vec<Vertebra>, Vec<Certainty>) {
        let named = candidate::name(&mut candidates);
        let voxel = self.reading.spacing.powi(3);
        named
            .into_iter()
            .map(|named| {
                let voxels = (candidates[named.body].volume / voxel).round() as usize;
                let mm = named.mm.map(vertebrae::decoding::hundredth);
                let certainty = Certainty {
                    confidence: named.confidence,
                    alternatives: named.alternatives,
                    flags: named.flags,
                };
                (Vertebra { level: named.level, mm, voxels }, certainty)
            })
            .unzip()
    }

    /// Where a scan's picture goes: named like the scan, in the subfolder the scan lies in.
    fn picture(&self, path: &Path) -> PathBuf {
        let inside = path.strip_prefix(&self.dataset).unwrap_or(path).with_file_name("");
        self.plots.join(inside).join(format!("{}.png", scan::name(path)))
    }

    fn document(&self, scans: Vec<ScanEntry>, summary: &Summary, device: Device) -> Document {
        Document {
            vertebrae: env!("CARGO_PKG_VERSION"),
            detection_model: self.detection_model.clone(),
            identification_model: self.identification_model.clone(),
            device: device.to_string(),
            spacing: self.reading.spacing,
            scans,
            summary: Figures {
                all: summary.all(),
                cervical: summary.region(Region::Cervical),
                thoracic: summary.region(Region::Thoracic),
                lumbar: summary.region(Region::Lumbar),
            },
        }
    }
}
