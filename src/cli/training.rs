//! What both training subcommands share.

use std::path::PathBuf;

use anyhow::Result;
use burn::tensor::backend::AutodiffBackend;
use clap::Args;

use super::options::{Computing, at_least_one, not_negative, positive, share};
use vertebrae::device::Task;
use vertebrae::kernels::KernelBackend;
use vertebrae::learning::{Checkpoint, Objective, Options, Samples, train};
use vertebrae::network::{Weights, weights::Format};
use vertebrae::progress::Progress;

#[derive(Args)]
pub struct Training {
    /// Folder of the samples to learn from
    training: PathBuf,
    /// Folder of the samples to check with after every epoch
    testing: PathBuf,
    /// Model to write (.safetensors or Keras's .h5)
    model: PathBuf,
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
    #[command(flatten)]
    computing: Computing,
}

/// What differs between the two networks' trainings.
pub struct Recipe {
    pub objective: Objective,
    pub filters: usize,
    pub epochs: usize,
    pub batch_size: usize,
    pub initial_output: f32,
}

/// A training on whatever backend is chosen.
struct Run<'a> {
    options: &'a Options,
    training: &'a Samples,
    validation: &'a Samples,
    resumed: Option<Checkpoint>,
}

impl Task for Run<'_> {
    type Output = Result<Weights>;

    fn run<B>(self, device: B::Device) -> Self::Output
    where
        B: AutodiffBackend<InnerBackend: KernelBackend> + KernelBackend,
    {
        let progress = Progress::on_stderr();
        train::<B>(self.options, self.training, self.validation, self.resumed, &device, &progress, |epoch| {
            println!("{epoch}");
            Ok(())
        })
    }
}

impl Training {
    pub fn run(&self, network: Recipe) -> Result<()> {
        let Recipe { objective, filters, epochs, batch_size, initial_output } = network;
        let kind = objective.kind();
        // A name without a known ending should not be found out after hours of training.
        Format::of(&self.model)?;
        let training = Samples::find(&self.training, kind)?;
        let validation = Samples::find(&self.testing, kind)?;
        let resumed = self.resume.as_deref().map(|path| Checkpoint::read(path, kind)).transpose()?;
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
            seed: self.seed,
            checkpoint_every: self.checkpoint_every,
            checkpoints: self.checkpoints.clone(),
            logs: self.logs.join(format!("{kind}-{now}")),
        };
        println!(
            "training the {kind} network ({filters} filters) on {} samples, checking with {}",
            training.len(),
            validation.len()
        );
        let task = Run { options: &options, training: &training, validation: &validation, resumed };
        let device = self.computing.device();
        let weights = device.run(task).map_err(|error| match batch_size {
            2.. if error.to_string().contains("memory is full") => error.context(format!(
                "--batch-size {batch_size} is too much for {device}; try {}",
                batch_size / 2
            )),
            _ => error,
        })??;
        weights.write(&self.model)?;
        println!("saved {}", self.model.display());
        Ok(())
    }
}
