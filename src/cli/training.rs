//! What both training subcommands share.

use super::stdout::say;
use std::path::{Path, PathBuf};

use anyhow::{Result, ensure};
use burn::tensor::backend::AutodiffBackend;
use clap::Args;

use super::bar::Progress;
use super::options::{Precise, at_least_one, not_negative, positive, share, size};
use crate::device::{self, Task};
use crate::kernels::KernelBackend;
use crate::learning::{Checkpoint, Examples, Objective, Options, Samples, Use, Volumes, train};
use crate::network::{Architecture, Input, Kind, Weights, Windows, weights::Format};
use crate::sampling::record::Record;

#[derive(Args)]
pub struct Training {
    /// Folder of the samples (of the annotated scans for --arch volume) to learn from
    training: PathBuf,
    /// Folder of those to check with after every epoch
    testing: PathBuf,
    /// Model to write (.safetensors or Keras's .h5)
    model: PathBuf,
    /// Store the model's kernels in half precision: half the size, the same answers to three digits
    #[arg(long)]
    half: bool,
    /// Learning rate of Adam
    #[arg(long, default_value = "0.001", value_parser = positive)]
    learning_rate: f64,
    /// Divide the learning rate by 1 + this, times the number of steps taken
    #[arg(long, default_value = "0.000001", value_parser = not_negative)]
    decay: f64,
    /// Share of batch normalisation's running statistics that a batch leaves in place; closer to 1
    /// is steadier where batches are small
    #[arg(long, default_value = "0.1", value_parser = share)]
    momentum: f64,
    /// Epochs at the end in which batches are normalised with the running statistics, as the finished
    /// network will do; where batches are small, the two differ
    #[arg(long, value_name = "EPOCHS", default_value = "0")]
    frozen: usize,
    /// Seed of the first weights and of the order of samples
    #[arg(long, default_value = "1")]
    seed: u32,
    /// Epochs from one checkpoint to the next
    #[arg(long, value_name = "EPOCHS", default_value = "3", value_parser = at_least_one)]
    checkpoint_every: usize,
    /// Folder of the checkpoints
    #[arg(long, value_name = "DIR", default_value = "checkpoints")]
    checkpoints: PathBuf,
    /// Folder of the TensorBoard logs
    #[arg(long, value_name = "DIR", default_value = "logs")]
    logs: PathBuf,
    /// Continue from this checkpoint as if never stopped
    #[arg(long, value_name = "CHECKPOINT")]
    resume: Option<PathBuf>,
    /// Begin with the weights of this model instead of random ones; a volume network's voxels may have
    /// had another size
    #[arg(long, value_name = "MODEL", conflicts_with = "resume")]
    start: Option<PathBuf>,
    #[command(flatten)]
    computing: Precise,
}

/// Options of a network of whole volumes.
#[derive(Args)]
pub struct Whole {
    /// Voxels in mm of a volume network [default: 4 for detection, 6 for identification]
    #[arg(long, value_name = "MM", value_parser = positive)]
    voxel: Option<f64>,
    /// Voxels that a volume network sees at once while training [default: 48x64x96, 32x48x64 for
    /// identification]
    #[arg(long, value_name = "XxYxZ", value_parser = size::<3>)]
    patch: Option<[usize; 3]>,
    /// Patches an epoch, for a volume network
    #[arg(long, value_name = "N", default_value = "200", value_parser = at_least_one)]
    patches: usize,
}

impl Whole {
    /// Where the examples come from, with these voxels and patches unless others are asked for.
    pub fn examples(&self, voxel: f64, patch: [usize; 3]) -> Origin {
        Origin::Scans {
            input: Windows { spacing: self.voxel.unwrap_or(voxel), ..Windows::DEFAULT },
            patch: self.patch.unwrap_or(patch),
            patches: self.patches,
        }
    }
}

/// What differs between the two networks' trainings.
pub struct Recipe {
    pub objective: Objective,
    pub filters: usize,
    pub epochs: usize,
    pub batch_size: usize,
    pub initial_output: f32,
    pub examples: Origin,
}

/// Where examples come from.
#[derive(Clone, Copy)]
pub enum Origin {
    /// Samples that a generating subcommand has written.
    Samples,
    /// Annotated scans: so many patches of this size an epoch.
    Scans { input: Windows, patch: [usize; 3], patches: usize },
}

/// A training on whatever backend is chosen.
struct Run<'a> {
    options: &'a Options,
    training: &'a dyn Examples,
    validation: &'a dyn Examples,
    resumed: Option<Checkpoint>,
}

impl Task for Run<'_> {
    type Output = Result<Weights>;

    fn run<B>(self, device: B::Device) -> Self::Output
    where
        B: AutodiffBackend<InnerBackend: KernelBackend> + KernelBackend,
    {
        let progress = Progress::on_stderr();
        train::<B>(
            self.options,
            self.training,
            self.validation,
            self.resumed,
            &device,
            &mut &progress,
            |epoch| {
                say!("{epoch}");
                Ok(())
            },
        )
    }
}

impl Training {
    /// The options that a checkpoint is held to beside those it names itself.
    fn recipe(&self, examples: Origin, input: Input, initial_output: f32) -> String {
        let mut recipe = format!("--frozen {}", self.frozen);
        match examples {
            Origin::Samples => {
                recipe += &format!(" (first output {initial_output}");
                if let Input::Normalised { spacing: Some(spacing) } = input {
                    recipe += &format!(", voxels of {spacing} mm");
                }
                recipe += ")";
            }
            Origin::Scans { input, patch: [x, y, z], patches } => {
                recipe += &format!(" --voxel {} --patch {x}x{y}x{z} --patches {patches}", input.spacing);
            }
        }
        recipe
    }

    /// Voxels of the samples to learn from and to check with in mm, if they say.
    fn spacing(&self) -> Result<Option<f64>> {
        let [training, testing] = [&self.training, &self.testing].map(|folder| Record::read(folder));
        let [training, testing] = [training?, testing?].map(|record| record.map(|record| record.spacing));
        if let (Some(ours), Some(theirs)) = (training, testing) {
            ensure!(
                ours == theirs,
                "{} holds samples with voxels of {ours} mm, {} of {theirs} mm; generate both with one --spacing",
                self.training.display(),
                self.testing.display()
            );
        }
        Ok(training.or(testing))
    }

    pub fn run(&self, network: Recipe) -> Result<()> {
        let Recipe { objective, filters, epochs, batch_size, initial_output, examples } = network;
        let kind = objective.kind();
        // A name that cannot be written should not be found out after hours of training.
        let format = Format::of(&self.model)?;
        ensure!(
            format == Format::Safetensors || !(self.half || kind == Kind::Volume),
            "{} cannot hold {}; end its name in .safetensors",
            self.model.display(),
            if self.half { "half precision" } else { "a volume network" }
        );
        let start = self.start.as_deref().map(|path| Weights::read(path, kind)).transpose()?;
        if let (Some(start), Some(path)) = (&start, &self.start) {
            let Architecture { kind: found, filters: width } = start.architecture;
            ensure!(
                found == kind && width == filters,
                "{} is a {found} network of {width} filters; a {kind} network of {filters} is trained here",
                path.display()
            );
        }
        let find = |folder: &Path, purpose: fn(usize) -> Use| -> Result<Box<dyn Examples>> {
            Ok(match examples {
                Origin::Samples => Box::new(Samples::find(folder, kind)?),
                Origin::Scans { input, patch, patches } => {
                    Box::new(Volumes::read(folder, input, patch, purpose(patches))?)
                }
            })
        };
        let training = find(&self.training, Use::Altered)?;
        let validation = find(&self.testing, |_| Use::Plain)?;
        let input = match examples {
            Origin::Scans { input, .. } => Input::Windows(input),
            Origin::Samples => Input::Normalised { spacing: self.spacing()? },
        };
        let resumed = self.resume.as_deref().map(|path| Checkpoint::read(path, kind)).transpose()?;
        let device = self.computing.device()?;
        let now = jiff::Zoned::now().strftime("%Y-%m-%d-%H:%M");
        let options = Options {
            objective,
            filters,
            epochs,
            batch_size,
            learning_rate: self.learning_rate,
            decay: self.decay,
            momentum: self.momentum,
            initial_output,
            input,
            start,
            frozen: self.frozen,
            recipe: self.recipe(examples, input, initial_output),
            isa: device.isa(),
            seed: self.seed,
            checkpoint_every: self.checkpoint_every,
            checkpoints: self.checkpoints.clone(),
            logs: self.logs.join(format!("{kind}-{now}")),
        };
        say!(
            "training the {kind} network ({filters} filters) on {} samples, checking with {}",
            training.count(),
            validation.count()
        );
        let task = Run { options: &options, training: &*training, validation: &*validation, resumed };
        let weights = device.run(task).map_err(|error| match batch_size {
            2.. if matches!(error, device::Error::OutOfMemory(_)) => anyhow::Error::new(error).context(
                format!("--batch-size {batch_size} is too much for {device}; try {}", batch_size / 2),
            ),
            _ => error.into(),
        })??;
        match self.half {
            true => weights.write_half(&self.model)?,
            false => weights.write(&self.model)?,
        }
        say!("saved {}", self.model.display());
        Ok(())
    }
}
