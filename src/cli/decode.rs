//! `decode`: candidate bodies in, labelled sequences out, one object a line.

use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use clap::Args;
use serde::{Deserialize, Serialize};

use crate::anatomy::Level;
use crate::decoding::sequence::body::bodies;
use crate::decoding::sequence::evidence::Evidence;
use crate::decoding::sequence::{Flag, Named, decode};

#[derive(Args)]
pub struct Decode {
    /// File with a scan a line: {"id", "detections": [[x, y, z, pC, pT, pL], …], "pedicles":
    /// [["left"|"right", x, y, z], …]} in mm, LPS; - for standard input
    file: PathBuf,
}

#[derive(Deserialize)]
struct Request {
    id: String,
    detections: Vec<[f64; 6]>,
    #[serde(default)]
    pedicles: Vec<(Side, f64, f64, f64)>,
}

#[derive(Deserialize, PartialEq)]
#[serde(rename_all = "lowercase")]
enum Side {
    Left,
    Right,
}

#[derive(Serialize)]
struct Answer {
    id: String,
    vertebrae: Vec<Vertebra>,
}

#[derive(Serialize)]
struct Vertebra {
    label: Level,
    x: f64,
    y: f64,
    z: f64,
    confidence: f64,
    alternatives: Vec<Alternative>,
    flags: Vec<Flag>,
}

#[derive(Serialize)]
struct Alternative {
    label: Level,
    confidence: f64,
}

/// Three decimals: more would pretend to be known.
fn rounded(value: f64) -> f64 {
    (value * 1e3).round() / 1e3
}

impl From<Named> for Vertebra {
    fn from(named: Named) -> Self {
        let [x, y, z] = named.mm.map(rounded);
        let alternative =
            |(label, confidence): (Level, f64)| Alternative { label, confidence: rounded(confidence) };
        Vertebra {
            label: named.level,
            x,
            y,
            z,
            confidence: rounded(named.confidence),
            alternatives: named.alternatives.into_iter().map(alternative).collect(),
            flags: named.flags,
        }
    }
}

impl Request {
    fn answer(self) -> Result<Answer> {
        if self.detections.iter().flatten().any(|value| !value.is_finite())
            || self.pedicles.iter().any(|(_, x, y, z)| !(x + y + z).is_finite())
        {
            bail!("a coordinate or probability is no finite number");
        }
        let side = |wanted: Side| -> Vec<[f64; 3]> {
            self.pedicles.iter().filter(|(side, ..)| *side == wanted).map(|&(_, x, y, z)| [x, y, z]).collect()
        };
        let candidates = bodies(&self.detections, &side(Side::Left), &side(Side::Right));
        let named = decode(&candidates, Evidence::shipped())?;
        Ok(Answer { id: self.id, vertebrae: named.into_iter().map(Vertebra::from).collect() })
    }
}

impl Decode {
    pub fn run(self) -> Result<()> {
        let name = self.file.display();
        let input: Box<dyn BufRead> = if self.file.as_os_str() == "-" {
            Box::new(std::io::stdin().lock())
        } else {
            let file = std::fs::File::open(&self.file).with_context(|| format!("{name} cannot be read"))?;
            Box::new(BufReader::new(file))
        };
        let mut out = std::io::stdout().lock();
        let mut failed = 0;
        for (number, line) in input.lines().enumerate() {
            let line = line.with_context(|| format!("{name} cannot be read on"))?;
            if line.trim().is_empty() {
                continue;
            }
            let answer = serde_json::from_str::<Request>(&line)
                .map_err(|error| anyhow::anyhow!("{error}; see 'vertebrae help decode' for the format"))
                .and_then(Request::answer);
            match answer {
                Ok(answer) => writeln!(out, "{}", serde_json::to_string(&answer)?)?,
                Err(error) => {
                    eprintln!("error: {name}, line {}: {error:#}", number + 1);
                    failed += 1;
                }
            }
        }
        match failed {
            0 => Ok(()),
            1 => bail!("one line of {name} could not be used"),
            _ => bail!("{failed} lines of {name} could not be used"),
        }
    }
}
