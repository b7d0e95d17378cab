//! Keras `.h5` models: the original's files are read as they are, ours load with `load_weights`.

use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use hdf5_pure::{AttrValue, File, FileBuilder, GroupBuilder};

use super::{Architecture, Kind, LayerWeights, Norm, Weights, check_layers};
use crate::network::Input;
use crate::network::architecture::LayerShape;

/// Reads the weights of a model saved by Keras; the width is read off the first kernel.
pub fn read(path: &Path, kind: Kind) -> Result<Weights> {
    let bytes = std::fs::read(path).with_context(|| format!("{} cannot be read", path.display()))?;
    parse(bytes, kind).with_context(|| format!("{} is no usable Keras model", path.display()))
}

/// One dataset: its shape and numbers.
type Tensor = (Vec<usize>, Vec<f32>);

fn parse(bytes: Vec<u8>, kind: Kind) -> Result<Weights> {
    let file = File::from_bytes(bytes).map_err(|error| anyhow::anyhow!("it is no HDF5 file ({error})"))?;
    // A file of weights alone has the layers at its root, a whole model below `model_weights`.
    let root = if file.group("model_weights").is_ok() { "model_weights/" } else { "" };
    let names = match root {
        "" => names(&file.root().attrs()?, "layer_names")?,
        _ => names(&file.group("model_weights")?.attrs()?, "layer_names")?,
    };
    let mut convolutions: Vec<(Tensor, Tensor)> = Vec::new();
    let mut norms: Vec<[Vec<f32>; 4]> = Vec::new();
    for layer in &names {
        let group = file.group(&format!("{root}{layer}"))?;
        let weights = names_of_weights(&group.attrs()?);
        if weights.is_empty() {
            continue;
        }
        let tensor = |part: &str| -> Result<Tensor> {
            let name = weights
                .iter()
                .find(|name| {
                    name.split('/').next_back().is_some_and(|last| last.split(':').next() == Some(part))
                })
                .with_context(|| format!("the layer '{layer}' has no {part}"))?;
            let dataset = file.dataset(&format!("{root}{layer}/{name}"))?;
            let shape = dataset.shape()?.iter().map(|&size| size as usize).collect();
            Ok((shape, dataset.read_f32()?))
        };
        if weights.iter().any(|name| name.contains("kernel")) {
            convolutions.push((tensor("kernel")?, tensor("bias")?));
        } else {
            norms.push([
                tensor("gamma")?.1,
                tensor("beta")?.1,
                tensor("moving_mean")?.1,
                tensor("moving_variance")?.1,
            ]);
        }
    }
    assemble(kind, convolutions, norms)
}

fn assemble(kind: Kind, convolutions: Vec<(Tensor, Tensor)>, norms: Vec<[Vec<f32>; 4]>) -> Result<Weights> {
    let first = &convolutions.first().context("it holds no convolution")?.0.0;
    let rank = if kind == Kind::Detection { 5 } else { 4 };
    ensure!(
        first.len() == rank,
        "its convolutions are {}-D; a model for {kind} is needed",
        first.len().saturating_sub(2)
    );
    let filters = first[rank - 1];
    ensure!((1..=1024).contains(&filters), "its first layer has {filters} filters");
    let architecture = Architecture { kind, filters };
    let shapes = architecture.layers();
    ensure!(
        convolutions.len() == shapes.len() && norms.len() == shapes.len() - 1,
        "it holds {} convolutions and {} normalisations; the {kind} network has {} and {}",
        convolutions.len(),
        norms.len(),
        shapes.len(),
        shapes.len() - 1
    );
    let mut norms = norms.into_iter();
    let mut layers = Vec::new();
    for (index, (shape, (kernel, bias))) in shapes.iter().zip(convolutions).enumerate() {
        let expected = keras_shape(shape, rank);
        ensure!(
            kernel.0 == expected,
            "convolution {} has a kernel of shape {:?}; the {kind} network needs {expected:?}",
            index + 1,
            kernel.0
        );
        let norm = match shape.normalised {
            true => norms.next().map(|[gamma, beta, mean, variance]| Norm { gamma, beta, mean, variance }),
            false => None,
        };
        layers.push(LayerWeights { kernel: from_keras(shape, &kernel.1), bias: bias.1, norm });
    }
    let weights = Weights { architecture, input: Input::Normalised { spacing: None }, layers };
    check_layers(&weights.architecture.layers(), &weights.layers)?;
    Ok(weights)
}

/// Keras's shape of a kernel: space, then input, then output channels.
fn keras_shape(shape: &LayerShape, rank: usize) -> Vec<usize> {
    let mut sizes = shape.kernel[5 - rank..].to_vec();
    sizes.extend([shape.inputs, shape.outputs]);
    sizes
}

/// `[taps, in, out]` → `[out, in, taps]`.
fn from_keras(shape: &LayerShape, values: &[f32]) -> Vec<f32> {
    let taps: usize = shape.kernel.iter().product();
    let mut kernel = Vec::with_capacity(values.len());
    for output in 0..shape.outputs {
        for input in 0..shape.inputs {
            kernel.extend((0..taps).map(|tap| values[(tap * shape.inputs + input) * shape.outputs + output]));
        }
    }
    kernel
}

/// `[out, in, taps]` → `[taps, in, out]`.
fn to_keras(shape: &LayerShape, values: &[f32]) -> Vec<f32> {
    let taps: usize = shape.kernel.iter().product();
    let mut kernel = Vec::with_capacity(values.len());
    for tap in 0..taps {
        for input in 0..shape.inputs {
            kernel.extend(
                (0..shape.outputs).map(|output| values[(output * shape.inputs + input) * taps + tap]),
            );
        }
    }
    kernel
}

fn names(attributes: &std::collections::HashMap<String, AttrValue>, key: &str) -> Result<Vec<String>> {
    match attributes.get(key) {
        Some(
            AttrValue::StringArray(values)
            | AttrValue::AsciiStringArray(values)
            | AttrValue::VarLenStringArray(values)
            | AttrValue::VarLenAsciiStringArray(values),
        ) => Ok(values.iter().map(|value| value.trim_end_matches('\0').to_owned()).collect()),
        Some(other) => bail!("its attribute '{key}' is no list of names ({other:?})"),
        None => bail!("it has no attribute '{key}'; save the model with Keras's legacy HDF5 format"),
    }
}

/// The names of a layer's weights; layers without any have an empty list of no particular type.
fn names_of_weights(attributes: &std::collections::HashMap<String, AttrValue>) -> Vec<String> {
    names(attributes, "weight_names").unwrap_or_default()
}

/// Writes the weights as Keras's `save_weights` lays them out below `model_weights`.
pub fn write(path: &Path, weights: &Weights) -> Result<()> {
    ensure!(
        weights.architecture.kind != Kind::Volume,
        "a volume network is no network of the Keras pipeline; give {} the ending .safetensors",
        path.display()
    );
    let planar = weights.architecture.kind == Kind::Identification;
    let rank = if planar { 4 } else { 5 };
    let mut file = FileBuilder::new();
    let mut root = file.create_group("model_weights");
    let mut layer_names = Vec::new();
    for (index, (shape, layer)) in weights.architecture.layers().iter().zip(&weights.layers).enumerate() {
        let convolution = numbered(if planar { "conv2d" } else { "conv3d" }, index);
        let kernel = to_keras(shape, &layer.kernel);
        let kernel_shape = keras_shape(shape, rank);
        add_layer(
            &mut root,
            &convolution,
            &[("kernel", &kernel_shape, &kernel), ("bias", &[shape.outputs], &layer.bias)],
        );
        layer_names.push(convolution);
        if let Some(norm) = &layer.norm {
            let name = numbered("batch_normalization", index);
            let size = [shape.outputs];
            let parts: [(&str, &[usize], &[f32]); 4] = [
                ("gamma", &size, &norm.gamma),
                ("beta", &size, &norm.beta),
                ("moving_mean", &size, &norm.mean),
                ("moving_variance", &size, &norm.variance),
            ];
            add_layer(&mut root, &name, &parts);
            layer_names.push(name);
        }
    }
    root.set_attr("layer_names", AttrValue::StringArray(layer_names));
    root.set_attr("backend", AttrValue::String("tensorflow".into()));
    root.set_attr("keras_version", AttrValue::String("2.2.4".into()));
    file.add_group(root.finish());
    let bytes = file.finish()?;
    crate::artifact::write(path, |out| Ok(out.write_all(&bytes)?))
}

/// Adds `<layer>/<layer>/<part>:0` with the list of its parts, as Keras lays a layer out.
fn add_layer(root: &mut GroupBuilder, layer: &str, parts: &[(&str, &[usize], &[f32])]) {
    let mut outer = root.create_group(layer);
    let mut inner = outer.create_group(layer);
    for (part, shape, values) in parts {
        let shape: Vec<u64> = shape.iter().map(|&size| size as u64).collect();
        inner.create_dataset(&format!("{part}:0")).with_f32_data(values).with_shape(&shape);
    }
    outer.add_group(inner.finish());
    let names = parts.iter().map(|(part, ..)| format!("{layer}/{part}:0")).collect();
    outer.set_attr("weight_names", AttrValue::StringArray(names));
    root.add_group(outer.finish());
}

/// Keras numbers layers of one type from the second on: conv3d, conv3d_1, ….
fn numbered(name: &str, index: usize) -> String {
    if index == 0 { name.to_owned() } else { format!("{name}_{index}") }
}
