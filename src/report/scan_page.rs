//! A page for one scan: what was found, what needs a look, and the picture that shows why.

use std::fmt::Write;
use std::path::Path;

use anyhow::Result;

use super::evidence;
use super::html::{escaped, jpeg_address};
use super::measurements::{self, Figures};
use super::page::doubts;
use super::prediction::{Document, Vertebra};
use super::trust::Trust;
use crate::artifact;
use crate::measurement::Measured;
use crate::spine::Spine;

/// The page around what is said: style and headings.
const FRAME: &str = include_str!("../../assets/scan.html");
/// Quality of the picture within the page, at which thin lines and small names stay clear.
const QUALITY: u8 = 88;
/// Columns of what was measured.
const MEASURED: [&str; 5] = ["density HU", "front mm", "middle mm", "back mm", "grade"];

/// Writes the page of a scan; it needs nothing beside it.
pub fn scan_page(path: &Path, document: &Document, spine: &Spine, measured: &[Measured]) -> Result<()> {
    let picture = jpeg_address(&evidence::drawn(spine, measured)?.jpeg(QUALITY)?);
    let page = html(document, &picture);
    artifact::write(path, |file| Ok(file.write_all(page.as_bytes())?))
}

fn html(document: &Document, picture: &str) -> String {
    let columns = if document.measurements.is_some() { &MEASURED[..] } else { &[] };
    let heads: String = columns.iter().map(|column| format!("<th scope=\"col\">{column}</th>")).collect();
    let rows: String = document.vertebrae.iter().map(|vertebra| row(vertebra, !columns.is_empty())).collect();
    let mut about = format!("vertebrae {}. Research use only: not a medical device.", document.version);
    if let Some(series) = &document.series {
        let _ = write!(about, " Series {} {}.", series.title, series.series);
    }
    FRAME
        .replace("{{name}}", &escaped(&document.input.path.display().to_string()))
        .replace("{{verdict}}", &escaped(&verdict(document)))
        .replace("{{notes}}", &notes(document))
        .replace("{{measured}}", &heads)
        .replace("{{rows}}", &rows)
        .replace("{{about}}", &escaped(&about))
        .replace("{{picture}}", picture)
}

/// `10 vertebrae, T7 to L4`.
fn verdict(document: &Document) -> String {
    match &document.vertebrae[..] {
        [] => "No vertebra".to_owned(),
        [only] => format!("One vertebra, {}", only.label),
        [first, .., last] => {
            format!("{} vertebrae, {} to {}", document.vertebrae.len(), first.label, last.label)
        }
    }
}

/// What needs a look, what is wrong first.
fn notes(document: &Document) -> String {
    let mut lines: Vec<(&str, String)> = Vec::new();
    lines.extend(doubts(document).into_iter().map(|doubt| ("bad", format!("the picture: {doubt}"))));
    if let Some(shift) = document.shift.as_ref().filter(|shift| shift.confidence >= evidence::CLOSE) {
        let text = format!(
            "all names may be one off: {:.0} %, then the first is {}",
            100.0 * shift.confidence,
            shift.first
        );
        lines.push(("look", text));
    }
    lines.extend(measurements::remarkable(document).into_iter().map(|line| ("look", line)));
    lines.extend(document.warnings.iter().map(|warning| ("", warning.clone())));
    if lines.is_empty() && !document.vertebrae.is_empty() {
        lines.push(("", "nothing that needs a look".to_owned()));
    }
    let item = |(class, text): (&str, String)| format!("<li class=\"{class}\">{}</li>\n", escaped(&text));
    lines.into_iter().map(item).collect()
}

fn row(vertebra: &Vertebra, measured: bool) -> String {
    let class = Trust::of(vertebra.confidence).class();
    let other = vertebra.alternatives.first();
    let other = other.map_or_else(String::new, |other| format!("{} {:.2}", other.label, other.confidence));
    let cells = if measured { cells(vertebra.measured.as_ref()) } else { String::new() };
    format!(
        "<tr class=\"{class}\"><th scope=\"row\">{}</th><td>{:.2}</td><td>{other}</td>{cells}<td>{}</td></tr>\n",
        vertebra.label,
        vertebra.confidence,
        escaped(&vertebra.all_flags().join(", "))
    )
}

fn cells(figures: Option<&Figures>) -> String {
    let hu = figures.and_then(|figures| figures.hu.as_ref()).map(|hu| hu.mean);
    let heights = figures.and_then(|figures| figures.heights_mm);
    let grade = figures.and_then(|figures| figures.genant.as_ref()).map(|genant| genant.grade);
    let number = |value: Option<f64>, decimals: usize| {
        format!("<td>{}</td>", value.map_or_else(|| "–".to_owned(), |value| format!("{value:.decimals$}")))
    };
    [
        number(hu, 0),
        number(heights.map(|heights| heights.anterior), 1),
        number(heights.map(|heights| heights.middle), 1),
        number(heights.map(|heights| heights.posterior), 1),
        number(grade.map(f64::from), 0),
    ]
    .concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn document(names: &[(&str, f64)]) -> Document {
        let vertebra = |&(label, confidence): &(&str, f64)| {
            serde_json::json!({
                "label": label, "verse_id": 1, "lps": [0, 0, 0], "ras": [0, 0, 0], "voxel": [0, 0, 0],
                "confidence": confidence, "alternatives": [], "flags": ["touches-border"]
            })
        };
        let vertebrae: Vec<_> = names.iter().map(vertebra).collect();
        let image = serde_json::json!({
            "shape": [1, 1, 1], "spacing": [1, 1, 1], "orientation": "LPS",
            "affine": [[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0]]
        });
        serde_json::from_value(serde_json::json!({
            "schema": "", "version": "1", "input": {"path": "a.nii", "sha256": ""}, "series": null, "models": [],
            "image": image, "device": "cpu", "seconds": 1.0, "intensities": null, "warnings": [], "turned": null,
            "shift": null, "vertebrae": vertebrae
        }))
        .unwrap()
    }

    #[test]
    fn a_page_says_what_was_found_and_what_is_doubted_and_a_name_cannot_break_it() {
        let mut found = document(&[("T12", 0.95), ("L1", 0.55)]);
        found.input.path = "<b>{{rows}}.nii".into();
        found.shift =
            Some(crate::report::prediction::Shift { confidence: 0.4, first: "L1".parse().unwrap() });
        found.warnings = vec!["it was turned".into()];
        let page = html(&found, "data:,picture");
        assert!(page.contains("2 vertebrae, T12 to L1"), "{page}");
        assert!(page.contains("all names may be one off: 40 %, then the first is L1"), "{page}");
        assert!(page.contains("it was turned") && page.contains("src=\"data:,picture\""));
        assert!(page.contains("class=\"sure\"><th scope=\"row\">T12<") && page.contains("class=\"doubted\""));
        assert!(page.contains("&lt;b&gt;") && !page.contains("<b>") && !page.contains("density HU"));
        assert!(html(&document(&[]), "").contains("No vertebra"));
    }
}
