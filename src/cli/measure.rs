//! `measure`: both networks on annotated scans, and how well they did (docs/original.md §8).

use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Result, ensure};
use clap::{Args, ValueEnum};
use serde::Serialize;

use super::bar::Progress;
use super::options::{Cutting, Precise, Reading, not_negative, positive, size};
use crate::analysis::{Analysis, Certainty, Decode, Found, Settings, analyse};
use crate::anatomy::Region;
use crate::annotation::{Annotated, Centroid};
use crate::batch::Failures;
use crate::decoding::{Thresholds, Vertebra};
use crate::device::Device;
use crate::evaluation::{Comparison, REACH, Summary, Tally, compare, numpy_mean};
use crate::inference::network::Network;
use crate::inference::tiling::Tiling;
use crate::network::Input;
use crate::progress::{Observer, Stage};
use crate::report::{self, MeasureText};
use crate::{artifact, scan};

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
    /// Folder for the box plot and a picture of each scan
    #[arg(long, value_name = "DIR", default_value = "plots")]
    plots: PathBuf,
    /// Size of exact detection patches in voxels; the middle half of each is kept
    #[arg(long, value_name = "XxYxZ", default_value = "64x64x80", value_parser = size::<3>)]
    sample_size: [usize; 3],
    /// How voxels become vertebrae
    #[arg(long, value_enum, default_value = "median")]
    decode: Way,
    /// A label needs more mm³ than this share of its vertebra's diameter cubed
    #[arg(long, value_name = "SHARE", default_value = "0.4", value_parser = not_negative)]
    diameter_share: f64,
    /// A label needs more mm³ than this
    #[arg(long, value_name = "MM3", default_value = "3000", value_parser = not_negative)]
    least_volume: f64,
    /// An annotated vertebra is matched to the closest found one within this many mm
    #[arg(long, value_name = "MM", default_value_t = REACH, value_parser = positive)]
    reach: f64,
    /// Resample scans to voxels of this many mm [default: what the networks were taught with, or 1 where they
    /// do not say]
    #[arg(long, value_name = "MM", value_parser = positive)]
    spacing: Option<f64>,
    #[command(flatten)]
    cutting: Cutting,
    #[command(flatten)]
    reading: Reading,
    #[command(flatten)]
    applying: Precise,
}

/// How voxels become vertebrae.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Way {
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
    annotated: Vec<Centroid>,
    vertebrae: Vec<FoundEntry>,
    #[serde(flatten)]
    comparison: Comparison,
    average: f64,
    seconds: f64,
}

#[derive(Serialize)]
struct FoundEntry {
    label: String,
    voxels: usize,
    mm: [f64; 3],
    #[serde(flatten)]
    certainty: Option<Certainty>,
}

#[derive(Serialize)]
struct Figures {
    all: Tally,
    cervical: Tally,
    thoracic: Tally,
    lumbar: Tally,
}

/// The original's lines, and a bar between them.
struct Watch<'a> {
    text: &'a mut MeasureText<std::io::Stdout>,
    progress: &'a Progress,
}

impl Observer for Watch<'_> {
    fn begins(&mut self, stage: Stage, steps: usize) -> Result<()> {
        self.progress.clear();
        self.text.stage(&stage)?;
        self.progress.begins(stage, steps)
    }

    fn advances(&mut self, steps: usize) {
        self.progress.advance(steps);
    }
}

impl Measure {
    pub fn run(self) -> Result<()> {
        let tiling = Tiling::of(self.sample_size, [16; 3])?;
        let device = self.applying.device()?;
        let networks = Network::read_both([&self.detection_model, &self.identification_model], device)?;
        let spacing = self.spacing(&networks)?;
        let settings = Settings {
            spacing,
            cutting: self.cutting.cutting(tiling),
            decode: match self.decode {
                Way::Sequence => Decode::Sequence,
                Way::Median => Decode::Median(Thresholds {
                    diameter_share: self.diameter_share,
                    least: self.least_volume,
                }),
            },
        };
        let scans = scan::find(&self.dataset)?;
        let progress = Progress::on_stderr();
        let mut text = MeasureText::new(std::io::stdout());
        text.models(&self.detection_model, &self.identification_model)?;
        let (mut summary, mut failures, mut entries) = (Summary::default(), Failures::default(), Vec::new());
        for (number, path) in scans.iter().enumerate() {
            let mut entry = ScanEntry { number, path: path.clone(), error: None, result: None };
            match self.scan(number, path, &settings, &networks, &mut text, &progress) {
                Ok(result) => {
                    summary.add(&result.comparison);
                    entry.result = Some(result);
                }
                Err(error) => {
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
            artifact::write_json(path, &self.document(entries, &summary, spacing, device))?;
        }
        failures.into_result(scans.len())
    }

    /// Voxels in mm of the volumes that the networks are given.
    fn spacing(&self, networks: &[Network; 2]) -> Result<f64> {
        let mut wanted = self.spacing;
        for (network, path) in networks.iter().zip([&self.detection_model, &self.identification_model]) {
            let Input::Normalised { spacing: Some(taught) } = network.input else { continue };
            let spacing = *wanted.get_or_insert(taught);
            ensure!(
                spacing == taught,
                "{} was taught with voxels of {taught} mm and cannot be given ones of {spacing} mm",
                path.display()
            );
        }
        Ok(wanted.unwrap_or(1.0))
    }

    fn scan(
        &self,
        number: usize,
        path: &Path,
        settings: &Settings,
        networks: &[Network; 2],
        text: &mut MeasureText<std::io::Stdout>,
        progress: &Progress,
    ) -> Result<ScanResult> {
        let begin = Instant::now();
        let Annotated { scan, centroids, stored } = self.reading.annotated(path)?;
        let frame = scan.frame.clone();
        progress.aside(|| text.scan(number, path))?;
        let Analysis { volume, grid, counted_from, detected_voxels, found, .. } =
            analyse(scan, networks, settings, &mut Watch { text, progress })?;
        progress.clear();
        let in_scan = |found: &Found| {
            let centroid = found.vertebra.centroid();
            Centroid { mm: std::array::from_fn(|axis| centroid.mm[axis] + counted_from[axis]), ..centroid }
        };
        let in_lps: Vec<Centroid> = found.iter().map(in_scan).collect();
        report::sagittal(&self.picture(path), &volume, &grid, &centroids, &in_lps)?;

        // What is printed and compared stays in the scan's own frame.
        let (vertebrae, certainties): (Vec<Vertebra>, Vec<Option<Certainty>>) = found
            .into_iter()
            .map(|Found { vertebra, certainty }| {
                let mm = frame.to_stored(vertebra.mm).map(crate::decoding::hundredth);
                (Vertebra { mm, ..vertebra }, certainty)
            })
            .unzip();
        let found: Vec<Centroid> = vertebrae.iter().map(Vertebra::centroid).collect();
        let comparison = compare(&stored, &found, self.reach);
        text.result(&vertebrae, &comparison)?;
        let distances: Vec<f64> = comparison.offsets.iter().map(|offset| offset.distance).collect();
        Ok(ScanResult {
            shape: volume.dim().into(),
            detected_voxels,
            annotated: stored,
            vertebrae: vertebrae
                .iter()
                .zip(certainties)
                .map(|(vertebra, certainty)| FoundEntry {
                    certainty,
                    label: vertebra.level.to_string(),
                    voxels: vertebra.voxels,
                    mm: vertebra.mm,
                })
                .collect(),
            comparison,
            average: numpy_mean(&distances),
            seconds: begin.elapsed().as_secs_f64(),
        })
    }

    /// Where a scan's picture goes: named like the scan, in the subfolder the scan lies in.
    fn picture(&self, path: &Path) -> PathBuf {
        let inside = path.strip_prefix(&self.dataset).unwrap_or(path).with_file_name("");
        self.plots.join(inside).join(format!("{}.png", scan::name(path)))
    }

    fn document(&self, scans: Vec<ScanEntry>, summary: &Summary, spacing: f64, device: Device) -> Document {
        Document {
            vertebrae: env!("CARGO_PKG_VERSION"),
            detection_model: self.detection_model.clone(),
            identification_model: self.identification_model.clone(),
            device: device.to_string(),
            spacing,
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
