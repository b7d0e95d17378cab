//! Applies a model to one sample and saves what it computes, for comparison with other software:
//!
//! ```text
//! cargo run --release --example apply_network -- detection MODEL SAMPLE.npy OUTPUT.npy
//! ```
//!
//! The output of detection is `[x, y, z, class]`, that of identification `[y, z]`.

use std::path::Path;

use anyhow::{Result, bail};
use ndarray::{Axis, Ix3, s};
use vertebrae::network::{CpuPredictor, Kind, Predictor, Weights};
use vertebrae::sampling::npy;

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [kind, model, sample, output] = arguments.as_slice() else {
        bail!("four arguments are needed: detection|identification MODEL SAMPLE.npy OUTPUT.npy");
    };
    let sample = npy::read::<Ix3>(Path::new(sample))?;
    let output = Path::new(output);
    if kind == "detection" {
        let network = CpuPredictor::new(&Weights::read(Path::new(model), Kind::Detection)?);
        let result = network.predict(sample.insert_axis(Axis(0)).insert_axis(Axis(0)))?;
        npy::write(
            output,
            &result.slice(s![0, .., .., .., ..]).permuted_axes([1, 2, 3, 0]).as_standard_layout(),
        )
    } else {
        let network = CpuPredictor::new(&Weights::read(Path::new(model), Kind::Identification)?);
        let result = network.predict(sample.insert_axis(Axis(1)).insert_axis(Axis(0)))?;
        npy::write(output, &result.slice(s![0, 0, 0, .., ..]))
    }
}
