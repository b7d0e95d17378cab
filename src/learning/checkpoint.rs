//! A training that can be taken up again: weights, moments and how far it had come.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};

use super::moments;
use super::objective::Objective;
use crate::network::{Kind, Weights, weights};

/// Metadata key of the state, as JSON.
const STATE: &str = "training";

/// How far a training had come, and what it must be continued with.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct State {
    /// Epochs done.
    pub epoch: usize,
    /// Optimiser steps done.
    pub step: u64,
    /// Seed of weights and order.
    pub seed: u32,
    /// Samples a step.
    pub batch_size: usize,
    /// Learning rate before decay.
    pub learning_rate: f64,
    /// Decay of the learning rate.
    pub decay: f64,
    /// Momentum of the running statistics.
    pub momentum: f64,
    /// Loss.
    pub objective: Objective,
    /// Everything else that decides the weights: where training began, what is given and drawn.
    #[serde(default)]
    pub recipe: String,
    /// Which examples it learns from.
    #[serde(default)]
    pub examples: String,
}

/// A `.safetensors` file that is a model and a training at once.
#[derive(Clone, Debug, PartialEq)]
pub struct Checkpoint {
    /// The network.
    pub weights: Weights,
    /// The optimiser's moments, one pair a trained tensor.
    pub moments: Vec<[Vec<f32>; 2]>,
    /// How far it had come.
    pub state: State,
}

impl Checkpoint {
    /// Where the checkpoint of an epoch goes: `FOLDER/detection_model/detection_model.03`.
    pub fn path(folder: &Path, kind: Kind, epoch: usize) -> PathBuf {
        folder.join(format!("{kind}_model")).join(format!("{kind}_model.{epoch:02}"))
    }

    /// Writes the checkpoint, whole or not at all.
    pub fn write(&self, path: &Path) -> Result<()> {
        let metadata = BTreeMap::from([(STATE.to_owned(), serde_json::to_string(&self.state)?)]);
        let extra = moments::named(&self.moments);
        weights::write_safetensors(path, &self.weights, &metadata, &extra, weights::Precision::Single)
    }

    /// Reads a checkpoint; errors name the file.
    pub fn read(path: &Path, kind: Kind) -> Result<Checkpoint> {
        let (weights, metadata, extra) = weights::read_safetensors(path)?;
        let found = weights.architecture.kind;
        ensure!(found == kind, "{} is a checkpoint for {found}; one for {kind} is needed", path.display());
        let state = metadata.get(STATE).with_context(|| {
            format!("{} is a finished model, not a checkpoint; name a file below checkpoints", path.display())
        })?;
        let state = serde_json::from_str(state)
            .with_context(|| format!("the training state in {} cannot be read", path.display()))?;
        let moments = moments::of(extra, path)?;
        Ok(Checkpoint { weights, moments, state })
    }
}
