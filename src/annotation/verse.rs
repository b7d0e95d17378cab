//! Centroids as the VerSe challenge has them, `_ctd.json`: the axes' directions, then one object a
//! vertebra in voxels of the stored image (Sekuboyina et al., 2021).

use std::path::Path;

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use super::landmark::Landmark;
use crate::anatomy::{Level, Region};
use crate::scan::Geometry;

/// The ids of C1 to T12 begin at 1, those of L1 to L6 at 20; the sacrum has 26, T13 28.
const FIRST: u64 = 1;
const SACRUM: u64 = 26;
const T13: u64 = 28;

/// VerSe's number of a level; S2 has none.
pub fn id(level: Level) -> Option<u64> {
    match (level.region(), level.name()) {
        (Region::Sacral, "S1") => Some(SACRUM),
        (Region::Sacral, _) => None,
        (_, "T13") => Some(T13),
        // T13 stands between, but has no number there.
        (Region::Lumbar, _) => Some(level.index() as u64),
        _ => Some(FIRST + level.index() as u64),
    }
}

/// The level of one of VerSe's numbers.
pub fn level(id: u64) -> Option<Level> {
    (0..).map_while(Level::at).find(|&level| self::id(level) == Some(id))
}

/// Directions of the stored axes, such as `["P", "I", "R"]`, as nibabel's `aff2axcodes` gives them.
pub fn directions(geometry: &Geometry) -> Option<[&'static str; 3]> {
    const NAMES: [[&str; 2]; 3] = [["L", "R"], ["P", "A"], ["I", "S"]];
    let directions = geometry.directions()?;
    Some(directions.map(|direction| {
        let largest = (0..3).fold(0, |a, b| if direction[b].abs() > direction[a].abs() { b } else { a });
        NAMES[largest][usize::from(direction[largest] > 0.0)]
    }))
}

/// Parses a file; positions are in voxels of `image`.
pub fn parse(text: &str, image: &Geometry) -> Result<Vec<Landmark>> {
    let entries: Vec<Value> = serde_json::from_str(text).context("it is no centroid file of VerSe")?;
    let mut landmarks = Vec::new();
    for (number, entry) in entries.iter().enumerate() {
        if let Some(stated) = entry.get("direction") {
            let own = directions(image).context("the image's header has an axis without a direction")?;
            if *stated != json!(own) {
                bail!(
                    "its axes run {stated}, those of the image {}; name the image it was made for",
                    json!(own)
                );
            }
            continue;
        }
        let wrong = || format!("entry {}: a label and X, Y, Z are needed", number + 1);
        let id = entry.get("label").and_then(Value::as_f64).with_context(wrong)?;
        let level = level(id as u64)
            .filter(|_| id.fract() == 0.0)
            .with_context(|| format!("entry {}: {id} is the number of no level known here", number + 1))?;
        let mut index = [0.0; 3];
        for (part, name) in index.iter_mut().zip(["X", "Y", "Z"]) {
            *part = entry.get(name).and_then(Value::as_f64).with_context(wrong)?;
        }
        let [x, y, z] = image.world(index);
        landmarks.push(Landmark { level, lps: [-x, -y, z], description: String::new() });
    }
    Ok(landmarks)
}

/// Writes a file, whole or not at all; returns the levels that VerSe has no number for.
pub fn write(path: &Path, landmarks: &[Landmark], image: &Geometry) -> Result<Vec<Level>> {
    let axes = directions(image).context("the image's header has an axis without a direction")?;
    let mut entries = vec![json!({ "direction": axes })];
    let mut left_out = Vec::new();
    for landmark in landmarks {
        let Some(id) = id(landmark.level) else {
            left_out.push(landmark.level);
            continue;
        };
        let centroid = landmark.centroid(image)?;
        let [x, y, z] = image.index(centroid.mm).map(|part| (part * 1e5).round() / 1e5);
        entries.push(json!({ "label": id, "X": x, "Y": y, "Z": z }));
    }
    crate::artifact::write_json(path, &entries)?;
    Ok(left_out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_verses() {
        let id = |name: &str| id(name.parse().unwrap());
        assert_eq!([id("C1"), id("C7"), id("T1"), id("T12")], [Some(1), Some(7), Some(8), Some(19)]);
        assert_eq!([id("L1"), id("L6"), id("S1"), id("S2")], [Some(20), Some(25), Some(26), None]);
        assert_eq!(level(25).map(Level::name), Some("L6"));
        assert_eq!(
            [level(19), level(20), level(28)].map(|level| level.unwrap().name()),
            ["T12", "L1", "T13"]
        );
        assert_eq!([level(0), level(27), level(29)], [None; 3]);
    }

    #[test]
    fn axes_are_named_by_where_they_run() {
        let mut image = Geometry {
            shape: [2; 3],
            spacing: [1.0; 3],
            affine: [[0.0, 0.1, -1.0, 0.0], [-1.0, 0.0, 0.0, 0.0], [0.0, -1.0, 0.0, 0.0]],
        };
        assert_eq!(directions(&image), Some(["P", "I", "L"]));
        let text = r#"[{"direction": ["P", "I", "R"]}, {"label": 8, "X": 1, "Y": 0, "Z": 0}]"#;
        assert!(parse(text, &image).unwrap_err().to_string().contains("name the image it was made for"));
        image.affine[0][2] = 1.0;
        assert_eq!(parse(text, &image).unwrap()[0].lps, [0.0, 1.0, 0.0]);
    }
}
