//! Where `predict` finds its models.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use vertebrae::artifact;
use vertebrae::report::prediction::File;

/// The files of the detection and the identification model.
const NAMES: [&str; 2] = ["detection.safetensors", "identification.safetensors"];

/// The two model files with their hashes: in `folder`, or else in `saved_models` of the working folder, beside the
/// program, or of the checkout that the program was built in.
pub fn find(folder: Option<&Path>) -> Result<[File; 2]> {
    let places = match folder {
        Some(folder) => vec![folder.to_owned()],
        None => usual(),
    };
    let folder = places.iter().find(|folder| NAMES.iter().all(|name| folder.join(name).is_file()));
    let folder = folder.with_context(|| {
        let places: Vec<String> = places.iter().map(|place| place.display().to_string()).collect();
        format!(
            "{} and {} are not in {}; name their folder with --models",
            NAMES[0],
            NAMES[1],
            places.join(" or ")
        )
    })?;
    let [detection, identification] = NAMES.map(|name| {
        let path = folder.join(name);
        artifact::sha256(&path).map(|sha256| File { path, sha256 })
    });
    Ok([detection?, identification?])
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
