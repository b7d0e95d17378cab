//! The training loop.

use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Result, ensure};
use burn::module::AutodiffModule;
use burn::tensor::backend::AutodiffBackend;

use super::adam::Adam;
use super::batches::{Batch, Examples};
use super::centring::centre;
use super::checkpoint::{Checkpoint, State};
use super::learner::{Learner, scalar, tensors};
use super::metrics::Scores;
use super::objective::Objective;
use super::tensorboard::ScalarLog;
use crate::kernels::KernelBackend;
use crate::kernels::isa::Isa;
use crate::network::{Architecture, Input, Kind, Weights};
use crate::progress::{Observer, Stage};

/// How a network is trained.
#[derive(Clone, Debug)]
pub struct Options {
    /// Loss and scores.
    pub objective: Objective,
    /// Channels of the network's first level.
    pub filters: usize,
    /// Times every sample is seen.
    pub epochs: usize,
    /// Samples a step.
    pub batch_size: usize,
    /// Learning rate before decay.
    pub learning_rate: f64,
    /// The learning rate is divided by 1 + decay · step.
    pub decay: f64,
    /// Share of the running statistics of batch normalisation that a batch leaves in place.
    pub momentum: f64,
    /// What the untrained network answers: the first bias of its output.
    pub initial_output: f32,
    /// What the network is given.
    pub input: Input,
    /// Weights to begin with instead of random ones.
    pub start: Option<Weights>,
    /// Epochs at the end in which the running statistics stand in for the batch's.
    pub frozen: usize,
    /// Everything else that decides the weights, as it was asked for: a checkpoint of another recipe is not
    /// continued.
    pub recipe: String,
    /// Seed of the first weights and of the order of samples.
    pub seed: u32,
    /// What the processor computes convolutions with; bfloat16 is part of the recipe.
    pub isa: Isa,
    /// Epochs from one checkpoint to the next.
    pub checkpoint_every: usize,
    /// Folder of the checkpoints.
    pub checkpoints: PathBuf,
    /// Folder of this training's event files.
    pub logs: PathBuf,
}

/// One epoch's figures, the loss first.
#[derive(Clone, Debug)]
pub struct Epoch {
    /// Its number, from 1.
    pub number: usize,
    /// Means over the training batches.
    pub training: Scores,
    /// Means over the other samples, after the epoch.
    pub validation: Scores,
    /// How long it took.
    pub seconds: f64,
}

impl Options {
    fn state(&self, epoch: usize, step: u64, examples: &str) -> State {
        State {
            epoch,
            step,
            seed: self.seed,
            batch_size: self.batch_size,
            learning_rate: self.learning_rate,
            decay: self.decay,
            momentum: self.momentum,
            objective: self.objective,
            recipe: self.recipe.clone() + if self.isa.is_bf16() { " --precision bf16" } else { "" },
            examples: examples.to_owned(),
        }
    }

    /// Refuses to continue a training that was begun with other options.
    fn check(&self, checkpoint: &Checkpoint, examples: &str) -> Result<()> {
        let state = &checkpoint.state;
        let filters = checkpoint.weights.architecture.filters;
        ensure!(
            *state == self.state(state.epoch, state.step, examples) && filters == self.filters,
            "the checkpoint was made with --filters {filters} --batch-size {} --learning-rate {} --decay {} --momentum {} \
             --seed {} {}, the loss {} and {} samples; pass the same options and samples to continue it",
            state.batch_size,
            state.learning_rate,
            state.decay,
            state.momentum,
            state.seed,
            state.recipe,
            serde_json::to_string(&state.objective)?,
            if state.examples.is_empty() { "unknown" } else { &state.examples }
        );
        ensure!(
            state.epoch < self.epochs,
            "the checkpoint has {} of {} epochs behind it; ask for more with --epochs",
            state.epoch,
            self.epochs
        );
        Ok(())
    }
}

/// Trains a network, from `resumed` on if given, and returns its weights.
///
/// `report` is called after every epoch. Interrupted and resumed or not, the same options give the
/// same weights on the same machine.
pub fn train<B>(
    options: &Options,
    training: &dyn Examples,
    validation: &dyn Examples,
    resumed: Option<Checkpoint>,
    device: &B::Device,
    observer: &mut dyn Observer,
    mut report: impl FnMut(&Epoch) -> Result<()>,
) -> Result<Weights>
where
    B: AutodiffBackend<InnerBackend: KernelBackend> + KernelBackend,
{
    ensure!(
        training.count() >= options.batch_size,
        "{} holds {} samples, fewer than one batch of {}; generate more or lower --batch-size",
        training.folder().display(),
        training.count(),
        options.batch_size
    );
    let architecture = Architecture { kind: options.objective.kind(), filters: options.filters };
    let examples = training.lineage();
    let fresh = Adam::new(options.learning_rate, options.decay);
    let (weights, adam, done) = match resumed {
        Some(checkpoint) => {
            options.check(&checkpoint, &examples)?;
            let Checkpoint { weights, moments, state } = checkpoint;
            (weights, fresh.resumed(state.step, &moments, device), state.epoch)
        }
        None => {
            let mut weights = options.start.clone().unwrap_or_else(|| {
                let mut weights = Weights::initial(architecture, options.seed);
                if let (true, Some(output)) = (options.initial_output != 0.0, weights.layers.last_mut()) {
                    output.bias.fill(options.initial_output);
                }
                weights
            });
            weights.input = options.input;
            (weights, fresh, 0)
        }
    };
    let input = weights.input;
    let mut learner =
        Learner::<B>::new(&weights, adam, options.objective, options.momentum, options.isa, device);
    let mut logs = [
        ScalarLog::create(&options.logs.join("train"))?,
        ScalarLog::create(&options.logs.join("validation"))?,
    ];

    for number in done + 1..=options.epochs {
        let begin = Instant::now();
        if number + options.frozen > options.epochs {
            learner.freeze();
        }
        let mut sums = Mean::default();
        observer.begins(Stage::Epoch(number), training.count() / options.batch_size)?;
        let order = training.order(options.seed, number);
        training.for_each_batch(&order, options.batch_size, true, &mut |batch| {
            check_granularity(&batch, &architecture, training)?;
            let (value, scores) = learner.step(&batch)?;
            ensure!(value.is_finite(), "the loss became {value} in epoch {number}; lower --learning-rate");
            sums.add(value, &scores, 1.0);
            observer.advances(1);
            observer.remarks(&line(&sums.means()));
            Ok(())
        })?;

        let frozen = learner.model()?.valid();
        let mut unseen = Mean::default();
        observer.begins(Stage::Validation(number), validation.count().div_ceil(options.batch_size))?;
        let all: Vec<usize> = (0..validation.count()).collect();
        validation.for_each_batch(&all, options.batch_size, false, &mut |batch| {
            check_granularity(&batch, &architecture, validation)?;
            let (input, labels) = tensors::<B::InnerBackend>(&batch, device);
            let output = frozen.forward(input);
            let loss = scalar(options.objective.loss(output.clone(), labels.clone()))?;
            unseen.add(loss, &options.objective.scores(output, labels), batch.shape[0] as f64);
            observer.advances(1);
            Ok(())
        })?;
        observer.ends();

        let epoch = Epoch {
            number,
            training: sums.means(),
            validation: unseen.means(),
            seconds: begin.elapsed().as_secs_f64(),
        };
        for (log, scores) in logs.iter_mut().zip([&epoch.training, &epoch.validation]) {
            for (name, value) in scores {
                log.add(&format!("epoch_{name}"), number, *value)?;
            }
        }
        report(&epoch)?;
        if number % options.checkpoint_every == 0 {
            let path = Checkpoint::path(&options.checkpoints, architecture.kind, number);
            let state = options.state(number, learner.adam.step, &examples);
            let weights = learner.model()?.weights(architecture, input);
            Checkpoint { weights, moments: learner.adam.moments(), state }.write(&path)?;
        }
    }
    let mut weights = learner.model()?.weights(architecture, input);
    if architecture.kind == Kind::Volume {
        let order = training.order(options.seed, options.epochs + 1);
        centre(learner.model()?, &mut weights, training, &order, options.batch_size, device)?;
    }
    Ok(weights)
}

/// `loss 0.1234 accuracy 0.98`.
fn line(scores: &Scores) -> String {
    scores.iter().map(|(name, value)| format!("{name} {value:.4}")).collect::<Vec<_>>().join(" ")
}

impl std::fmt::Display for Epoch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "epoch {} {} | validation {} | {:.1} s",
            self.number,
            line(&self.training),
            line(&self.validation),
            self.seconds
        )
    }
}

fn check_granularity(batch: &Batch, architecture: &Architecture, samples: &dyn Examples) -> Result<()> {
    let [_, channels, x, y, z] = batch.shape;
    let fits = [x, y, z].iter().zip(architecture.granularity()).all(|(size, factor)| size % factor == 0);
    ensure!(
        fits && channels == architecture.inputs(),
        "the samples in {} are {channels} x {x} x {y} x {z}; the {} network needs {} channels and extents that are \
         multiples of {:?}",
        samples.folder().display(),
        architecture.kind,
        architecture.inputs(),
        architecture.granularity()
    );
    Ok(())
}

/// A running mean of the loss and the scores.
#[derive(Default)]
struct Mean {
    sums: Scores,
    weight: f64,
}

impl Mean {
    fn add(&mut self, loss: f64, scores: &Scores, weight: f64) {
        let named = std::iter::once(("loss", loss)).chain(scores.iter().copied());
        if self.sums.is_empty() {
            self.sums = named.map(|(name, value)| (name, value * weight)).collect();
        } else {
            for ((_, sum), (_, value)) in self.sums.iter_mut().zip(named) {
                *sum += value * weight;
            }
        }
        self.weight += weight;
    }

    fn means(&self) -> Scores {
        self.sums.iter().map(|(name, sum)| (*name, sum / self.weight)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::learning::DetectionLoss;
    use crate::learning::Samples;
    use crate::sampling::npy;
    use burn::backend::{Autodiff, Flex};
    use ndarray::Array3;
    use std::path::Path;

    fn samples(folder: &Path) -> Samples {
        for number in 1..=3 {
            let (sample, labelling) = npy::paths(folder, "ball", number);
            let ball = |(x, y, z): (usize, usize, usize)| {
                let at = |part: usize| (part as f32 - 6.0 - number as f32).powi(2);
                at(x) + at(y) + at(z) < 16.0
            };
            npy::write(
                &sample,
                &Array3::from_shape_fn((16, 16, 16), |at| if ball(at) { 1.5f32 } else { -0.5 }),
            )
            .unwrap();
            npy::write(&labelling, &Array3::from_shape_fn((16, 16, 16), |at| u8::from(ball(at)))).unwrap();
        }
        Samples::find(folder, Kind::Detection).unwrap()
    }

    fn options(folder: &Path, epochs: usize) -> Options {
        Options {
            objective: Objective::Detection {
                loss: DetectionLoss::WeightedCrossEntropy,
                class_weights: [0.1, 0.9],
            },
            filters: 2,
            epochs,
            batch_size: 1,
            learning_rate: 1e-2,
            decay: 1e-6,
            momentum: 0.1,
            initial_output: 0.0,
            input: Input::Normalised { spacing: Some(1.0) },
            start: None,
            frozen: 0,
            recipe: "--voxel 6".to_owned(),
            seed: 1,
            isa: Isa::detect(),
            checkpoint_every: 2,
            checkpoints: folder.join("checkpoints"),
            logs: folder.join("logs"),
        }
    }

    fn run(options: &Options, samples: &Samples, resumed: Option<Checkpoint>) -> (Weights, Vec<Epoch>) {
        let mut epochs = Vec::new();
        let weights = train::<Autodiff<Flex>>(
            options,
            samples,
            samples,
            resumed,
            &Default::default(),
            &mut (),
            |epoch| {
                epochs.push(epoch.clone());
                Ok(())
            },
        );
        (weights.unwrap(), epochs)
    }

    #[test]
    fn the_loss_falls_and_a_resumed_training_ends_as_if_never_stopped() {
        let folder = tempfile::tempdir().unwrap();
        let samples = samples(folder.path());
        let (weights, epochs) = run(&options(folder.path(), 6), &samples, None);
        assert!(epochs[5].training[0].1 < 0.5 * epochs[0].training[0].1, "{} {}", epochs[0], epochs[5]);
        let path = Checkpoint::path(&folder.path().join("checkpoints"), Kind::Detection, 4);
        let checkpoint = Checkpoint::read(&path, Kind::Detection).unwrap();
        let (resumed, rest) = run(&options(folder.path(), 6), &samples, Some(checkpoint));
        assert_eq!(rest.len(), 2);
        assert_eq!(resumed, weights);
    }

    #[test]
    fn in_bfloat16_a_training_goes_the_same_way() {
        let folder = tempfile::tempdir().unwrap();
        let samples = samples(folder.path());
        let (exact, floats) = run(&options(folder.path(), 6), &samples, None);
        for isa in Isa::all_bf16() {
            let (weights, halves) = run(&Options { isa, ..options(folder.path(), 6) }, &samples, None);
            assert_ne!(weights, exact);
            for (half, float) in halves.iter().zip(&floats) {
                let [half, float] = [half, float].map(|epoch| epoch.training[0].1);
                assert!((half - float).abs() < 0.05 * floats[0].training[0].1, "{isa}: {half} for {float}");
            }
        }
    }

    #[test]
    fn a_checkpoint_of_other_options_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let samples = samples(folder.path());
        run(&options(folder.path(), 2), &samples, None);
        let path = Checkpoint::path(&folder.path().join("checkpoints"), Kind::Detection, 2);
        let checkpoint = Checkpoint::read(&path, Kind::Detection).unwrap();
        let other = Options { seed: 2, ..options(folder.path(), 3) };
        assert!(other.check(&checkpoint, &samples.lineage()).unwrap_err().to_string().contains("--seed 1"));
        let recipe = Options { recipe: "--voxel 5".to_owned(), ..options(folder.path(), 3) };
        assert!(recipe.check(&checkpoint, &samples.lineage()).unwrap_err().to_string().contains("--voxel 6"));
        let others =
            options(folder.path(), 3).check(&checkpoint, "9 named 5e884898").unwrap_err().to_string();
        assert!(others.contains(&format!("{} samples", samples.lineage())), "{others}");
        let done = options(folder.path(), 2);
        assert!(
            done.check(&checkpoint, &samples.lineage())
                .unwrap_err()
                .to_string()
                .contains("ask for more with --epochs")
        );
    }
}
