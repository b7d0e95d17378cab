//! Fits the network behind `vertebrae decode` to real CTs whose vertebrae are known.
//!
//! ```text
//! cargo run --release --example fit_decoder -- vid_training.jsonl            # 5-fold figures only
//! cargo run --release --example fit_decoder -- vid_training.jsonl assets/decoder.safetensors
//! ```
//!
//! The data are one JSON object a line: `truth` `[level, x, y, z]`, `detections`
//! `[x, y, z, pC, pT, pL]`, `pedicles` `["left"|"right", x, y, z]`, mm in LPS (VID, CC BY-SA 4.0, ImFusion
//! with Bürgin, Prevost and Stollenga, MICCAI 2023). The figure is the share of true bodies whose
//! nearest named one within 20 mm has the right level.

use anyhow::{Context, Result};
use burn::backend::{Autodiff, Flex};
use burn::module::{Module, Param};
use burn::optim::{AdamWConfig, GradientsParams, Optimizer};
use burn::tensor::activation::{log_softmax, relu};
use burn::tensor::backend::Backend;
use burn::tensor::{Int, Tensor, TensorData};
use rayon::prelude::*;
use safetensors::tensor::{Dtype, TensorView, serialize};
use serde::Deserialize;
use vertebrae::anatomy::Level;
use vertebrae::decoding::sequence::body::{Body, bodies};
use vertebrae::decoding::sequence::decode;
use vertebrae::decoding::sequence::evidence::{CLASSES, Evidence, INPUTS, NONE, class, describe};
use vertebrae::random::Legacy;

type Training = Autodiff<Flex>;

/// Wide enough for a window of 17 bodies, narrow enough for 2,000 scans.
const HIDDEN: usize = 128;
/// Share of the hidden numbers that is left out at random while fitting.
const DROPOUT: f64 = 0.1;
const EPOCHS: usize = 60;
/// Altered copies of each scan an epoch.
const COPIES: usize = 2;
const BATCH: usize = 512;
/// Falls to zero along a cosine.
const LEARNING_RATE: f64 = 2e-3;
const FOLDS: usize = 5;
/// A detection this close to a true body is that body, in mm.
const SAME: f64 = 14.0;
/// A named body within this distance answers for a true one, in mm.
const ANSWERS: f64 = 20.0;

#[derive(Deserialize)]
struct Record {
    truth: Vec<(String, f64, f64, f64)>,
    detections: Vec<[f64; 6]>,
    pedicles: Vec<(String, f64, f64, f64)>,
}

struct Scan {
    bodies: Vec<Body>,
    classes: Vec<usize>,
    truth: Vec<(Level, [f64; 3])>,
}

fn distance(a: [f64; 3], b: [f64; 3]) -> f64 {
    (0..3).map(|axis| (a[axis] - b[axis]).powi(2)).sum::<f64>().sqrt()
}

impl Scan {
    fn new(record: &Record) -> Result<Scan> {
        let side = |wanted: &str| -> Vec<[f64; 3]> {
            let of_side = record.pedicles.iter().filter(|(side, ..)| side == wanted);
            of_side.map(|&(_, x, y, z)| [x, y, z]).collect()
        };
        let bodies = bodies(&record.detections, &side("left"), &side("right"));
        let truth = record
            .truth
            .iter()
            .map(|(name, x, y, z)| Ok((name.parse::<Level>()?, [*x, *y, *z])))
            .collect::<Result<Vec<_>>>()?;
        let mut classes = vec![NONE; bodies.len()];
        for (level, mm) in &truth {
            // A body that was seen is preferred to one inferred from its pedicles.
            let off = |body: &Body| distance(body.mm, *mm) + if body.seen { 0.0 } else { 5.0 };
            let nearest = (0..bodies.len()).min_by(|&a, &b| off(&bodies[a]).total_cmp(&off(&bodies[b])));
            if let Some(nearest) = nearest.filter(|&at| distance(bodies[at].mm, *mm) < SAME) {
                classes[nearest] = class(level.index()).unwrap_or(NONE);
            }
        }
        // The sacrum is not annotated, but often detected below the last lumbar vertebra.
        if let Some((level, last)) = truth.last()
            && ["L5", "L6"].contains(&level.name())
        {
            for (body, class) in bodies.iter().zip(&mut classes) {
                let below = body.mm[2] < last[2] - 8.0 && (18.0..48.0).contains(&distance(body.mm, *last));
                if *class == NONE && below {
                    *class = NONE - 1;
                }
            }
        }
        Ok(Scan { bodies, classes, truth })
    }

    /// The scan of another person in another posture that begins lower, with more misses. It ends where
    /// it ended: of a last thoracic vertebra just above a scan's end the segments say something else than
    /// of one in the middle, and made-up ends would hide that (0.3 points).
    fn altered(&self, random: &mut Legacy) -> (Vec<Body>, Vec<usize>) {
        let count = self.bodies.len();
        let mut kept: Vec<bool> = (0..count).map(|_| random.uniform() > 0.03).collect();
        if random.uniform() < 0.5 && count > 4 {
            let first = random.integer(0, count as i64 - 3) as usize;
            kept[..first].fill(false);
        }
        let (size, turn) = ((0.06 * random.normal()).exp(), 0.08 * random.normal());
        let mirrored = random.uniform() < 0.5;
        let side = if mirrored { -1.0 } else { 1.0 };
        let without_pedicles = random.uniform() < 0.1;
        let moved = |[x, y, z]: [f64; 3]| {
            let [x, y, z] = [side * x * size, y * size, z * size];
            [x, y * turn.cos() - z * turn.sin(), y * turn.sin() + z * turn.cos()]
        };
        let mut bodies = Vec::new();
        let mut classes = Vec::new();
        for (index, body) in self.bodies.iter().enumerate().filter(|(index, _)| kept[*index]) {
            let mm = moved(body.mm).map(|part| part + 0.8 * random.normal());
            let hidden = without_pedicles || random.uniform() < 0.05;
            let mut pedicles = body.pedicles.map(|place| place.filter(|_| !hidden).map(moved));
            if mirrored {
                pedicles.reverse();
            }
            for part in pedicles.iter_mut().flatten().flatten() {
                *part += 0.5 * random.normal();
            }
            let segments = body.segments.map(|p| (p.clamp(0.005, 1.0).ln() + 0.4 * random.normal()).exp());
            bodies.push(Body { mm, segments, pedicles, ..*body });
            classes.push(self.classes[index]);
        }
        (bodies, classes)
    }
}

#[derive(Module, Debug)]
struct Network<B: Backend> {
    weights: Vec<Param<Tensor<B, 2>>>,
    biases: Vec<Param<Tensor<B, 2>>>,
}

impl<B: Backend> Network<B> {
    fn new(random: &mut Legacy, device: &B::Device) -> Self {
        let sizes = [INPUTS, HIDDEN, HIDDEN, CLASSES];
        let mut weight = |pair: &[usize]| {
            let bound = (1.0 / pair[0] as f64).sqrt();
            let count = pair[0] * pair[1];
            let values: Vec<f32> =
                (0..count).map(|_| (bound * (2.0 * random.uniform() - 1.0)) as f32).collect();
            Param::from_tensor(Tensor::from_data(TensorData::new(values, [pair[0], pair[1]]), device))
        };
        Network {
            weights: sizes.windows(2).map(&mut weight).collect(),
            biases: sizes[1..].iter().map(|&n| Param::from_tensor(Tensor::zeros([1, n], device))).collect(),
        }
    }

    /// `[body, INPUTS]` → `[body, CLASSES]`; hidden numbers are left out as `random` says, so that the same
    /// seed gives the same network.
    fn forward(&self, mut x: Tensor<B, 2>, random: &mut Legacy) -> Tensor<B, 2> {
        for (index, (weight, bias)) in self.weights.iter().zip(&self.biases).enumerate() {
            x = x.matmul(weight.val()) + bias.val();
            if index + 1 < self.weights.len() {
                let [rows, columns] = x.dims();
                let mut draw = || if random.uniform() < DROPOUT { 0.0 } else { 1.0 / (1.0 - DROPOUT) as f32 };
                let kept: Vec<f32> = (0..rows * columns).map(|_| draw()).collect();
                x = relu(x) * Tensor::from_data(TensorData::new(kept, [rows, columns]), &weight.device());
            }
        }
        x
    }

    /// Weights `[outputs][inputs]` and biases of each layer.
    fn layers(&self) -> Vec<(Vec<f32>, Vec<f32>)> {
        let plain = |tensor: Tensor<B, 2>| tensor.into_data().to_vec::<f32>().unwrap_or_default();
        let pairs = self.weights.iter().zip(&self.biases);
        pairs.map(|(weight, bias)| (plain(weight.val().transpose()), plain(bias.val()))).collect()
    }
}

fn fit(scans: &[&Scan], seed: u32) -> Vec<(Vec<f32>, Vec<f32>)> {
    let device = Default::default();
    let mut random = Legacy::seeded(seed);
    let mut network = Network::<Training>::new(&mut random, &device);
    let mut optimiser = AdamWConfig::new().with_weight_decay(1e-2).init();
    for epoch in 0..EPOCHS {
        let mut rows = Vec::new();
        for scan in scans {
            for _ in 0..COPIES {
                let (bodies, classes) = scan.altered(&mut random);
                let inputs = describe(&bodies);
                let inputs = inputs.chunks_exact(INPUTS).map(<[f32]>::to_vec);
                rows.extend(inputs.zip(classes));
            }
        }
        for last in (1..rows.len()).rev() {
            rows.swap(last, random.integer(0, last as i64 + 1) as usize);
        }
        let rate = LEARNING_RATE * (1.0 + (std::f64::consts::PI * epoch as f64 / EPOCHS as f64).cos()) / 2.0;
        for batch in rows.chunks(BATCH) {
            let inputs: Vec<f32> = batch.iter().flat_map(|(row, _)| row.iter().copied()).collect();
            let classes: Vec<i32> = batch.iter().map(|(_, class)| *class as i32).collect();
            let x = Tensor::<Training, 2>::from_data(TensorData::new(inputs, [batch.len(), INPUTS]), &device);
            let y = TensorData::new(classes, [batch.len(), 1]);
            let y = Tensor::<Training, 2, Int>::from_data(y, &device);
            let loss = log_softmax(network.forward(x, &mut random), 1).gather(1, y).mean().neg();
            let gradients = GradientsParams::from_grads(loss.backward(), &network);
            network = optimiser.step(rate, network, gradients);
        }
    }
    network.layers()
}

/// What came of some scans.
#[derive(Clone, Copy, Default)]
struct Score {
    right: usize,
    all: usize,
    /// Bodies that were named at all, and the sum of the confidences of their labels.
    named: usize,
    confidence: f64,
}

impl Score {
    fn of(scan: &Scan, evidence: &Evidence) -> Result<Score> {
        let named = decode(&scan.bodies, evidence)?;
        let mut score = Score { all: scan.truth.len(), ..Score::default() };
        for (level, mm) in &scan.truth {
            let nearest = named.iter().min_by(|a, b| distance(a.mm, *mm).total_cmp(&distance(b.mm, *mm)));
            if let Some(found) = nearest.filter(|found| distance(found.mm, *mm) <= ANSWERS) {
                score.named += 1;
                score.confidence += found.confidence;
                score.right += usize::from(found.level == *level);
            }
        }
        Ok(score)
    }

    fn with(self, other: Score) -> Score {
        Score {
            right: self.right + other.right,
            all: self.all + other.all,
            named: self.named + other.named,
            confidence: self.confidence + other.confidence,
        }
    }
}

impl std::fmt::Display for Score {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let share = |part: f64, of: usize| 100.0 * part / of as f64;
        let (right, confidence) = (self.right as f64, self.confidence);
        write!(
            f,
            "{:.2} % ({:.1} % of those found, mean confidence {:.1} %)",
            share(right, self.all),
            share(right, self.named),
            share(confidence, self.named)
        )
    }
}

fn write(path: &str, layers: &[(Vec<f32>, Vec<f32>)]) -> Result<()> {
    let half = |values: &[f32]| -> Vec<u8> {
        values.iter().flat_map(|&value| half::f16::from_f32(value).to_le_bytes()).collect()
    };
    let mut tensors = Vec::new();
    for (index, (weight, bias)) in layers.iter().enumerate() {
        let shape = vec![bias.len(), weight.len() / bias.len()];
        tensors.push((format!("layer{index}.weight"), shape, half(weight)));
        tensors.push((format!("layer{index}.bias"), vec![bias.len()], half(bias)));
    }
    let views = tensors
        .iter()
        .map(|(name, shape, bytes)| Ok((name.clone(), TensorView::new(Dtype::F16, shape.clone(), bytes)?)))
        .collect::<Result<Vec<_>>>()?;
    vertebrae::artifact::write(path.as_ref(), |out| Ok(out.write_all(&serialize(views, None)?)?))
}

fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let data = arguments.next().context("name the file with the scans (JSON lines)")?;
    let text = std::fs::read_to_string(&data).with_context(|| format!("{data} cannot be read"))?;
    let scans: Vec<Scan> =
        text.lines().map(|line| Scan::new(&serde_json::from_str(line)?)).collect::<Result<_>>()?;
    println!("{} scans, {} bodies", scans.len(), scans.iter().map(|scan| scan.truth.len()).sum::<usize>());
    if let Some(target) = arguments.next() {
        let all: Vec<&Scan> = scans.iter().collect();
        return write(&target, &fit(&all, 1));
    }
    let folds: Vec<Score> = (0..FOLDS)
        .into_par_iter()
        .map(|fold| {
            let split = |held: bool| {
                scans.iter().enumerate().filter(move |(k, _)| (k % FOLDS == fold) == held).map(|(_, s)| s)
            };
            let evidence = Evidence::new(fit(&split(false).collect::<Vec<_>>(), 1));
            let scores = split(true).map(|scan| Score::of(scan, &evidence));
            let score = scores.collect::<Result<Vec<_>>>()?.into_iter().fold(Score::default(), Score::with);
            println!("fold {fold}: {score}");
            Ok(score)
        })
        .collect::<Result<_>>()?;
    println!("all folds: {}", folds.into_iter().fold(Score::default(), Score::with));
    Ok(())
}
