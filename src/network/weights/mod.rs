//! A network's weights as plain numbers, and the files they live in (docs/original.md §10).

mod error;
mod keras;
pub(crate) mod safetensors;
mod strip;

use std::fs::File;
use std::io::Read;
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};

use super::architecture::{Architecture, Kind, LayerShape};
use super::input::{Input, Windows};
use super::output::BODY;
use crate::random::Legacy;

/// Batch normalisation of one layer, one number a channel each.
#[derive(Clone, Debug, PartialEq)]
pub struct Norm {
    /// Scale.
    pub gamma: Vec<f32>,
    /// Offset.
    pub beta: Vec<f32>,
    /// Running mean.
    pub mean: Vec<f32>,
    /// Running variance.
    pub variance: Vec<f32>,
}

/// One convolution with its normalisation.
#[derive(Clone, Debug, PartialEq)]
pub struct LayerWeights {
    /// `[out, in, x, y, z]`, last axis contiguous.
    pub kernel: Vec<f32>,
    /// One number an output channel.
    pub bias: Vec<f32>,
    /// Absent on the output layer.
    pub norm: Option<Norm>,
}

impl LayerWeights {
    /// Fresh weights: a Glorot-uniform kernel, zero biases, identity normalisation (docs/original.md §6).
    fn initial(shape: &LayerShape, random: &mut Legacy) -> LayerWeights {
        let taps: usize = shape.kernel.iter().product();
        let limit = (6.0 / (taps * (shape.inputs + shape.outputs)) as f64).sqrt();
        let count = taps * shape.inputs * shape.outputs;
        let vector = |value: f32| vec![value; shape.outputs];
        LayerWeights {
            kernel: (0..count).map(|_| ((2.0 * random.uniform() - 1.0) * limit) as f32).collect(),
            bias: vector(0.0),
            norm: shape.normalised.then(|| Norm {
                gamma: vector(1.0),
                beta: vector(0.0),
                mean: vector(0.0),
                variance: vector(1.0),
            }),
        }
    }
}

/// All weights of a network, layers in the order of [`Architecture::layers`].
#[derive(Clone, Debug, PartialEq)]
pub struct Weights {
    /// What the network looks like.
    pub architecture: Architecture,
    /// What it is given.
    pub input: Input,
    /// One entry a convolution.
    pub layers: Vec<LayerWeights>,
}

impl Weights {
    /// Fresh weights: Glorot-uniform kernels, zero biases, identity normalisation (docs/original.md §6).
    pub fn initial(architecture: Architecture, seed: u32) -> Weights {
        let mut random = Legacy::seeded(seed);
        let mut layers: Vec<LayerWeights> =
            architecture.layers().iter().map(|shape| LayerWeights::initial(shape, &mut random)).collect();
        if let (Kind::Volume, Some(output)) = (architecture.kind, layers.last_mut()) {
            // Bodies are rare; to learn that first would take the first hundred steps.
            output.bias[BODY] = -4.6;
        }
        let input = match architecture.kind {
            Kind::Volume => Input::Windows(Windows::DEFAULT),
            Kind::Detection | Kind::Identification => Input::Normalised { spacing: None },
        };
        Weights { architecture, input, layers }
    }

    /// Reads a model for the stage `kind` in either format, whatever its name, a checkpoint too. Errors
    /// name the file.
    pub fn read(path: &Path, kind: Kind) -> Result<Weights, ModelError> {
        if !path.is_file() {
            return Err(ModelError::Missing(format!(
                "the {kind} model {} is missing; train one with 'vertebrae train-{kind}'",
                path.display()
            )));
        }
        let weights = match Format::within(path)? {
            Format::Safetensors => safetensors::read(path)?.0,
            Format::Keras => keras::read(path, kind)?,
        };
        weights.serving(kind).map_err(|error| error.of(path.display()))
    }

    /// Reads the bytes of a `.safetensors` model for the stage `kind`.
    pub fn parse(bytes: &[u8], kind: Kind) -> Result<Weights, ModelError> {
        safetensors::parse(bytes)?.0.serving(kind)
    }

    fn serving(self, stage: Kind) -> Result<Weights, ModelError> {
        let found = self.architecture.kind;
        if found.serves(stage) {
            return Ok(self);
        }
        Err(ModelError::OtherNetwork(format!("it is a model for {found}; a model for {stage} is needed")))
    }

    /// Writes a model; the ending of `path` chooses the format. It appears whole or not at all.
    pub fn write(&self, path: &Path) -> Result<()> {
        match Format::of(path)? {
            Format::Safetensors => {
                safetensors::write(path, self, &Default::default(), &[], Precision::Single)
            }
            Format::Keras => keras::write(path, self),
        }
    }

    /// Writes a `.safetensors` model of half the size: kernels keep three digits.
    pub fn write_half(&self, path: &Path) -> Result<()> {
        ensure!(
            Format::of(path)? == Format::Safetensors,
            "{} cannot hold half precision; end its name in .safetensors",
            path.display()
        );
        safetensors::write(path, self, &Default::default(), &[], Precision::Half)
    }
}

/// Refuses weights of the wrong number or with NaN or infinite values.
fn check_layers(shapes: &[LayerShape], layers: &[LayerWeights]) -> Result<()> {
    ensure!(layers.len() == shapes.len(), "{} layers are there, not {}", layers.len(), shapes.len());
    for (index, (shape, layer)) in shapes.iter().zip(layers).enumerate() {
        let taps: usize = shape.kernel.iter().product();
        let mut vectors =
            vec![(&layer.kernel, taps * shape.inputs * shape.outputs), (&layer.bias, shape.outputs)];
        if let Some(norm) = &layer.norm {
            vectors.extend([&norm.gamma, &norm.beta, &norm.mean, &norm.variance].map(|v| (v, shape.outputs)));
        }
        for (values, count) in vectors {
            ensure!(values.len() == count, "layer {} holds {} weights, not {count}", index + 1, values.len());
            ensure!(
                values.iter().all(|value| value.is_finite()),
                "layer {} holds NaN or infinity",
                index + 1
            );
        }
    }
    Ok(())
}

/// How many digits a stored kernel keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Precision {
    /// Seven: what was trained.
    Single,
    /// Three: enough to predict with.
    Half,
}

/// How a model is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// `.safetensors`: ours, with the architecture in the metadata.
    Safetensors,
    /// `.h5`: Keras.
    Keras,
}

impl Format {
    /// The format that the ending of `path` names.
    pub fn of(path: &Path) -> Result<Format> {
        match path.extension().and_then(|ending| ending.to_str()) {
            Some("safetensors") => Ok(Format::Safetensors),
            Some("h5" | "hdf5" | "keras") => Ok(Format::Keras),
            _ => bail!("{} is no model's name; end it in .safetensors or .h5", path.display()),
        }
    }
}

impl Format {
    /// The format of an existing file, told by its first bytes.
    fn within(path: &Path) -> Result<Format> {
        let mut start = [0; 4];
        let read = File::open(path).and_then(|mut file| file.read(&mut start));
        read.with_context(|| format!("{} cannot be read", path.display()))?;
        Ok(if start == *b"\x89HDF" { Format::Keras } else { Format::Safetensors })
    }
}

pub use self::error::ModelError;
pub use self::safetensors::{Extra, read as read_safetensors, write as write_safetensors};
pub use self::strip::{StripExtras, StripWeights};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn initial_kernels_are_glorot_uniform() {
        let weights = Weights::initial(Architecture { kind: Kind::Detection, filters: 4 }, 1);
        let kernel = &weights.layers[1].kernel;
        let limit = (6.0f32 / (27.0 * 8.0)).sqrt();
        assert!(kernel.iter().all(|value| value.abs() <= limit));
        assert!(kernel.iter().any(|value| value.abs() > 0.9 * limit));
    }

    #[test]
    fn both_formats_keep_every_weight() {
        let folder = tempfile::tempdir().unwrap();
        for kind in [Kind::Detection, Kind::Identification] {
            let weights = Weights::initial(Architecture { kind, filters: 2 }, 7);
            for name in ["model.safetensors", "model.h5"] {
                let path = folder.path().join(name);
                weights.write(&path).unwrap();
                assert_eq!(Weights::read(&path, kind).unwrap(), weights);
            }
        }
    }

    #[test]
    fn half_precision_halves_the_file_and_keeps_three_digits() {
        let folder = tempfile::tempdir().unwrap();
        let weights = Weights::initial(Architecture { kind: Kind::Volume, filters: 4 }, 7);
        let [whole, half] = ["whole.safetensors", "half.safetensors"].map(|name| folder.path().join(name));
        weights.write(&whole).unwrap();
        weights.write_half(&half).unwrap();
        let size = |path: &Path| std::fs::metadata(path).unwrap().len();
        assert!(size(&half) * 100 < size(&whole) * 55, "{} of {}", size(&half), size(&whole));
        let read = Weights::read(&half, Kind::Identification).unwrap();
        assert_eq!(
            (read.input, read.layers[0].norm.clone()),
            (weights.input, weights.layers[0].norm.clone())
        );
        let pairs = read.layers[3].kernel.iter().zip(&weights.layers[3].kernel);
        assert!(pairs.into_iter().all(|(a, b)| (a - b).abs() <= 1e-3 * b.abs() + 1e-6));
        assert!(weights.write_half(&folder.path().join("half.h5")).is_err());
    }

    #[test]
    fn a_model_of_the_other_kind_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let weights = Weights::initial(Architecture { kind: Kind::Detection, filters: 2 }, 7);
        for name in ["model.safetensors", "model.h5"] {
            let path = folder.path().join(name);
            weights.write(&path).unwrap();
            let error = format!("{:#}", Weights::read(&path, Kind::Identification).unwrap_err());
            assert!(error.contains("model for identification is needed"), "{error}");
        }
    }

    #[test]
    fn a_damaged_model_is_an_error_that_names_it() {
        let folder = tempfile::tempdir().unwrap();
        let weights = Weights::initial(Architecture { kind: Kind::Detection, filters: 2 }, 7);
        for name in ["model.safetensors", "model.h5"] {
            let path = folder.path().join(name);
            weights.write(&path).unwrap();
            let bytes = std::fs::read(&path).unwrap();
            for length in [0, 5, 100, bytes.len() / 2] {
                std::fs::write(&path, &bytes[..length]).unwrap();
                let error = format!("{:#}", Weights::read(&path, Kind::Detection).unwrap_err());
                assert!(error.contains(name), "{error}");
            }
        }
    }
}
