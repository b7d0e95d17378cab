//! `train-bodies` and `train-names`: the networks that read a straightened spine.

use super::stdout::say;
use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use burn::tensor::backend::AutodiffBackend;
use clap::Args;

use super::bar::Progress;
use super::options::{Precise, at_least_one, not_negative, positive};
use crate::device::Task;
use crate::kernels::KernelBackend;
use crate::learning::strip::{
    BodyLesson, Lesson, NameLesson, Sources, State, StripCheckpoint, StripOptions, train_strip,
};
use crate::network::StripWeights;
use crate::network::weights::{Format, Precision};
use crate::spine::{BODIES_SPACING, NAMES_SPACING};

#[derive(Args)]
struct Training {
    /// Folder of the annotated scans to learn from, searched recursively
    training: PathBuf,
    /// Folder of those to check with after every epoch
    testing: PathBuf,
    /// Model to write (.safetensors)
    model: PathBuf,
    /// How often a folder is drawn from, by the name of the folder that directly holds scans, such as
    /// phantoms=0.15; the others share what is left equally
    #[arg(long, value_name = "FOLDER=PART", value_delimiter = ',', value_parser = part)]
    share: Vec<(String, f64)>,
    /// Store the model's kernels in half precision: half the size, the same answers to three digits
    #[arg(long)]
    half: bool,
    /// Epochs
    #[arg(long, default_value = "14", value_parser = at_least_one)]
    epochs: usize,
    /// Steps of an epoch
    #[arg(long, default_value = "250", value_parser = at_least_one)]
    steps: usize,
    /// Spines a step
    #[arg(long, default_value = "8", value_parser = at_least_one)]
    batch_size: usize,
    /// Highest learning rate; it rises for 100 steps and then falls as a cosine
    #[arg(long, default_value = "0.002", value_parser = positive)]
    learning_rate: f64,
    /// Share of each weight, times the learning rate, that is taken away at every step
    #[arg(long, default_value = "0.03", value_parser = not_negative)]
    weight_decay: f64,
    /// Seed of the first weights and of the examples
    #[arg(long, default_value = "1")]
    seed: u32,
    /// Folder of the checkpoints, one after every epoch
    #[arg(long, value_name = "DIR", default_value = "checkpoints")]
    checkpoints: PathBuf,
    /// Folder of the TensorBoard logs
    #[arg(long, value_name = "DIR", default_value = "logs")]
    logs: PathBuf,
    /// Continue from this checkpoint as if never stopped
    #[arg(long, value_name = "CHECKPOINT")]
    resume: Option<PathBuf>,
    /// Begin with the weights of this model instead of random ones
    #[arg(long, value_name = "MODEL", conflicts_with = "resume")]
    start: Option<PathBuf>,
    #[command(flatten)]
    computing: Precise,
}

#[derive(Args)]
pub struct TrainBodies {
    #[command(flatten)]
    training: Training,
}

#[derive(Args)]
pub struct TrainNames {
    #[command(flatten)]
    training: Training,
    /// Teach the network that sees the whole spine and the organs, instead of the one that sees the bones around each body
    #[arg(long)]
    whole: bool,
}

impl TrainBodies {
    pub fn run(self) -> Result<()> {
        let training = self.training;
        let [training_scans, testing] = training.scans(BODIES_SPACING)?;
        let examples = training_scans.lineage();
        training.run(BodyLesson { training: training_scans, testing }, examples)
    }
}

impl TrainNames {
    pub fn run(self) -> Result<()> {
        let training = self.training;
        let [training_scans, testing] = training.scans(NAMES_SPACING)?;
        let examples = training_scans.lineage();
        training.run(NameLesson { training: training_scans, testing, whole: self.whole }, examples)
    }
}

/// `phantoms=0.15` → the folder and its part.
fn part(text: &str) -> Result<(String, f64), String> {
    let wrong = || "a folder and a part of 1 are needed, such as phantoms=0.15".to_owned();
    let (name, part) = text.split_once('=').ok_or_else(wrong)?;
    let part: f64 = part.parse().map_err(|_| wrong())?;
    if (0.0..=1.0).contains(&part) && !name.is_empty() { Ok((name.to_owned(), part)) } else { Err(wrong()) }
}

/// A training on whatever backend is chosen.
struct Run<'a, L> {
    options: &'a StripOptions,
    lesson: &'a L,
    resumed: Option<StripCheckpoint>,
}

impl<L: Lesson> Task for Run<'_, L> {
    type Output = Result<StripWeights>;

    fn run<B>(self, device: B::Device) -> Self::Output
    where
        B: AutodiffBackend<InnerBackend: KernelBackend> + KernelBackend,
    {
        let progress = Progress::on_stderr();
        train_strip::<B, L>(self.options, self.lesson, self.resumed, &device, &mut &progress, |epoch| {
            say!("{epoch}");
            Ok(())
        })
    }
}

impl Training {
    fn scans(&self, spacing: f64) -> Result<[Sources; 2]> {
        // A name that cannot be written should not be found out after hours of training.
        let format = Format::of(&self.model)?;
        ensure!(
            format == Format::Safetensors,
            "{} cannot hold this network; end its name in .safetensors",
            self.model.display()
        );
        Ok([
            Sources::read(&self.training, spacing, &self.share)?,
            Sources::read(&self.testing, spacing, &[]).context("the scans to check with")?,
        ])
    }

    fn run<L: Lesson>(self, lesson: L, examples: String) -> Result<()> {
        let reading = lesson.architecture().reading;
        let resumed = self.resume.as_deref().map(|path| StripCheckpoint::read(path, reading)).transpose()?;
        let device = self.computing.device()?;
        let now = jiff::Zoned::now().strftime("%Y-%m-%d-%H:%M");
        let options = StripOptions {
            state: State {
                epochs: self.epochs,
                steps: self.steps,
                batch_size: self.batch_size,
                learning_rate: self.learning_rate,
                weight_decay: self.weight_decay,
                seed: self.seed,
                examples,
                bf16: false,
                epoch: 0,
            },
            start: self.start.as_deref().map(|path| StripWeights::read(path, reading)).transpose()?,
            isa: device.isa(),
            checkpoints: self.checkpoints,
            logs: self.logs.join(format!("{reading}-{now}")),
        };
        say!(
            "training the network of {reading}: {} weights, {} epochs of {} steps of {} spines",
            lesson.architecture().parameters(),
            self.epochs,
            self.steps,
            self.batch_size
        );
        let task = Run { options: &options, lesson: &lesson, resumed };
        let weights = device.run(task)??;
        weights.write(&self.model, if self.half { Precision::Half } else { Precision::Single })?;
        say!("saved {}", self.model.display());
        Ok(())
    }
}
