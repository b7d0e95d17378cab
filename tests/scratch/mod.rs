//! A scratch folder with small scans, and the built binary to run in it.
#![allow(dead_code)]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use ndarray::Array3;
use vertebrae::network::{Architecture, Kind, Reading, StripWeights, Weights, weights};
use vertebrae::scan::{Geometry, nifti};

/// The built binary, to be run in `folder`.
pub fn vertebrae(folder: &Path, arguments: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_vertebrae"));
    command.current_dir(folder).args(arguments.split_whitespace());
    command
}

/// What a run of the binary printed and returned.
pub struct Ran {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

/// Runs the binary in `folder`.
pub fn run(folder: &Path, arguments: &str) -> Ran {
    let Output { status, stdout, stderr } = vertebrae(folder, arguments).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    let ran = Ran { code: status.code(), stdout: text(stdout), stderr: text(stderr) };
    assert!(!ran.stderr.contains("panicked"), "{}", ran.stderr);
    ran
}

/// An LPS grid of 1 mm.
pub fn geometry(shape: [usize; 3]) -> Geometry {
    let affine = [[-1.0, 0.0, 0.0, 0.0], [0.0, -1.0, 0.0, 0.0], [0.0, 0.0, 1.0, 0.0]];
    Geometry { shape, spacing: [1.0; 3], affine }
}

/// A small scan: a bright bar along z in a dark volume.
pub fn voxels(shape: [usize; 3]) -> Array3<i16> {
    Array3::from_shape_fn(shape, |(x, y, z)| {
        let near = |at: usize, axis: usize| at.abs_diff(shape[axis] / 2) < 8;
        if near(x, 0) && near(y, 1) { 200 + (z % 7) as i16 } else { -100 + (x % 5) as i16 }
    })
}

/// Annotation lines for levels down the middle of a scan.
pub fn annotation(shape: [usize; 3], levels: &[&str]) -> String {
    let mut text = String::from("# header\n");
    for (index, level) in levels.iter().enumerate() {
        let z = shape[2] as f64 * (1.0 - (index as f64 + 0.5) / levels.len() as f64);
        text += &format!("{index}\t{level}_center\t{}\t{}\t{z}\n", shape[0] / 2, shape[1] / 2);
    }
    text
}

/// Writes a scan with its annotation and returns the scan's path.
pub fn scan(folder: &Path, name: &str, shape: [usize; 3], levels: &[&str]) -> PathBuf {
    let path = folder.join(format!("{name}.nii.gz"));
    nifti::write(&path, &voxels(shape), &geometry(shape)).unwrap();
    std::fs::write(folder.join(format!("{name}.lml")), annotation(shape, levels)).unwrap();
    path
}

/// Replaces a scan by an unzipped one with some bytes changed.
pub fn spoil(path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = Vec::new();
    let file = std::io::BufReader::new(std::fs::File::open(path).unwrap());
    std::io::Read::read_to_end(&mut flate2::bufread::GzDecoder::new(file), &mut bytes).unwrap();
    change(&mut bytes);
    std::fs::write(path, bytes).unwrap();
}

/// Overwrites bytes at an offset.
pub fn set(bytes: &mut [u8], at: usize, value: &[u8]) {
    bytes[at..at + value.len()].copy_from_slice(value);
}

/// Writes a pair of tiny models whose outputs are constant: the logits of background and vertebra,
/// and the label value.
pub fn models(folder: &Path, logits: [f32; 2], value: f32) {
    for (kind, bias) in [(Kind::Detection, logits.to_vec()), (Kind::Identification, vec![value])] {
        let mut weights = Weights::initial(Architecture { kind, filters: 1 }, 1);
        let output = weights.layers.last_mut().unwrap();
        output.kernel.fill(0.0);
        output.bias = bias;
        weights.write(&folder.join(format!("{kind}.safetensors"))).unwrap();
    }
}

/// The models of `predict` with an untrained network of names in place of theirs.
pub fn other_names(models: &Path, folder: &Path) {
    for name in ["course.safetensors", "bodies.safetensors"] {
        std::fs::copy(models.join(name), folder.join(name)).unwrap();
    }
    let own = StripWeights::read(&models.join("names.safetensors"), Reading::Names).unwrap();
    let weights = StripWeights::initial(own.architecture, 5);
    weights.write(&folder.join("names.safetensors"), weights::Precision::Half).unwrap();
}

/// Names of all files below a folder, sorted.
pub fn files(folder: &Path) -> Vec<String> {
    let mut names = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in std::fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                names.push(path.file_name().unwrap().to_string_lossy().into_owned());
            }
        }
    }
    names.sort();
    names
}
