//! 3D Slicer's markups, `.mrk.json`, schema 1.0.3.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde::Deserialize;
use serde_json::json;

use super::landmark::Landmark;

const SCHEMA: &str = "https://raw.githubusercontent.com/slicer/slicer/master/Modules/Loadable/Markups/Resources/Schema/markups-schema-v1.0.3.json#";

#[derive(Deserialize)]
struct File {
    markups: Vec<Markup>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Markup {
    /// LPS where nothing is said; older files have a number, 0 for RAS.
    coordinate_system: Option<serde_json::Value>,
    #[serde(default)]
    control_points: Vec<Point>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Point {
    label: String,
    position: Option<[f64; 3]>,
    #[serde(default)]
    description: String,
    position_status: Option<String>,
}

/// Parses the points of all lists in a file; points that were never placed are passed over.
pub fn parse(text: &str) -> Result<Vec<Landmark>> {
    let file: File = serde_json::from_str(text).context("it is no markups file of 3D Slicer")?;
    let mut landmarks = Vec::new();
    for markup in file.markups {
        let system = match markup.coordinate_system {
            None => "LPS".to_owned(),
            Some(serde_json::Value::String(name)) => name,
            Some(number) => if number == 0 { "RAS" } else { "LPS" }.to_owned(),
        };
        ensure!(
            system == "LPS" || system == "RAS",
            "its coordinate system '{system}' is neither LPS nor RAS"
        );
        for point in markup.control_points {
            let Some([x, y, z]) = point
                .position
                .filter(|_| point.position_status.as_deref().is_none_or(|status| status == "defined"))
            else {
                continue;
            };
            let sign = if system == "RAS" { -1.0 } else { 1.0 };
            let level = point.label.parse().with_context(|| format!("point {}", landmarks.len() + 1))?;
            landmarks.push(Landmark { level, lps: [sign * x, sign * y, z], description: point.description });
        }
    }
    Ok(landmarks)
}

/// Writes one list of points, whole or not at all.
pub fn write(path: &Path, landmarks: &[Landmark]) -> Result<()> {
    crate::artifact::write_json(path, &document(landmarks))
}

/// One list of points as such a file holds it.
pub fn document(landmarks: &[Landmark]) -> serde_json::Value {
    let points: Vec<_> = landmarks
        .iter()
        .enumerate()
        .map(|(index, landmark)| {
            json!({
                "id": (index + 1).to_string(),
                "label": landmark.level,
                "description": landmark.description,
                "associatedNodeID": "",
                "position": landmark.lps.map(|part| (part * 1e4).round() / 1e4),
                "orientation": [-1.0, -0.0, -0.0, -0.0, -1.0, -0.0, 0.0, 0.0, 1.0],
                "selected": true,
                "locked": false,
                "visibility": true,
                "positionStatus": "defined",
            })
        })
        .collect();
    json!({
        "@schema": SCHEMA,
        "markups": [{
            "type": "Fiducial",
            "coordinateSystem": "LPS",
            "coordinateUnits": "mm",
            "locked": false,
            "fixedNumberOfControlPoints": false,
            "labelFormat": "%N-%d",
            "lastUsedControlPointNumber": landmarks.len(),
            "controlPoints": points,
            "measurements": [],
        }],
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ras_files_are_turned_and_points_never_placed_are_passed_over() {
        let text = r#"{"markups": [{"type": "Fiducial", "coordinateSystem": "RAS", "controlPoints": [
            {"label": "T4", "position": [1, 2, 3]},
            {"label": "x", "position": [0, 0, 0], "positionStatus": "undefined"}]}]}"#;
        let read = parse(text).unwrap();
        assert_eq!((read.len(), read[0].level.name(), read[0].lps), (1, "T4", [-1.0, -2.0, 3.0]));
    }
}
