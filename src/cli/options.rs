//! Options that several subcommands share, and how their values are written.

use std::path::Path;

use anyhow::{Result, bail};
use clap::{Args, ValueEnum};

use crate::annotation::Annotated;
use crate::batch::Shard;
use crate::device::Device;
use crate::inference::cutting;
use crate::inference::tiling::Tiling;
use crate::memory;

/// How scans are read.
#[derive(Args, Clone, Copy)]
pub struct Reading {
    /// Take volumes as they are stored, for files whose header names a wrong orientation
    #[arg(long)]
    pub no_reorient: bool,
}

impl Reading {
    /// Reads a scan and the annotation beside it, and says what had to be put right.
    pub fn annotated(&self, path: &Path) -> Result<Annotated> {
        let annotated = Annotated::read(path, !self.no_reorient)?;
        for warning in &annotated.scan.volume.warnings {
            eprintln!("warning: {}: {warning}", path.display());
        }
        Ok(annotated)
    }
}

/// How large pieces of a scan the networks see at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Pieces {
    /// The original's overlapping patches and whole slices
    Exact,
    /// Tiles as large as memory allows, none of them air, and slices cropped to the spine
    Wide,
}

/// How scans are cut up.
#[derive(Args, Clone, Copy)]
pub struct Cutting {
    /// How large pieces of a scan the networks see at once
    #[arg(long, value_enum, default_value = "exact")]
    pub tiling: Pieces,
    /// Memory that wide tiles may make this program use, such as 2GiB [default: half of the
    /// machine's, 4GiB at most]
    #[arg(long, value_name = "SIZE", value_parser = bytes)]
    pub max_memory: Option<u64>,
}

impl Cutting {
    /// What was asked for; `exact` are the tiles of the original's way.
    pub fn cutting(&self, exact: Tiling) -> cutting::Cutting {
        match self.tiling {
            Pieces::Exact => cutting::Cutting::Exact(exact),
            Pieces::Wide => cutting::Cutting::Wide(
                self.max_memory
                    .unwrap_or_else(|| memory::installed().map_or(MOST, |all| (all / 2).min(MOST))),
            ),
        }
    }
}

/// Memory used at most where nothing is said: larger tiles gain nothing.
const MOST: u64 = 4 << 30;

/// A size such as `2GiB`, `500MB` or a number of bytes.
pub fn bytes(text: &str) -> Result<u64, String> {
    let wrong = || "a size such as 2GiB or 500MB is needed".to_owned();
    let digits = text.trim_end_matches(|letter: char| letter.is_ascii_alphabetic());
    let unit: u64 = match &text[digits.len()..] {
        "" | "B" => 1,
        "MB" => 1_000_000,
        "GB" => 1_000_000_000,
        "M" | "MiB" => 1 << 20,
        "G" | "GiB" => 1 << 30,
        _ => return Err(wrong()),
    };
    let number: f64 = digits.trim().parse().map_err(|_| wrong())?;
    if number > 0.0 && number.is_finite() { Ok((number * unit as f64) as u64) } else { Err(wrong()) }
}

/// Which part of the scans a command takes.
#[derive(Args, Clone, Copy)]
pub struct Sharding {
    /// Take every n-th scan only, beginning with the i-th, such as 1/8: shards of one command can run
    /// anywhere at the same time, and together they are the whole
    #[arg(long, value_name = "I/N")]
    pub shard: Option<Shard>,
}

impl Sharding {
    /// The part of a list that was asked for.
    pub fn part<T>(&self, list: Vec<T>) -> Vec<T> {
        self.shard.unwrap_or(Shard::ALL).part(list)
    }
}

/// Where networks are computed.
#[derive(Args, Clone, Copy)]
pub struct Computing {
    /// Where to compute: cpu, cuda, cuda:N or auto, which takes a card if one can be used
    #[arg(long, default_value = "cpu")]
    device: Device,
}

impl Computing {
    /// The device that is meant; to find out about cards takes a moment, so ask once.
    pub fn device(&self) -> Device {
        self.device.resolved()
    }
}

/// In how many bits networks are computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Precision {
    /// Floats of 32 bits, the same on every machine up to the order of sums
    F32,
    /// What convolutions multiply rounded to 16 bits (bfloat16), sums of 32: on a processor that multiplies it
    Bf16,
    /// bf16 where the processor has it, else f32
    Auto,
}

/// Where networks are computed, and in how many bits.
#[derive(Args, Clone, Copy)]
pub struct Precise {
    #[command(flatten)]
    computing: Computing,
    /// In how many bits the processor computes convolutions: while training all, else those of the networks of volumes
    #[arg(long, value_enum, default_value = "f32")]
    precision: Precision,
}

impl Precise {
    /// The device that is meant; an error where the precision cannot be had.
    pub fn device(&self) -> Result<Device> {
        let device = self.computing.device();
        match (self.precision, device) {
            (Precision::F32, _) => Ok(device),
            (Precision::Bf16, Device::Cpu) => Ok(Device::halved()?),
            (Precision::Bf16, _) => bail!("bf16 is the processor's; use --device cpu with it"),
            (Precision::Auto, Device::Cpu) => Ok(Device::halved().unwrap_or(device)),
            (Precision::Auto, _) => Ok(device),
        }
    }
}

/// A number above 0.
pub fn positive(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(value) if value.is_finite() && value > 0.0 => Ok(value),
        _ => Err("a number above 0 is needed".to_owned()),
    }
}

/// A number of at least 0.
pub fn not_negative(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(value) if value.is_finite() && value >= 0.0 => Ok(value),
        _ => Err("a number of at least 0 is needed".to_owned()),
    }
}

/// A number from 0 up to, but not including, 1.
pub fn share(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(value) if (0.0..1.0).contains(&value) => Ok(value),
        _ => Err("a number from 0 to below 1 is needed".to_owned()),
    }
}

/// A whole number of at least 1.
pub fn at_least_one(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(value) if value >= 1 => Ok(value),
        _ => Err("a whole number of at least 1 is needed".to_owned()),
    }
}

/// Two numbers of at least 0 such as `0.1,0.9`.
pub fn pair(text: &str) -> Result<[f64; 2], String> {
    let parts: Vec<f64> = text.split(',').map(not_negative).collect::<Result<_, _>>()?;
    parts
        .try_into()
        .map_err(|_| "two numbers with a comma between them are needed, such as 0.1,0.9".to_owned())
}

/// Sizes such as `64x64x80`.
pub fn size<const N: usize>(text: &str) -> Result<[usize; N], String> {
    let wrong =
        || format!("{N} whole numbers with x between them are needed, such as {}", ["16"; N].join("x"));
    let parts: Vec<usize> =
        text.split('x').map(at_least_one).collect::<Result<_, _>>().map_err(|_| wrong())?;
    parts.try_into().map_err(|_| wrong())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_written_with_x_between_them() {
        assert_eq!(size::<3>("64x64x80"), Ok([64, 64, 80]));
        assert!(size::<3>("64x64").unwrap_err().contains("16x16x16"));
        assert!(size::<2>("64x0").is_err());
    }

    #[test]
    fn sizes_of_memory_have_units() {
        assert_eq!(bytes("2GiB"), Ok(2 << 30));
        assert_eq!(bytes("500MB"), Ok(500_000_000));
        assert_eq!(bytes("1.5G"), Ok(3 << 29));
        assert!(bytes("much").is_err() && bytes("-1GiB").is_err() && bytes("2 parsecs").is_err());
    }

    #[test]
    fn numbers_out_of_range_are_refused() {
        assert!(positive("0").is_err() && positive("NaN").is_err() && positive("inf").is_err());
        assert_eq!(not_negative("0"), Ok(0.0));
    }
}
