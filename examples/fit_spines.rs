//! Fits the variety of real spines that `gen-phantom --cohort hospital` draws from.
//!
//! ```text
//! cargo run --release --example fit_spines -- vid_training.jsonl assets/spines.csv
//! ```
//!
//! The data are one JSON object a line with `truth` `[level, x, y, z]`, mm in LPS (VID, CC BY-SA 4.0,
//! ImFusion with Bürgin, Prevost and Stollenga, MICCAI 2023). From each body to the next there is a
//! distance (its logarithm), a direction towards the back and one to the left (degrees). Few scans show
//! all of a spine, so a factor analysis with missing values is fitted by expectation maximisation: what
//! a person has in common along the spine is a handful of factors, the rest is noise of each step. Every
//! spine is taken as it is and mirrored.

use anyhow::{Context, Result};
use serde::Deserialize;
use vertebrae::anatomy::Level;
use vertebrae::anatomy::variety::{FACTORS, QUANTITIES, Row, STEPS};
use vertebrae::random::Legacy;

const ITERATIONS: usize = 120;
/// Numbers of one spine.
const NUMBERS: usize = STEPS * QUANTITIES.len();
/// Steps that are longer or shorter, in mm, or lead further aside, in degrees, are misplaced
/// annotations.
const LENGTHS: std::ops::Range<f64> = 8.0..60.0;
const SIDEWAYS: f64 = 35.0;

#[derive(Deserialize)]
struct Record {
    truth: Vec<(Level, f64, f64, f64)>,
}

type Spine = Vec<Option<f64>>;

fn measure(record: &Record) -> Spine {
    let mut spine = vec![None; NUMBERS];
    for pair in record.truth.windows(2) {
        let ((level, x0, y0, z0), (next, x1, y1, z1)) = (pair[0], pair[1]);
        let (step, [x, y, z]) = (usize::from(level.value()) - 1, [x1 - x0, y1 - y0, z1 - z0]);
        let length = (x * x + y * y + z * z).sqrt();
        let values = [length.ln(), y.atan2(-z).to_degrees(), (x / length).asin().to_degrees()];
        let misplaced = !LENGTHS.contains(&length) || values[2].abs() > SIDEWAYS;
        if step >= STEPS || usize::from(next.value()) != step + 2 || misplaced {
            continue;
        }
        for (quantity, value) in values.into_iter().enumerate() {
            spine[quantity * STEPS + step] = Some(value);
        }
    }
    spine
}

fn mirrored(spine: &Spine) -> Spine {
    let sideways = 2 * STEPS;
    spine
        .iter()
        .enumerate()
        .map(|(at, value)| value.map(|value| if at >= sideways { -value } else { value }))
        .collect()
}

type Square = [[f64; FACTORS]; FACTORS];

/// The inverse of a positive definite matrix, by elimination.
fn inverse(mut a: Square) -> Square {
    let mut b: Square = std::array::from_fn(|i| std::array::from_fn(|j| f64::from(i == j)));
    for pivot in 0..FACTORS {
        let scale = 1.0 / a[pivot][pivot];
        a[pivot] = a[pivot].map(|value| value * scale);
        b[pivot] = b[pivot].map(|value| value * scale);
        for row in (0..FACTORS).filter(|&row| row != pivot) {
            let share = a[row][pivot];
            for column in 0..FACTORS {
                a[row][column] -= share * a[pivot][column];
                b[row][column] -= share * b[pivot][column];
            }
        }
    }
    b
}

fn times(a: &Square, v: &[f64; FACTORS]) -> [f64; FACTORS] {
    a.map(|row| row.iter().zip(v).map(|(a, v)| a * v).sum())
}

/// Mean, spread and loadings of every number.
fn fit(spines: &[Spine]) -> Vec<Row> {
    let seen = |at: usize| spines.iter().filter_map(move |spine| spine[at]);
    let means: Vec<f64> = (0..NUMBERS).map(|at| seen(at).sum::<f64>() / seen(at).count() as f64).collect();
    let mut noise: Vec<f64> = (0..NUMBERS)
        .map(|at| seen(at).map(|value| (value - means[at]).powi(2)).sum::<f64>() / seen(at).count() as f64)
        .collect();
    let mut random = Legacy::seeded(1);
    let mut loads: Vec<[f64; FACTORS]> =
        noise.iter().map(|v| std::array::from_fn(|_| 0.3 * v.sqrt() * random.normal())).collect();
    for _ in 0..ITERATIONS {
        let mut squares: Vec<Square> = vec![[[0.0; FACTORS]; FACTORS]; NUMBERS];
        let mut products = vec![[0.0; FACTORS]; NUMBERS];
        let mut energy = vec![0.0; NUMBERS];
        let mut counts = vec![0.0; NUMBERS];
        for spine in spines {
            let known = || spine.iter().enumerate().filter_map(|(at, v)| v.map(|v| (at, v - means[at])));
            let mut precision: Square = std::array::from_fn(|i| std::array::from_fn(|j| f64::from(i == j)));
            let mut pull = [0.0; FACTORS];
            for (at, value) in known() {
                for i in 0..FACTORS {
                    pull[i] += loads[at][i] * value / noise[at];
                    for j in 0..FACTORS {
                        precision[i][j] += loads[at][i] * loads[at][j] / noise[at];
                    }
                }
            }
            let spread = inverse(precision);
            let factors = times(&spread, &pull);
            for (at, value) in known() {
                counts[at] += 1.0;
                energy[at] += value * value;
                for i in 0..FACTORS {
                    products[at][i] += value * factors[i];
                    for j in 0..FACTORS {
                        squares[at][i][j] += spread[i][j] + factors[i] * factors[j];
                    }
                }
            }
        }
        for at in 0..NUMBERS {
            loads[at] = times(&inverse(squares[at]), &products[at]);
            let explained: f64 = loads[at].iter().zip(&products[at]).map(|(a, b)| a * b).sum();
            noise[at] = ((energy[at] - explained) / counts[at]).max(1e-6);
        }
    }
    (0..NUMBERS)
        .map(|at| {
            let level = |step: usize| Level::all().nth(step).map_or("", |level| level.name());
            let step = at % STEPS;
            Row {
                quantity: QUANTITIES[at / STEPS].to_owned(),
                from: level(step).to_owned(),
                to: level(step + 1).to_owned(),
                mean: if at < 2 * STEPS { means[at] } else { 0.0 },
                noise: noise[at].sqrt(),
                loads: loads[at],
            }
        })
        .collect()
}

fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let data = arguments.next().context("name the file with the scans (JSON lines)")?;
    let target = arguments.next().context("name the table to write")?;
    let text = std::fs::read_to_string(&data).with_context(|| format!("{data} cannot be read"))?;
    let records: Vec<Record> =
        text.lines().map(|line| Ok(serde_json::from_str(line)?)).collect::<Result<_>>()?;
    let spines: Vec<Spine> = records
        .iter()
        .map(measure)
        .flat_map(|spine| {
            let other = mirrored(&spine);
            [spine, other]
        })
        .collect();
    let rows = fit(&spines);
    vertebrae::artifact::write(target.as_ref(), |out| {
        let mut table = csv::WriterBuilder::new().has_headers(false).from_writer(out);
        for row in rows {
            table.serialize(row)?;
        }
        Ok(table.flush()?)
    })
}
