//! Where `predict` finds its models.

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};

use vertebrae::artifact;
use vertebrae::device::Device;
use vertebrae::inference::network::Network;
use vertebrae::network::{Kind, Weights};
use vertebrae::report::prediction::File;

/// The models that are part of the program.
#[cfg(feature = "built-in-models")]
const BUILT_IN: Option<[&[u8]; 2]> = Some([
    include_bytes!("../../../saved_models/detection.safetensors"),
    include_bytes!("../../../saved_models/identification.safetensors"),
]);
#[cfg(not(feature = "built-in-models"))]
const BUILT_IN: Option<[&[u8]; 2]> = None;

/// The files of the detection and the identification model.
const NAMES: [&str; 2] = ["detection.safetensors", "identification.safetensors"];

/// Two models and where they come from.
pub struct Models {
    /// Their files with their hashes.
    pub files: [File; 2],
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
            let [detection, identification] = NAMES.map(|name| {
                let path = place.join(name);
                artifact::sha256(&path).map(|sha256| File { path, sha256 })
            });
            return Ok(Models { files: [detection?, identification?], built_in: false });
        }
        if let (None, Some(models)) = (folder, BUILT_IN) {
            let file = |index: usize| File {
                path: Path::new("built in").join(NAMES[index]),
                sha256: artifact::sha256_of(models[index]),
            };
            return Ok(Models { files: [file(0), file(1)], built_in: true });
        }
        let places: Vec<String> = places.iter().map(|place| place.display().to_string()).collect();
        bail!(
            "{} and {} are not in {}; name their folder with --models",
            NAMES[0],
            NAMES[1],
            places.join(" or ")
        )
    }

    /// Brings them to a device.
    pub fn load(&self, device: Device) -> Result<[Network; 2]> {
        match BUILT_IN {
            Some([detection, identification]) if self.built_in => {
                let detector = Network::of(&Weights::parse(detection, Kind::Detection)?, device)?;
                let identifier = if detection == identification {
                    detector.clone()
                } else {
                    Network::of(&Weights::parse(identification, Kind::Identification)?, device)?
                };
                Ok([detector, identifier])
            }
            _ => Network::read_both(self.files.each_ref().map(|file| file.path.as_path()), device),
        }
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
