//! Where `predict` finds its models.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use vertebrae::artifact;
use vertebrae::device::Device;
use vertebrae::inference::network::Network;
use vertebrae::network::{Kind, Reading, StripWeights, Weights};
use vertebrae::report::prediction::File;
use vertebrae::spine::Reader;

/// The models that are part of the program, in the order of [`NAMES`].
#[cfg(feature = "built-in-models")]
const BUILT_IN: Option<[&[u8]; 3]> = Some([
    include_bytes!("../../../saved_models/course.safetensors"),
    include_bytes!("../../../saved_models/bodies.safetensors"),
    include_bytes!("../../../saved_models/names.safetensors"),
]);
#[cfg(not(feature = "built-in-models"))]
const BUILT_IN: Option<[&[u8]; 3]> = None;

/// The files of the networks for the rough course, the bodies and the names.
const NAMES: [&str; 3] = ["course.safetensors", "bodies.safetensors", "names.safetensors"];

/// The models and where they come from.
pub struct Models {
    /// Their files with their hashes.
    pub files: Vec<File>,
    /// Whether they are part of the program.
    built_in: bool,
}

impl Models {
    /// The models in `folder`, or else in `saved_models` of the working folder, beside the program, or of the
    /// checkout that the program was built in; failing all that, the ones that are part of the program.
    pub fn find(folder: Option<&Path>) -> Result<Models> {
        let places = match folder {
            Some(folder) => vec![folder.to_owned()],
            None => usual(),
        };
        if let Some(place) = places.iter().find(|place| NAMES.iter().all(|name| place.join(name).is_file())) {
            let file = |name: &&str| {
                let path = place.join(name);
                artifact::sha256(&path).map(|sha256| File { path, sha256 })
            };
            return Ok(Models { files: NAMES.iter().map(file).collect::<Result<_>>()?, built_in: false });
        }
        if let (None, Some(models)) = (folder, BUILT_IN) {
            let file = |(name, model): (&&str, &&[u8])| File {
                path: Path::new("built in").join(name),
                sha256: artifact::sha256_of(model),
            };
            return Ok(Models { files: NAMES.iter().zip(&models).map(file).collect(), built_in: true });
        }
        let places: Vec<String> = places.iter().map(|place| place.display().to_string()).collect();
        bail!("{} are not in {}; name their folder with --models", NAMES.join(", "), places.join(" or "))
    }

    /// Brings them to a device.
    pub fn load(&self, device: Device) -> Result<Reader> {
        let bytes = |index: usize| -> Result<Vec<u8>> {
            match BUILT_IN {
                Some(models) if self.built_in => Ok(models[index].to_vec()),
                _ => {
                    let path = &self.files[index].path;
                    std::fs::read(path).with_context(|| format!("{} cannot be read", path.display()))
                }
            }
        };
        let named = |index: usize| format!("{} is no usable model", self.files[index].path.display());
        let strip = |index: usize, reading: Reading| {
            let weights = StripWeights::parse(&bytes(index)?, reading).with_context(|| named(index))?;
            device.strip(&weights)
        };
        let course = Weights::parse(&bytes(0)?, Kind::Volume).with_context(|| named(0))?;
        Ok(Reader {
            course: Network::of(&course, device)?,
            bodies: strip(1, Reading::Bodies)?,
            names: vec![strip(2, Reading::Names)?],
        })
    }
}

fn usual() -> Vec<PathBuf> {
    let mut places = vec![PathBuf::from("saved_models")];
    let program = std::env::current_exe().and_then(|program| program.canonicalize()).ok();
    if let Some(folder) = program.as_deref().and_then(Path::parent) {
        places.push(folder.join("saved_models"));
        // `target/release` of a checkout, and `bin` of an installation with `share` beside it.
        places.extend([folder.join("../../saved_models"), folder.join("../share/vertebrae/saved_models")]);
    }
    places
}
