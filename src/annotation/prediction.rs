//! The points of a document that `predict` has written, `.vertebrae.json`.

use anyhow::{Context, Result};
use serde::Deserialize;

use super::landmark::Landmark;
use crate::anatomy::Level;

#[derive(Deserialize)]
struct Document {
    vertebrae: Vec<Vertebra>,
}

#[derive(Deserialize)]
struct Vertebra {
    label: Level,
    lps: [f64; 3],
    confidence: f64,
}

/// Parses the vertebrae of a document, with their confidence as the remark.
pub fn parse(text: &str) -> Result<Vec<Landmark>> {
    let document: Document =
        serde_json::from_str(text).context("it is no document of 'vertebrae predict'")?;
    let landmark = |Vertebra { label, lps, confidence }: Vertebra| Landmark {
        level: label,
        lps,
        description: format!("confidence {confidence:.2}"),
    };
    Ok(document.vertebrae.into_iter().map(landmark).collect())
}
