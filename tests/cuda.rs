//! The same answers on an NVIDIA card as on the processor (skipped where there is none).
#![cfg(feature = "cuda")]

use anyhow::Result;
use burn::tensor::backend::AutodiffBackend;
use ndarray::Array5;
use vertebrae::device::{Device, Task, devices};
use vertebrae::kernels::KernelBackend;
use vertebrae::kernels::isa::Isa;
use vertebrae::learning::{Adam, Batch, DetectionLoss, Learner, Objective};
use vertebrae::network::{Architecture, Kind, Weights};

/// The first card, or nothing and a line that says so.
fn card() -> Option<Device> {
    let found = devices().into_iter().find(|found| found.device != Device::Cpu && found.usable);
    if found.is_none() {
        println!("SKIPPED: no NVIDIA card can be used here");
    }
    found.map(|found| found.device)
}

fn values(count: usize) -> Vec<f32> {
    (0..count).map(|index| (index * 7919 % 2003) as f32 / 1001.0 - 1.0).collect()
}

const CASES: [(Kind, [usize; 5]); 3] = [
    (Kind::Detection, [2, 1, 32, 32, 48]),
    (Kind::Identification, [2, 8, 1, 48, 96]),
    (Kind::Volume, [1, 2, 32, 32, 48]),
];

#[test]
fn predictions_are_those_of_the_processor() {
    let Some(card) = card() else { return };
    for (kind, dims) in CASES {
        let weights = Weights::initial(Architecture { kind, filters: 8 }, 3);
        let input = Array5::from_shape_vec(dims, values(dims.iter().product())).unwrap();
        let predict = |device: Device| device.predictor(&weights).unwrap().predict(input.clone()).unwrap();
        let (ours, theirs) = (predict(Device::Cpu), predict(card));
        let largest = ours.iter().zip(&theirs).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        println!("{kind}: {largest:.1e}");
        // Tensor cores round products to 10 bits of mantissa (TF32).
        assert!(largest < 5e-3, "{kind} differs by {largest}");
    }
}

/// The losses of some steps of training.
struct Steps(Kind, [usize; 5]);

impl Task for Steps {
    type Output = Result<Vec<f64>>;

    fn run<B>(self, device: B::Device) -> Self::Output
    where
        B: AutodiffBackend<InnerBackend: KernelBackend> + KernelBackend,
    {
        let Steps(kind, shape) = self;
        let objective = match kind {
            Kind::Detection => {
                Objective::Detection { loss: DetectionLoss::Combined, class_weights: [0.1, 0.9] }
            }
            Kind::Identification => Objective::Identification,
            Kind::Volume => Objective::Volume,
        };
        let [n, _, x, y, z] = shape;
        // Of a volume network: body or not, the level, its share of the loss, the way to the centre.
        let channels = if kind == Kind::Volume { 6 } else { 1 };
        let labels = (0..n * channels * x * y * z).map(|index| (index / 97 % 2) as f32).collect();
        let batch = Batch { input: values(shape.iter().product()), shape, labels };
        let weights = Weights::initial(Architecture { kind, filters: 4 }, 5);
        let mut learner =
            Learner::<B>::new(&weights, Adam::new(1e-3, 0.0), objective, 0.1, Isa::detect(), &device);
        (0..4).map(|_| Ok(learner.step(&batch)?.0)).collect()
    }
}

#[test]
fn training_takes_the_same_way() {
    let Some(card) = card() else { return };
    for (kind, shape) in CASES {
        let ours = Device::Cpu.run(Steps(kind, shape)).unwrap().unwrap();
        let theirs = card.run(Steps(kind, shape)).unwrap().unwrap();
        println!("{kind}: {ours:?} {theirs:?}");
        for (a, b) in ours.iter().zip(&theirs) {
            // Small differences of one step grow in the next.
            assert!((a - b).abs() < 5e-3 * a.abs().max(1.0), "{kind}: {ours:?} and {theirs:?}");
        }
    }
}
