//! A strip network's training that can be taken up again.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use crate::learning::moments;
use crate::network::weights::Precision;
use crate::network::{Reading, StripWeights};

/// Metadata key of the state, as JSON.
const STATE: &str = "training";

/// The recipe of a training and how far it had come.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct State {
    /// Epochs that the learning rate falls over.
    pub epochs: usize,
    /// Steps of an epoch.
    pub steps: usize,
    /// Spines of a step.
    pub batch_size: usize,
    /// Highest learning rate.
    pub learning_rate: f64,
    /// Decay of the weights.
    pub weight_decay: f64,
    /// Seed of weights and examples.
    pub seed: u32,
    /// Which scans it learns from, and how often from each.
    #[serde(default)]
    pub examples: String,
    /// Whether convolutions are computed in bfloat16.
    #[serde(default)]
    pub bf16: bool,
    /// Epochs done.
    pub epoch: usize,
}

/// A `.safetensors` file that is a model and a training at once.
#[derive(Clone, Debug, PartialEq)]
pub struct StripCheckpoint {
    /// The network.
    pub weights: StripWeights,
    /// The optimiser's moments, one pair a trained tensor.
    pub moments: Vec<[Vec<f32>; 2]>,
    /// The recipe and how far it had come.
    pub state: State,
}

impl StripCheckpoint {
    /// Where the newest checkpoint of a training goes: `FOLDER/names_model/names_model.last`.
    pub fn path(folder: &Path, reading: Reading) -> PathBuf {
        folder.join(format!("{reading}_model")).join(format!("{reading}_model.last"))
    }

    /// Writes the checkpoint, whole or not at all.
    pub fn write(&self, path: &Path) -> Result<()> {
        let metadata = BTreeMap::from([(STATE.to_owned(), serde_json::to_string(&self.state)?)]);
        let extra = moments::named(&self.moments);
        self.weights.write_all(path, metadata, &extra, Precision::Single)
    }

    /// Reads a checkpoint; errors name the file.
    pub fn read(path: &Path, reading: Reading) -> Result<StripCheckpoint> {
        let (weights, (metadata, extra)) = StripWeights::read_all(path, reading)?;
        let state = metadata.get(STATE).with_context(|| {
            format!("{} is a finished model, not a checkpoint; name a file below checkpoints", path.display())
        })?;
        let state = serde_json::from_str(state)
            .with_context(|| format!("the training state in {} cannot be read", path.display()))?;
        let moments = moments::of(extra, path)?;
        Ok(StripCheckpoint { weights, moments, state })
    }
}
