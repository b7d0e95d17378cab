//! Names the vertebrae of a scan: `cargo run --release --example predict -- SCAN`.

use std::path::PathBuf;

use anyhow::{Context, Result};
use vertebrae::device::Device;
use vertebrae::pipeline::{Models, Pipeline};
use vertebrae::scan::Scan;

fn main() -> Result<()> {
    let path = std::env::args_os().nth(1).map(PathBuf::from).context("name a scan")?;
    let pipeline = Pipeline::load(&Models::built_in()?, Device::Cpu)?;
    let scan = Scan::read(&path)?;
    for vertebra in pipeline.predict(&scan)?.vertebrae {
        let [left, back, up] = vertebra.lps;
        println!("{:<4} {left:8.1} {back:8.1} {up:8.1}  {:.2}", vertebra.level.name(), vertebra.confidence);
    }
    Ok(())
}
