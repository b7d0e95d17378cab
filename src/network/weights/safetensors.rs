//! `.safetensors` models: our own format, with the architecture in the metadata.

use std::collections::BTreeMap;
use std::collections::HashMap;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use safetensors::tensor::{Dtype, SafeTensors, TensorView, serialize};

use super::{LayerWeights, Norm, Precision, Weights, check_layers};
use crate::network::{Input, Kind, LayerShape};

/// The one metadata entry of the file, a JSON object of strings: the format's library writes several
/// in random order, and equal models should be equal files.
const METADATA: &str = "vertebrae";
/// Its key that holds the architecture as JSON.
const ARCHITECTURE: &str = "architecture";
/// Its key that holds what the network is given, as JSON.
const INPUT: &str = "input";

/// Further numbers stored beside the weights: name → values.
pub type Extra = (String, Vec<f32>);

/// Name of the first tensor of each layer; the rest follow from it.
fn name(index: usize, part: &str) -> String {
    format!("layer{index:02}.{part}")
}

/// Writes the weights with further metadata and tensors beside them (a checkpoint's state). Kernels
/// are stored in the given precision, everything else, which takes little room, in single.
pub fn write(
    path: &Path,
    weights: &Weights,
    metadata: &BTreeMap<String, String>,
    extra: &[Extra],
    precision: Precision,
) -> Result<()> {
    let mut metadata = metadata.clone();
    metadata.insert(ARCHITECTURE.to_owned(), serde_json::to_string(&weights.architecture)?);
    if weights.input != (Input::Normalised { spacing: None }) {
        metadata.insert(INPUT.to_owned(), serde_json::to_string(&weights.input)?);
    }
    write_layers(path, &weights.architecture.layers(), &weights.layers, metadata, extra, precision)
}

/// Writes the layers of any network; what it is stands in the metadata.
pub(super) fn write_layers(
    path: &Path,
    shapes: &[LayerShape],
    layers: &[LayerWeights],
    mut metadata: BTreeMap<String, String>,
    extra: &[Extra],
    precision: Precision,
) -> Result<()> {
    metadata.insert("version".to_owned(), env!("CARGO_PKG_VERSION").to_owned());
    let metadata = HashMap::from([(METADATA.to_owned(), serde_json::to_string(&metadata)?)]);
    let mut tensors: Vec<(String, Vec<usize>, &[f32])> = Vec::new();
    for (index, (shape, layer)) in shapes.iter().zip(layers).enumerate() {
        let [x, y, z] = shape.kernel;
        tensors.push((name(index, "kernel"), vec![shape.outputs, shape.inputs, x, y, z], &layer.kernel));
        let mut vector = |part, values| tensors.push((name(index, part), vec![shape.outputs], values));
        vector("bias", &layer.bias);
        if let Some(norm) = &layer.norm {
            vector("gamma", &norm.gamma);
            vector("beta", &norm.beta);
            vector("mean", &norm.mean);
            vector("variance", &norm.variance);
        }
    }
    for (name, values) in extra {
        tensors.push((name.clone(), vec![values.len()], values));
    }
    // Kernels have five dimensions.
    let dtype = |shape: &[usize]| match precision {
        Precision::Half if shape.len() == 5 => Dtype::F16,
        _ => Dtype::F32,
    };
    let bytes: Vec<Vec<u8>> = tensors
        .iter()
        .map(|(_, shape, values)| match dtype(shape) {
            Dtype::F16 => values.iter().flat_map(|&value| half::f16::from_f32(value).to_le_bytes()).collect(),
            _ => values.iter().flat_map(|value| value.to_le_bytes()).collect(),
        })
        .collect();
    let views = tensors
        .iter()
        .zip(&bytes)
        .map(|((name, shape, _), bytes)| {
            Ok((name.clone(), TensorView::new(dtype(shape), shape.clone(), bytes)?))
        })
        .collect::<Result<Vec<_>>>()?;
    let file = serialize(views, Some(metadata))?;
    crate::artifact::write(path, |out| Ok(out.write_all(&file)?))
}

/// Reads weights and whatever metadata and tensors stand beside them. Half-precision files are
/// widened.
pub fn read(path: &Path) -> Result<(Weights, BTreeMap<String, String>, Vec<Extra>)> {
    let bytes = std::fs::read(path).with_context(|| format!("{} cannot be read", path.display()))?;
    parse(&bytes).with_context(|| format!("{} is no usable model of vertebrae", path.display()))
}

/// The same from the bytes of a file.
pub fn parse(bytes: &[u8]) -> Result<(Weights, BTreeMap<String, String>, Vec<Extra>)> {
    let metadata = metadata(bytes)?;
    let architecture = metadata
        .get(ARCHITECTURE)
        .context("its metadata does not say which network it is; it was not written by vertebrae")?;
    let architecture: super::Architecture = serde_json::from_str(architecture)?;
    ensure!((1..=1024).contains(&architecture.filters), "it claims {} filters", architecture.filters);
    let (layers, extra) = parse_layers(bytes, &architecture.layers())?;
    let input: Option<Input> = metadata.get(INPUT).map(|text| serde_json::from_str(text)).transpose()?;
    let input = input.unwrap_or(Input::Normalised { spacing: None });
    let whole = architecture.kind == Kind::Volume;
    ensure!(
        input.is_possible() && input.windows().is_some() == whole,
        "it claims to be given {}",
        serde_json::to_string(&input)?
    );
    let weights = Weights { architecture, input, layers };
    check_layers(&weights.architecture.layers(), &weights.layers)?;
    Ok((weights, metadata, extra))
}

/// What a file says of its network.
pub(super) fn metadata(bytes: &[u8]) -> Result<BTreeMap<String, String>> {
    let (_, header) = SafeTensors::read_metadata(bytes)?;
    let metadata = header.metadata().as_ref().and_then(|entries| entries.get(METADATA));
    Ok(serde_json::from_str(
        metadata.context("its metadata do not say which network it is; it was not written by vertebrae")?,
    )?)
}

/// The precision that the kernels of any network in a file have.
pub(super) fn precision(bytes: &[u8]) -> Result<Precision> {
    let kernel = SafeTensors::deserialize(bytes)?.tensor(&name(0, "kernel"))?.dtype();
    Ok(if kernel == Dtype::F16 { Precision::Half } else { Precision::Single })
}

/// The layers of any network in a file, and whatever stands beside them.
pub(super) fn parse_layers(bytes: &[u8], shapes: &[LayerShape]) -> Result<(Vec<LayerWeights>, Vec<Extra>)> {
    let tensors = SafeTensors::deserialize(bytes)?;
    let mut known = Vec::new();
    let mut layers = Vec::new();
    for (index, shape) in shapes.iter().enumerate() {
        let mut part = |part: &str| -> Result<Vec<f32>> {
            let name = name(index, part);
            let values = numbers(&tensors.tensor(&name)?)?;
            known.push(name);
            Ok(values)
        };
        layers.push(LayerWeights {
            kernel: part("kernel")?,
            bias: part("bias")?,
            norm: match shape.normalised {
                true => Some(Norm {
                    gamma: part("gamma")?,
                    beta: part("beta")?,
                    mean: part("mean")?,
                    variance: part("variance")?,
                }),
                false => None,
            },
        });
    }
    let extra = tensors
        .tensors()
        .into_iter()
        .filter(|(name, _)| !known.contains(name))
        .map(|(name, view)| Ok((name, numbers(&view)?)))
        .collect::<Result<Vec<Extra>>>()?;
    Ok((layers, extra))
}

/// The numbers of a tensor of single or half precision.
pub(crate) fn numbers(view: &TensorView) -> Result<Vec<f32>> {
    let bytes = view.data();
    match view.dtype() {
        Dtype::F32 => {
            Ok(bytes.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect())
        }
        Dtype::F16 => {
            Ok(bytes.chunks_exact(2).map(|b| half::f16::from_le_bytes([b[0], b[1]]).to_f32()).collect())
        }
        other => anyhow::bail!("it stores weights as {other:?}; float32 and float16 are read"),
    }
}
