//! The training loop of strip networks.

use std::path::PathBuf;
use std::sync::mpsc::sync_channel;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use burn::tensor::backend::AutodiffBackend;
use burn::tensor::{Tensor, TensorData};
use ndarray::{Array3, Axis};

use super::checkpoint::{State, StripCheckpoint};
use super::lesson::{Example, Lesson};
use crate::kernels::KernelBackend;
use crate::kernels::isa::Isa;
use crate::learning::adam::Adam;
use crate::learning::metrics::Scores;
use crate::learning::tensorboard::ScalarLog;
use crate::network::{BurnStrip, Dropout, Strip, StripInput, StripWeights, padded};
use crate::progress::{Observer, Stage};
use crate::random::Legacy;

/// Steps over which the learning rate rises to its highest, and the share of it that the cosine ends at.
const WARM: f64 = 100.0;
const LAST: f64 = 0.02;
/// Gradients are scaled down to this length.
const LONGEST: f64 = 5.0;
/// Share of the running statistics that a batch leaves in place.
const MOMENTUM: f64 = 0.95;
/// Dropped shares of a tower's channels and of the activations along the spine.
const DROPPED: [f64; 2] = [0.1, 0.15];
/// Threads that draw examples; a step takes longer than to draw a batch on one.
const DRAWERS: usize = 2;

/// How a strip network is trained.
#[derive(Clone, Debug)]
pub struct StripOptions {
    /// Recipe; `epoch` and `bf16` are not looked at.
    pub state: State,
    /// Weights to begin with instead of random ones.
    pub start: Option<StripWeights>,
    /// What the processor computes convolutions with.
    pub isa: Isa,
    /// Folder of the checkpoints.
    pub checkpoints: PathBuf,
    /// Folder of this training's event files.
    pub logs: PathBuf,
}

/// One epoch's figures.
#[derive(Clone, Debug)]
pub struct StripEpoch {
    /// Its number, from 1.
    pub number: usize,
    /// Means over the batches, the loss first.
    pub training: Scores,
    /// How well the network then does on the scans kept for that.
    pub testing: Scores,
    /// How long it took.
    pub seconds: f64,
}

impl std::fmt::Display for StripEpoch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let line = |scores: &Scores| {
            scores.iter().map(|(name, value)| format!("{name} {value:.4}")).collect::<Vec<_>>().join(" ")
        };
        write!(
            f,
            "epoch {} {} | testing {} | {:.1} s",
            self.number,
            line(&self.training),
            line(&self.testing),
            self.seconds
        )
    }
}

/// Trains a strip network, from `resumed` on if given, and returns its weights; `report` is called after
/// every epoch. Interrupted and resumed or not, the same options give the same weights on the same
/// machine.
pub fn train_strip<B, L: Lesson>(
    options: &StripOptions,
    lesson: &L,
    resumed: Option<StripCheckpoint>,
    device: &B::Device,
    observer: &mut dyn Observer,
    mut report: impl FnMut(&StripEpoch) -> Result<()>,
) -> Result<StripWeights>
where
    B: AutodiffBackend<InnerBackend: KernelBackend> + KernelBackend,
{
    let recipe = &State { bf16: options.isa.is_bf16(), ..options.state.clone() };
    let architecture = lesson.architecture();
    let fresh = Adam::new(recipe.learning_rate, 0.0).decoupled(recipe.weight_decay, LONGEST);
    let (weights, mut adam, done) = match resumed {
        Some(StripCheckpoint { weights, moments, state }) => {
            check(recipe, &state)?;
            ensure!(
                weights.architecture == architecture,
                "the checkpoint was made by another version of this program; begin anew"
            );
            let step = (state.epoch * state.steps) as u64;
            (weights, fresh.resumed(step, &moments, device), state.epoch)
        }
        None => {
            let random = || StripWeights::initial(architecture.clone(), recipe.seed);
            let start = options.start.clone().unwrap_or_else(random);
            ensure!(start.architecture == architecture, "the model to begin with is of another version");
            (start, fresh, 0)
        }
    };
    let mut model = Some(
        Strip::<B>::new(&architecture, &weights.layers, device)
            .with_momentum(MOMENTUM)
            .computed_by(options.isa),
    );
    let mut logs = [
        ScalarLog::create(&options.logs.join("train"))?,
        ScalarLog::create(&options.logs.join("validation"))?,
    ];
    let total = recipe.epochs * recipe.steps;
    std::thread::scope(|scope| {
        let receivers: Vec<_> = (0..DRAWERS)
            .map(|drawer| {
                let (sender, receiver) = sync_channel(1);
                scope.spawn(move || {
                    for step in (done * recipe.steps..total).filter(|step| step % DRAWERS == drawer) {
                        let draw = |index| {
                            let number = (step * recipe.batch_size + index) as u32;
                            let seed = recipe.seed.wrapping_mul(1_000_003).wrapping_add(number);
                            lesson.draw(&mut Legacy::seeded(seed))
                        };
                        let batch: Vec<_> = (0..recipe.batch_size).map(draw).collect();
                        if sender.send(batch).is_err() {
                            return;
                        }
                    }
                });
                receiver
            })
            .collect();
        let mut last = weights.layers;
        for number in done + 1..=recipe.epochs {
            let begin = Instant::now();
            let mut sums: Scores = Vec::new();
            observer.begins(Stage::Epoch(number), recipe.steps)?;
            for step in (number - 1) * recipe.steps..number * recipe.steps {
                let batch = receivers[step % DRAWERS].recv().context("drawing examples failed")?;
                let seed = recipe.seed.wrapping_mul(7_368_787).wrapping_add(step as u32);
                let mut random = Legacy::seeded(seed);
                let dropout = Dropout { random: &mut random, features: DROPPED[0], hidden: DROPPED[1] };
                let network = model.take().context("a step of this training has failed before")?;
                let (input, truths) = tensors::<B, _>(batch, device, architecture.pixels_per_step())?;
                let output = network.forward(&architecture, input, Some(dropout));
                let [n, outputs, _, _, steps] = output.dims();
                let values = output.clone().into_data().convert::<f32>().into_vec::<f32>();
                let values = values.ok().context("the answer could not be read back from the device")?;
                let verdict = lesson.judge(&Array3::from_shape_vec((n, outputs, steps), values)?, &truths);
                ensure!(
                    verdict.loss.is_finite(),
                    "the loss became {} in epoch {number}; lower --learning-rate",
                    verdict.loss
                );
                // A linear function of the answer that has this gradient.
                let slopes = verdict.gradient.into_raw_vec_and_offset().0;
                let slopes = TensorData::new(slopes, [n, outputs, 1, 1, steps]);
                let gradients = (output * Tensor::from_data(slopes, device)).sum().backward();
                adam.set_rate(recipe.learning_rate * rate(step as f64, total as f64));
                model = Some(adam.update::<B, _>(network, &gradients));
                add(&mut sums, verdict.loss, &verdict.scores);
                observer.advances(1);
                let count = (step + 1 - (number - 1) * recipe.steps) as f64;
                observer.remarks(&format!("loss {:.4}", sums[0].1 / count));
            }
            observer.ends();
            last = model.as_ref().context("a step of this training has failed before")?.weights();
            let weights = StripWeights { architecture: architecture.clone(), layers: last.clone() };
            let trained = BurnStrip::<B::InnerBackend>::new(&weights, device.clone());
            let epoch = StripEpoch {
                number,
                training: sums.iter().map(|(name, sum)| (*name, sum / recipe.steps as f64)).collect(),
                testing: lesson.examine(Box::new(trained))?,
                seconds: begin.elapsed().as_secs_f64(),
            };
            for (log, scores) in logs.iter_mut().zip([&epoch.training, &epoch.testing]) {
                for (name, value) in scores {
                    log.add(&format!("epoch_{name}"), number, *value)?;
                }
            }
            report(&epoch)?;
            let path = StripCheckpoint::path(&options.checkpoints, architecture.reading);
            let state = State { epoch: number, ..recipe.clone() };
            StripCheckpoint { weights, moments: adam.moments(), state }.write(&path)?;
        }
        drop(receivers);
        Ok(StripWeights { architecture: architecture.clone(), layers: last })
    })
}

/// Refuses to continue a training that was begun with other options.
fn check(recipe: &State, state: &State) -> Result<()> {
    ensure!(
        *recipe == State { epoch: recipe.epoch, ..state.clone() },
        "the checkpoint was made with --epochs {} --steps {} --batch-size {} --learning-rate {} --weight-decay {} \
         --seed {}{} on {} scans; pass the same options and scans to continue it",
        state.epochs,
        state.steps,
        state.batch_size,
        state.learning_rate,
        state.weight_decay,
        state.seed,
        if state.bf16 { " --precision bf16" } else { "" },
        if state.examples.is_empty() { "unknown" } else { &state.examples }
    );
    Ok(())
}

/// Share of the highest learning rate: it rises for a while and falls as a cosine.
fn rate(step: f64, total: f64) -> f64 {
    let cosine = 0.5 * (1.0 + (std::f64::consts::PI * step / total).cos());
    ((step + 1.0) / WARM).min(1.0) * (LAST + (1.0 - LAST) * cosine)
}

fn add(sums: &mut Scores, loss: f64, scores: &Scores) {
    let named = std::iter::once(("loss", loss)).chain(scores.iter().copied());
    if sums.is_empty() {
        *sums = named.collect();
    } else {
        sums.iter_mut().zip(named).for_each(|((_, sum), (_, value))| *sum += value);
    }
}

/// A batch on a device, shorter spines filled up with nothing, and what the answers should be.
fn tensors<B: AutodiffBackend, T>(
    batch: Vec<Example<T>>,
    device: &B::Device,
    pixels_per_step: usize,
) -> Result<(StripInput<B>, Vec<T>)> {
    let count = batch.len();
    let longest = batch.iter().map(|example| example.views[0].len_of(Axis(2))).max().unwrap_or(0);
    let steps = longest.div_ceil(pixels_per_step);
    let length = steps * pixels_per_step;
    let [mut coronal, mut sagittal, mut marks] = [const { Vec::new() }; 3];
    let mut shapes = [[0; 3]; 3];
    let mut truths = Vec::with_capacity(count);
    for example in batch {
        for (index, (values, view)) in
            [&mut coronal, &mut sagittal].into_iter().zip(&example.views).enumerate()
        {
            let view = padded(view, length);
            shapes[index] = view.dim().into();
            values.extend_from_slice(view.as_slice().context("a view is not contiguous")?);
        }
        if let Some(given) = &example.marks {
            let (channels, filled) = given.dim();
            shapes[2] = [channels, 1, steps];
            for row in given.rows() {
                marks.extend(row.iter().copied().chain(std::iter::repeat_n(0.0, steps - filled)));
            }
        }
        truths.push(example.truth);
    }
    let tensor = |values: Vec<f32>, [c, rows, l]: [usize; 3]| {
        Tensor::<B, 5>::from_data(TensorData::new(values, [count, c, 1, rows, l]), device)
    };
    let marks = (!marks.is_empty()).then(|| tensor(marks, shapes[2]));
    let input =
        StripInput { coronal: tensor(coronal, shapes[0]), sagittal: tensor(sagittal, shapes[1]), marks };
    Ok((input, truths))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::learning::strip::lesson::Verdict;
    use crate::network::{Reading, StripArchitecture, StripPredictor};
    use burn::backend::{Autodiff, Flex};

    /// Where a bright bar stands in the views.
    struct Bar;

    impl Lesson for Bar {
        type Truth = usize;

        fn architecture(&self) -> StripArchitecture {
            crate::network::strip_tests::tiny(Reading::Bodies, 0, 1)
        }

        fn draw(&self, random: &mut Legacy) -> Example<usize> {
            let (length, at) = (24 + 2 * random.integer(0, 4) as usize, random.integer(2, 10) as usize);
            let view = |channels, rows| {
                let bright = |(_, _, z): (usize, usize, usize)| if z / 2 == at { 1.0 } else { -1.0 };
                Array3::from_shape_fn((channels, rows, length), bright)
            };
            Example { views: [view(2, 16), view(1, 8)], marks: None, truth: at }
        }

        fn judge(&self, answers: &Array3<f32>, truths: &[usize]) -> Verdict {
            let mut gradient = answers.clone();
            for (mut answer, &at) in gradient.outer_iter_mut().zip(truths) {
                answer[[0, at]] -= 1.0;
            }
            let count = answers.len() as f32;
            let loss = f64::from(gradient.iter().map(|off| off * off).sum::<f32>() / count);
            Verdict { loss, gradient: gradient * (2.0 / count), scores: vec![] }
        }

        fn examine(&self, network: Box<dyn StripPredictor>) -> Result<Scores> {
            let Example { views, truth, .. } = self.draw(&mut Legacy::seeded(99));
            let answer = network.predict(views, None)?;
            let likeliest =
                (0..answer.ncols()).fold(0, |a, b| if answer[[0, b]] > answer[[0, a]] { b } else { a });
            Ok(vec![("right", f64::from(u8::from(likeliest == truth)))])
        }
    }

    fn options(folder: &std::path::Path, epochs: usize) -> StripOptions {
        StripOptions {
            state: State {
                epochs,
                steps: 30,
                batch_size: 4,
                learning_rate: 1e-2,
                weight_decay: 1e-2,
                seed: 1,
                examples: "1 named bar".to_owned(),
                bf16: false,
                epoch: 0,
            },
            start: None,
            isa: Isa::detect(),
            checkpoints: folder.join("checkpoints"),
            logs: folder.join("logs"),
        }
    }

    fn run(
        options: &StripOptions,
        resumed: Option<StripCheckpoint>,
        mut each: impl FnMut(&StripEpoch) -> Result<()>,
    ) -> (Result<StripWeights>, Vec<StripEpoch>) {
        let mut epochs = Vec::new();
        let report = |epoch: &StripEpoch| {
            epochs.push(epoch.clone());
            each(epoch)
        };
        let device = Default::default();
        let weights = train_strip::<Autodiff<Flex>, _>(options, &Bar, resumed, &device, &mut (), report);
        (weights, epochs)
    }

    #[test]
    fn the_bar_is_found_and_a_resumed_training_ends_as_if_never_stopped() {
        let folder = tempfile::tempdir().unwrap();
        let options = options(folder.path(), 4);
        let (weights, epochs) = run(&options, None, |_| Ok(()));
        assert!(epochs[3].training[0].1 < 0.3 * epochs[0].training[0].1, "{} {}", epochs[0], epochs[3]);
        assert_eq!(epochs[3].testing, [("right", 1.0)]);
        // Stopped in the third epoch, of which nothing is left.
        let stopped = run(&options, None, |epoch| {
            ensure!(epoch.number < 3, "stopped");
            Ok(())
        });
        assert!(stopped.0.is_err());
        let path = StripCheckpoint::path(&options.checkpoints, Reading::Bodies);
        let checkpoint = StripCheckpoint::read(&path, Reading::Bodies).unwrap();
        assert_eq!(checkpoint.state.epoch, 2);
        let (resumed, rest) = run(&options, Some(checkpoint.clone()), |_| Ok(()));
        assert_eq!((rest.len(), resumed.unwrap()), (2, weights.unwrap()));
        let others = State { examples: "2 named bars".to_owned(), ..options.state.clone() };
        assert!(check(&others, &checkpoint.state).unwrap_err().to_string().contains("1 named bar scans"));
        let other = State { seed: 2, ..options.state };
        assert!(check(&other, &checkpoint.state).unwrap_err().to_string().contains("--seed 1"));
    }

    #[test]
    fn the_learning_rate_rises_and_falls() {
        assert!(rate(0.0, 1000.0) < 0.011 && rate(150.0, 1000.0) > 0.9);
        assert!((rate(999.0, 1000.0) - LAST).abs() < 1e-4);
    }
}
