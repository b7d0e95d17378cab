//! How fast this machine computes the two full-size networks.

mod peak;

use std::collections::BTreeMap;
use std::time::Instant;

use anyhow::Result;
use burn::tensor::backend::AutodiffBackend;
use ndarray::Array5;
use serde::Serialize;

use crate::device::{Device, Task};
use crate::kernels::KernelBackend;
use crate::kernels::destination::Destination;
use crate::kernels::direct::{Finish, convolve};
use crate::kernels::isa::Isa;
use crate::kernels::packed::{Direction, Packed};
use crate::kernels::planes::Planes;
use crate::learning::{Adam, Batch, DetectionLoss, Learner, Objective};
use crate::network::{Architecture, Kind, LayerShape, Weights};
use crate::progress::{Observer, Stage};

pub use peak::Peak;

/// What is timed: a network, the input of one prediction and the batch of one training step.
struct Work {
    architecture: Architecture,
    objective: Objective,
    forward: [usize; 5],
    training: [usize; 5],
}

impl Work {
    /// The published networks on one patch or slab, and on batches of 2 and 4.
    fn published() -> [Work; 2] {
        [
            Work {
                architecture: Architecture { kind: Kind::Detection, filters: 16 },
                objective: Objective::Detection {
                    loss: DetectionLoss::WeightedCrossEntropy,
                    class_weights: [0.1, 0.9],
                },
                forward: [1, 1, 64, 64, 80],
                training: [2, 1, 64, 64, 80],
            },
            Work {
                architecture: Architecture { kind: Kind::Identification, filters: 32 },
                objective: Objective::Identification,
                forward: [1, 8, 1, 144, 320],
                training: [4, 8, 1, 80, 320],
            },
        ]
    }
}

/// Times of one network, in seconds.
#[derive(Debug, Serialize)]
pub struct Figures {
    /// Weights that training moves.
    pub params: usize,
    /// One prediction, the best of all.
    pub forward_best: f64,
    /// One prediction, the middle of all.
    pub forward_median: f64,
    /// One step of training, the best of all.
    pub train_step: f64,
    /// One step of training, the middle of all.
    pub train_step_median: f64,
    /// One prediction in bfloat16, the best of all; on a processor that multiplies it.
    pub forward_bf16: Option<f64>,
    /// One step of training with its convolutions in bfloat16, the best of all.
    pub train_step_bf16: Option<f64>,
    /// Largest difference of the prediction from the processor's, on another device.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub difference: Option<f32>,
    /// Every convolution alone; on the processor only.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub layers: Vec<LayerFigures>,
}

/// Speed of one convolution of the prediction.
#[derive(Debug, Serialize)]
pub struct LayerFigures {
    /// Input channels.
    pub inputs: usize,
    /// Output channels.
    pub outputs: usize,
    /// Kernel entries along x, y, z.
    pub kernel: [usize; 3],
    /// Voxels along x, y, z.
    pub size: [usize; 3],
    /// Seconds, the best of all.
    pub seconds: f64,
    /// Billions of additions and multiplications a second, those with the frame's zeros included.
    pub gflops: f64,
    /// Seconds it takes at least: its operations at the processor's peak, or its bytes at the
    /// memory's.
    pub floor: f64,
}

/// All figures of a machine.
#[derive(Debug, Serialize)]
pub struct Report {
    /// This program's version.
    pub vertebrae: &'static str,
    /// Where it was computed.
    pub device: String,
    /// Inputs of a prediction and of a training step, where not the usual 1 and 2 or 4.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub batch: Option<usize>,
    /// Threads of the processor.
    pub threads: usize,
    /// Instruction set of the processor's kernels.
    pub simd: String,
    /// That of those in bfloat16, if it has one.
    pub simd_bf16: Option<String>,
    /// What the processor can do at best.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub peak: Option<Peak>,
    /// By name of the network.
    #[serde(flatten)]
    pub networks: BTreeMap<String, Figures>,
}

/// Times both networks on `device`, each figure the best of `repeat`; `batch` is the number of inputs
/// of a prediction and of a step.
pub fn run(
    device: Device,
    repeat: usize,
    batch: Option<usize>,
    observer: &mut dyn Observer,
) -> Result<Report> {
    let mut networks = BTreeMap::new();
    let peak = (device == Device::Cpu).then(|| Peak::measure(Isa::detect(), repeat));
    for mut work in Work::published() {
        let kind = work.architecture.kind;
        if let Some(batch) = batch {
            (work.forward[0], work.training[0]) = (batch, batch);
        }
        observer.begins(Stage::Timing(kind.to_string()), 3)?;
        let weights = Weights::initial(work.architecture, 1);
        let [forward_best, forward_median] = forward(device, &work, &weights, repeat)?;
        let half = (device == Device::Cpu).then(|| Device::halved().ok()).flatten();
        let forward_bf16 = half.map(|half| forward(half, &work, &weights, repeat)).transpose()?;
        observer.advances(1);
        // A step takes several times as long as a prediction.
        let step = |device: Device| -> Result<[f64; 2]> {
            let repeat = (repeat / 2).max(2);
            device.run(Training { work: &work, weights: &weights, isa: device.isa(), repeat })?
        };
        let [train_step, train_step_median] = step(device)?;
        let train_step_bf16 = half.map(step).transpose()?;
        observer.advances(1);
        let layers = peak.map_or_else(Vec::new, |peak| layers(&work, repeat, peak));
        let difference = (device != Device::Cpu).then(|| difference(device, &work, &weights)).transpose()?;
        let params = work.architecture.trained_parameters();
        let figures = Figures {
            params,
            forward_best,
            forward_median,
            forward_bf16: forward_bf16.map(|[best, _]| best),
            train_step,
            train_step_median,
            train_step_bf16: train_step_bf16.map(|[best, _]| best),
            difference,
            layers,
        };
        networks.insert(kind.to_string(), figures);
    }
    observer.ends();
    Ok(Report {
        vertebrae: env!("CARGO_PKG_VERSION"),
        device: device.to_string(),
        batch,
        threads: rayon::current_num_threads(),
        simd: Isa::detect().to_string(),
        simd_bf16: Isa::bf16().map(|isa| isa.to_string()),
        peak,
        networks,
    })
}

/// Seconds of the fastest and of the middle one of `repeat` runs after one that does not count.
fn timed(repeat: usize, mut run: impl FnMut() -> Result<()>) -> Result<[f64; 2]> {
    run()?;
    let mut times = Vec::new();
    for _ in 0..repeat.max(1) {
        let begin = Instant::now();
        run()?;
        times.push(begin.elapsed().as_secs_f64());
    }
    times.sort_by(f64::total_cmp);
    Ok([times[0], times[times.len() / 2]])
}

/// Values that are neither constant nor denormal.
fn values(count: usize) -> Vec<f32> {
    (0..count).map(|index| (index * 7919 % 2003) as f32 / 1001.0 - 1.0).collect()
}

fn forward(device: Device, work: &Work, weights: &Weights, repeat: usize) -> Result<[f64; 2]> {
    let predictor = device.predictor(weights)?;
    let input = Array5::from_shape_vec(work.forward, values(work.forward.iter().product()))?;
    timed(repeat, || predictor.predict(input.clone()).map(drop))
}

/// How far a device's prediction is from the processor's.
fn difference(device: Device, work: &Work, weights: &Weights) -> Result<f32> {
    let mut dims = work.forward;
    dims[0] = 1;
    let input = Array5::from_shape_vec(dims, values(dims.iter().product()))?;
    let predict = |device: Device| device.predictor(weights)?.predict(input.clone());
    let (ours, theirs) = (predict(Device::Cpu)?, predict(device)?);
    Ok(ours.iter().zip(&theirs).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max))
}

struct Training<'a> {
    work: &'a Work,
    weights: &'a Weights,
    isa: Isa,
    repeat: usize,
}

impl Task for Training<'_> {
    type Output = Result<[f64; 2]>;

    fn run<B>(self, device: B::Device) -> Result<[f64; 2]>
    where
        B: AutodiffBackend<InnerBackend: KernelBackend> + KernelBackend,
    {
        let [n, _, x, y, z] = self.work.training;
        let batch = Batch {
            input: values(self.work.training.iter().product()),
            shape: self.work.training,
            labels: (0..n * x * y * z).map(|index| (index / 977 % 2) as f32).collect(),
        };
        let adam = Adam::new(1e-3, 0.0);
        let mut learner = Learner::<B>::new(self.weights, adam, self.work.objective, 0.1, self.isa, &device);
        timed(self.repeat, || {
            learner.step(&batch)?;
            B::sync(&device)?;
            Ok(())
        })
    }
}

fn layers(work: &Work, repeat: usize, peak: Peak) -> Vec<LayerFigures> {
    let [images, _, x, y, z] = work.forward;
    let time = |(index, layer): (usize, LayerShape)| {
        let LayerShape { inputs, outputs, kernel, .. } = layer;
        let size = work.architecture.extent(index, [x, y, z]);
        let (volume, taps) = (size.iter().product::<usize>(), kernel.iter().product::<usize>());
        let weights = values(outputs * inputs * taps);
        let packed = Packed::new(Isa::detect(), &weights, [outputs, inputs], kernel, Direction::Forward);
        let (before, after) = Packed::frame(kernel, Direction::Forward);
        let planes = Planes::framed(&values(images * inputs * volume), images, inputs, size, before, after);
        let mut output = vec![0.0; images * outputs * volume];
        let mut seconds = f64::INFINITY;
        for _ in 0..=repeat {
            let begin = Instant::now();
            let mut destination = Destination::dense(&mut output, outputs, size);
            convolve(&planes, &packed, Finish::default(), &mut destination);
            seconds = seconds.min(begin.elapsed().as_secs_f64());
        }
        let operations = (2 * images * volume * inputs * outputs * taps) as f64;
        let bytes = (4 * (images * volume * (inputs + outputs) + weights.len())) as f64;
        let floor = peak.floor(operations, bytes);
        LayerFigures { inputs, outputs, kernel, size, seconds, gflops: operations / seconds / 1e9, floor }
    };
    work.architecture.layers().into_iter().enumerate().map(time).collect()
}
