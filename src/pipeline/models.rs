//! Where models lie, and those that are part of the program.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::artifact::{self, File};
use crate::device::Device;
use crate::inference::network::Network;
use crate::network::{Kind, ModelError, Reading, StripWeights, Weights};
use crate::spine::{Chain, Reader};

/// The models that are part of the program, by the names of their files.
#[cfg(feature = "built-in-models")]
const BUILT_IN: &[(&str, &[u8])] = &[
    ("course.safetensors", include_bytes!("../../saved_models/course.safetensors")),
    ("bodies.safetensors", include_bytes!("../../saved_models/bodies.safetensors")),
    ("names.safetensors", include_bytes!("../../saved_models/names.safetensors")),
    ("names-whole.safetensors", include_bytes!("../../saved_models/names-whole.safetensors")),
];
#[cfg(not(feature = "built-in-models"))]
const BUILT_IN: &[(&str, &[u8])] = &[];

/// The files of the networks for the rough course, the bodies and the names.
const NAMES: [&str; 3] = ["course.safetensors", "bodies.safetensors", "names.safetensors"];
/// Further networks of names, which are averaged with the first.
const FURTHER: &str = "names-";

/// The models of a pipeline: where they lie, and what they contain.
pub struct Models {
    /// Their files with their hashes.
    pub files: Vec<File>,
    /// Whether they are part of the program.
    built_in: bool,
}

impl Models {
    /// The models that come with the program: those in its folder `saved_models`, or else the ones that are part of it
    /// (with the feature `built-in-models`).
    pub fn built_in() -> Result<Models, ModelError> {
        Models::find(None)
    }

    /// The models in `folder`, further networks of names among them, or else in `saved_models` of the working folder, beside the program, or of the
    /// checkout that the program was built in; failing all that, the ones that are part of the program.
    pub fn find(folder: Option<&Path>) -> Result<Models, ModelError> {
        let places = match folder {
            Some(folder) => vec![folder.to_owned()],
            None => usual(),
        };
        if let Some(place) = places.iter().find(|place| NAMES.iter().all(|name| place.join(name).is_file())) {
            let mut paths: Vec<PathBuf> = NAMES.iter().map(|name| place.join(name)).collect();
            paths.extend(further(place)?);
            let file = |path: PathBuf| artifact::sha256(&path).map(|sha256| File { path, sha256 });
            return Ok(Models {
                files: paths.into_iter().map(file).collect::<Result<_>>()?,
                built_in: false,
            });
        }
        if folder.is_none() && !BUILT_IN.is_empty() {
            let file = |(name, model): &(&str, &[u8])| File {
                path: Path::new("built in").join(name),
                sha256: artifact::sha256_of(model),
            };
            return Ok(Models { files: BUILT_IN.iter().map(file).collect(), built_in: true });
        }
        let places: Vec<String> = places.iter().map(|place| place.display().to_string()).collect();
        Err(ModelError::Missing(format!(
            "{} are not in {}; name their folder with --models",
            NAMES.join(", "),
            places.join(" or ")
        )))
    }

    /// Brings them to a device. Errors are a [`ModelError`] that names the file, or a [`crate::device::Error`].
    pub fn load(&self, device: Device) -> Result<Reader> {
        let bytes = |index: usize| -> Result<Vec<u8>, ModelError> {
            if self.built_in {
                return Ok(BUILT_IN[index].1.to_vec());
            }
            let path = &self.files[index].path;
            Ok(std::fs::read(path).with_context(|| format!("{} cannot be read", path.display()))?)
        };
        let named = |index: usize| format!("{} is no usable model", self.files[index].path.display());
        let course = Weights::parse(&bytes(0)?, Kind::Volume).map_err(|error| error.of(named(0)))?;
        let bodies = StripWeights::parse(&bytes(1)?, Reading::Bodies).map_err(|error| error.of(named(1)))?;
        let mut chain = Chain::default();
        let mut names = Vec::new();
        for index in 2..self.files.len() {
            let (weights, (metadata, _)) = StripWeights::parse_all(&bytes(index)?, Reading::Names)
                .map_err(|error| error.of(named(index)))?;
            let of_this = Chain::of(&metadata).map_err(|error| ModelError::from(error).of(named(index)))?;
            // That of the first was fitted with all of them.
            if index == 2 {
                chain = of_this;
            }
            names.push(device.strip(&weights)?);
        }
        Ok(Reader { course: Network::of(&course, device)?, bodies: device.strip(&bodies)?, names, chain })
    }
}

/// Further networks of names in a folder, by name.
fn further(folder: &Path) -> Result<Vec<PathBuf>> {
    let unreadable = || format!("{} cannot be read", folder.display());
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(folder).with_context(unreadable)? {
        let path = entry.with_context(unreadable)?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if name.starts_with(FURTHER) && name.ends_with(".safetensors") {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
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
