//! A network read from a file, ready to be applied.

use std::path::Path;

use anyhow::Result;

use super::volume::{Field, answer};
use crate::device::Device;
use crate::network::{Input, Kind, Predictor, Weights};
use crate::scan::Volume;

/// A network on a device.
pub struct Network {
    /// What computes it.
    pub predictor: Box<dyn Predictor>,
    /// What it is given, if it sees whole volumes.
    input: Option<Input>,
}

impl Network {
    /// Reads the network of a stage, detection or identification; errors name the file.
    pub fn read(path: &Path, stage: Kind, device: Device) -> Result<Network> {
        let weights = Weights::read(path, stage)?;
        Ok(Network { predictor: device.predictor(&weights)?, input: weights.input })
    }

    /// The answer for a whole volume, of a network that gives one.
    pub fn answer(&self, volume: &Volume) -> Result<Option<Field>> {
        self.input.map(|input| answer(volume, self.predictor.as_ref(), &input)).transpose()
    }
}
