//! The weights of a strip network and their file.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result, ensure};

use super::safetensors::{self, Extra};
use super::{LayerWeights, ModelError, Precision, check_layers};
use crate::network::strip::{Reading, StripArchitecture};
use crate::random::Legacy;

/// The metadata entry that holds the architecture as JSON.
const STRIP: &str = "strip";

/// Bounds of what a file may claim, so that a damaged one does not take all memory.
const MOST: usize = 4096;

/// All weights of a strip network, layers in the order of [`StripArchitecture::layers`].
#[derive(Clone, Debug, PartialEq)]
pub struct StripWeights {
    /// What the network looks like and what it is given.
    pub architecture: StripArchitecture,
    /// One entry a convolution.
    pub layers: Vec<LayerWeights>,
}

/// Metadata and further numbers beside the weights, of a checkpoint.
pub type StripExtras = (BTreeMap<String, String>, Vec<Extra>);

impl StripWeights {
    /// Fresh weights.
    pub fn initial(architecture: StripArchitecture, seed: u32) -> StripWeights {
        let mut random = Legacy::seeded(seed);
        let layers =
            architecture.layers().iter().map(|shape| LayerWeights::initial(shape, &mut random)).collect();
        StripWeights { architecture, layers }
    }

    /// Reads a network for `reading`; errors name the file.
    pub fn read(path: &Path, reading: Reading) -> Result<StripWeights, ModelError> {
        Ok(Self::read_all(path, reading)?.0)
    }

    /// Reads a network with whatever stands beside it.
    pub(crate) fn read_all(path: &Path, reading: Reading) -> Result<(StripWeights, StripExtras), ModelError> {
        let bytes = std::fs::read(path).with_context(|| format!("{} cannot be read", path.display()))?;
        Self::parse_all(&bytes, reading)
            .map_err(|error| error.of(format!("{} is no usable model of {reading}", path.display())))
    }

    /// Reads a network for `reading` from the bytes of a file.
    pub fn parse(bytes: &[u8], reading: Reading) -> Result<StripWeights, ModelError> {
        Ok(Self::parse_all(bytes, reading)?.0)
    }

    /// The same with whatever stands beside it.
    pub fn parse_all(bytes: &[u8], reading: Reading) -> Result<(StripWeights, StripExtras), ModelError> {
        let metadata = safetensors::metadata(bytes)?;
        let architecture = metadata.get(STRIP).context("it holds a network of another design")?;
        let architecture: StripArchitecture =
            serde_json::from_str(architecture).context("its architecture cannot be read")?;
        let found = architecture.reading;
        if found != reading {
            return Err(ModelError::OtherNetwork(format!(
                "it is a model for {found}; a model for {reading} is needed"
            )));
        }
        check(&architecture)?;
        let shapes = architecture.layers();
        let (layers, extra) = safetensors::parse_layers(bytes, &shapes)?;
        check_layers(&shapes, &layers)?;
        Ok((StripWeights { architecture, layers }, (metadata, extra)))
    }

    /// The precision that the kernels in a file's bytes have.
    pub fn precision(bytes: &[u8]) -> Result<Precision> {
        safetensors::precision(bytes)
    }

    /// Writes the network, kernels in the given precision. The file appears whole or not at all.
    pub fn write(&self, path: &Path, precision: Precision) -> Result<()> {
        self.write_all(path, BTreeMap::new(), &[], precision)
    }

    /// Writes the network with more beside it.
    pub fn write_all(
        &self,
        path: &Path,
        mut metadata: BTreeMap<String, String>,
        extra: &[Extra],
        precision: Precision,
    ) -> Result<()> {
        metadata.insert(STRIP.to_owned(), serde_json::to_string(&self.architecture)?);
        safetensors::write_layers(path, &self.architecture.layers(), &self.layers, metadata, extra, precision)
    }
}

/// Refuses an architecture that cannot be computed.
fn check(architecture: &StripArchitecture) -> Result<()> {
    let StripArchitecture { views, widths, along, features, marks, hidden, taps, blocks, outputs, .. } =
        architecture;
    let sizes = [*features, *hidden, *taps, *outputs, views.across[0], views.across[1]];
    let small = |&size: &usize| (1..=MOST).contains(&size);
    let stages = widths.len() == along.len() && (1..=8).contains(&widths.len());
    let fits = sizes.iter().chain(widths).chain(along).all(small) && *marks <= MOST && *blocks <= 64;
    let pictures = |count: usize| (1..=64).contains(&count);
    let folds = views.across.iter().all(|pixels| pixels % architecture.granularity() == 0);
    let pitch = views.pitch.is_finite() && (0.1..100.0).contains(&views.pitch) && views.front.is_finite();
    let windows = views.coronal.iter().chain(&views.sagittal).all(|view| {
        let [dark, bright] = view.window.limits;
        view.window.width > 0.0 && view.window.centre.is_finite() && dark <= bright
    });
    ensure!(
        stages
            && fits
            && folds
            && pitch
            && windows
            && pictures(views.coronal.len())
            && pictures(views.sagittal.len()),
        "it describes a network that cannot be computed"
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::strip::tests::tiny;

    #[test]
    fn a_file_keeps_the_network_and_what_it_is_given() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("names.safetensors");
        let weights = StripWeights::initial(tiny(Reading::Names, 2, 27), 3);
        weights.write(&path, Precision::Single).unwrap();
        assert_eq!(StripWeights::read(&path, Reading::Names).unwrap(), weights);
        let error = format!("{:#}", StripWeights::read(&path, Reading::Bodies).unwrap_err());
        assert!(
            error.contains("names.safetensors") && error.contains("a model for bodies is needed"),
            "{error}"
        );
        let bytes = std::fs::read(&path).unwrap();
        for length in [0, 5, 100, bytes.len() / 2] {
            assert!(StripWeights::parse(&bytes[..length], Reading::Names).is_err());
        }
    }

    #[test]
    fn a_network_that_cannot_be_computed_is_refused() {
        let mut odd = tiny(Reading::Names, 2, 27);
        odd.views.across[0] = 15;
        assert!(check(&odd).is_err());
        let mut huge = tiny(Reading::Names, 2, 27);
        huge.hidden = 1 << 40;
        assert!(check(&huge).is_err());
        assert!(check(&tiny(Reading::Names, 2, 27)).is_ok());
    }
}
