//! A network read from a file, ready to be applied.

use std::path::Path;
use std::sync::Arc;

use anyhow::Result;

use super::volume::{Field, answer};
use crate::artifact;
use crate::device::Device;
use crate::network::{Input, Kind, Predictor, Weights};
use crate::scan::Volume;

/// A network on a device.
#[derive(Clone)]
pub struct Network {
    /// What computes it.
    pub predictor: Arc<dyn Predictor>,
    /// What it is given.
    pub input: Input,
}

impl Network {
    /// Reads the network of a stage, detection or identification; errors name the file.
    pub fn read(path: &Path, stage: Kind, device: Device) -> Result<Network> {
        Network::of(&Weights::read(path, stage)?, device)
    }

    /// Makes a network of weights.
    pub fn of(weights: &Weights, device: Device) -> Result<Network> {
        Ok(Network { predictor: Arc::from(device.predictor(weights)?), input: weights.input })
    }

    /// Reads a detection and an identification network; where both files are the same, they are one network.
    pub fn read_both(paths: [&Path; 2], device: Device) -> Result<[Network; 2]> {
        let detector = Network::read(paths[0], Kind::Detection, device)?;
        let same = artifact::sha256(paths[0])? == artifact::sha256(paths[1])?;
        let identifier =
            if same { detector.clone() } else { Network::read(paths[1], Kind::Identification, device)? };
        Ok([detector, identifier])
    }

    /// Whether both are one.
    pub fn is(&self, other: &Network) -> bool {
        Arc::ptr_eq(&self.predictor, &other.predictor)
    }

    /// The answer for a whole volume, of a network that gives one.
    pub fn answer(&self, volume: &Volume) -> Result<Option<Field>> {
        let windows = self.input.windows();
        windows.map(|windows| answer(volume, self.predictor.as_ref(), &windows)).transpose()
    }
}
