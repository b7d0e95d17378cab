//! How spines differ from person to person, learnt from real ones.
//!
//! From each body to the next there is a distance and a direction. What a person has in common along
//! the spine (size, hollow back, hump) is a handful of factors; the rest is each step's own. The table
//! was fitted to the annotations of 1,947 CTs by `examples/fit_spines.rs` (VID, CC BY-SA 4.0; ImFusion
//! GmbH with Bürgin, Prevost and Stollenga, MICCAI 2023).

use std::sync::OnceLock;

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};

use crate::random::Legacy;

/// What the spines of the table have in common, as so many independent normal numbers.
pub const FACTORS: usize = 12;
/// Steps from a body to the next: C1–C2 to L4–L5. Nobody annotated the sacrum.
pub const STEPS: usize = 23;
/// What is known of a step, in the order of the table.
pub const QUANTITIES: [&str; 3] = ["log-distance", "back", "left"];
/// Factors and noise are not drawn further out than this: beyond it nobody was seen.
const FURTHEST: f64 = 2.5;
/// The part of the noise that is the person's; the rest is where annotators put the centre, which is off
/// by 1 to 2 mm, or 3 degrees of a step.
const OWN: f64 = 0.5;

/// A line of the table.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Row {
    /// One of [`QUANTITIES`].
    pub quantity: String,
    /// The upper body.
    pub from: String,
    /// The lower body.
    pub to: String,
    /// The mean: logarithm of mm, or degrees.
    pub mean: f64,
    /// Spread of what the factors leave unexplained.
    pub noise: f64,
    /// How much each factor adds.
    pub loads: [f64; FACTORS],
}

/// The way from a body to the one below.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Step {
    /// Distance of the centres in mm.
    pub distance: f64,
    /// Direction towards the back, in degrees from straight down.
    pub back: f64,
    /// Direction to the left, in degrees.
    pub left: f64,
}

/// The table of real spines.
#[derive(Debug)]
pub struct Variety(Vec<Row>);

impl Variety {
    /// The table that comes with the program.
    pub fn real() -> &'static Variety {
        static REAL: OnceLock<Variety> = OnceLock::new();
        const TABLE: &[u8] = include_bytes!("../../assets/spines.csv");
        REAL.get_or_init(|| match Variety::parse(TABLE) {
            Ok(variety) => variety,
            Err(error) => unreachable!("the table is whole, a test says: {error:#}"),
        })
    }

    fn parse(table: &[u8]) -> Result<Variety> {
        let mut lines = csv::ReaderBuilder::new().has_headers(false).from_reader(table);
        let rows = lines.deserialize().collect::<Result<Vec<Row>, _>>().context("a line is no step")?;
        ensure!(rows.len() == QUANTITIES.len() * STEPS, "{} lines", rows.len());
        let place = |(at, row): (usize, &Row)| row.quantity == QUANTITIES[at / STEPS];
        ensure!(rows.iter().enumerate().all(place), "the lines are not in order");
        Ok(Variety(rows))
    }

    /// The steps of a spine, C1–C2 first; `size` is how many mm this person has for every mm of the
    /// table's, 1 for a spine as real ones are.
    pub fn draw(&self, size: f64, random: &mut Legacy) -> Vec<Step> {
        let mut normal = || random.normal().clamp(-FURTHEST, FURTHEST);
        let factors: [f64; FACTORS] = std::array::from_fn(|_| normal());
        let mut value = |row: &Row| {
            let shared: f64 = row.loads.iter().zip(factors).map(|(load, factor)| load * factor).sum();
            row.mean + shared + OWN * row.noise * normal()
        };
        let step = |step: usize| {
            let [distance, back, left] = [0, 1, 2].map(|quantity| value(&self.0[quantity * STEPS + step]));
            Step { distance: size * distance.exp(), back, left }
        };
        (0..STEPS).map(step).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drawn_spines_are_as_real_ones_on_average_and_large_people_are_large_throughout() {
        let mut random = Legacy::seeded(3);
        let spines: Vec<Vec<Step>> = (0..600).map(|_| Variety::real().draw(1.0, &mut random)).collect();
        let column = |at: usize| spines.iter().map(move |spine| spine[at].distance);
        let mean = |at: usize| column(at).sum::<f64>() / 600.0;
        // T12–L1 and L2–L3 of the data the table was fitted to: 32.3 and 35.8 mm.
        assert!((mean(18) - 32.3).abs() < 0.8, "{}", mean(18));
        assert!((mean(20) - 35.8).abs() < 0.8, "{}", mean(20));
        let [(a, b), (sa, sb)] = [
            (mean(18), mean(20)),
            (
                column(18).map(|d| (d - mean(18)).powi(2)).sum::<f64>().sqrt(),
                column(20).map(|d| (d - mean(20)).powi(2)).sum::<f64>().sqrt(),
            ),
        ];
        let together: f64 = column(18).zip(column(20)).map(|(x, y)| (x - a) * (y - b)).sum();
        assert!(together / (sa * sb) > 0.4, "{}", together / (sa * sb));
        let sideways = spines.iter().map(|spine| spine[10].left).sum::<f64>() / 600.0;
        assert!(sideways.abs() < 1.0, "{sideways}");
    }
}
