//! The page of a run: a sortable table of scans, each with its picture, levels, flags and errors.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use rayon::prelude::*;

use super::html::{address, escaped};
use super::measurements;
use super::prediction::{Document, Vertebra, word};
use super::trust::Trust;
use super::{evidence, thumbnail};
use crate::scan::distance;

/// The page around the table: style, heading and the script that sorts.
const FRAME: &str = include_str!("../../assets/report.html");
/// Scans that a browser still scrolls through easily; more are in the list beside the page.
const MOST_ROWS: usize = 5000;
/// Pictures within the page, some 10 kB each; later rows only link to theirs.
const MOST_PICTURES: usize = 500;

/// A scan in the table.
#[derive(Clone, Debug, Default)]
pub struct Row {
    name: String,
    /// First and last level and how many there are.
    levels: String,
    count: usize,
    /// The least sure label.
    confidence: Option<f64>,
    flags: Vec<String>,
    /// What was measured that needs a look.
    measured: Vec<String>,
    /// What is wrong with the picture itself: its values, or the way it lies.
    doubts: Vec<String>,
    notes: Vec<String>,
    failed: bool,
    seconds: Option<f64>,
    picture: Option<PathBuf>,
    /// Names to be put on the picture: how far down in it, as a share, with the confidence.
    marks: Vec<(f64, String, f64)>,
    /// The scan's own page, where there is one.
    page: Option<PathBuf>,
}

impl Row {
    /// A scan with its results and where its picture and its own page would be.
    pub fn of(document: &Document, picture: &Path, page: &Path) -> Row {
        let found = &document.vertebrae;
        let levels = match (found.first(), found.last()) {
            (Some(first), Some(last)) if found.len() > 1 => format!("{}–{}", first.label, last.label),
            (Some(only), _) => only.label.to_string(),
            _ => String::new(),
        };
        let mut flags: Vec<String> = found.iter().flat_map(|v| &v.flags).map(ToString::to_string).collect();
        flags.sort();
        flags.dedup();
        Row {
            name: document.input.path.display().to_string(),
            levels,
            count: found.len(),
            confidence: found.iter().map(|v| v.confidence).min_by(f64::total_cmp),
            flags,
            measured: measurements::remarkable(document),
            doubts: doubts(document),
            notes: document.warnings.clone(),
            failed: false,
            seconds: Some(document.seconds),
            picture: picture.is_file().then(|| picture.to_owned()),
            marks: if evidence::is_evidence(picture) { marks(document) } else { Vec::new() },
            page: page.is_file().then(|| page.to_owned()),
        }
    }

    /// A scan that could not be used.
    pub fn failed(path: &Path, error: &str) -> Row {
        Row {
            name: path.display().to_string(),
            notes: vec![error.to_owned()],
            failed: true,
            ..Row::default()
        }
    }

    /// What needs a look comes first: failures, then what is least sure.
    fn rank(&self) -> (bool, f64) {
        (!self.failed, self.confidence.unwrap_or(0.0))
    }
}

/// The page, to be written into a folder.
pub(crate) struct Page {
    rows: Vec<Row>,
    /// All scans and those that failed, before the table was cut.
    counts: [usize; 2],
    folder: PathBuf,
}

impl Page {
    /// A page in `folder`, to which links are relative.
    pub fn of(mut rows: Vec<Row>, folder: &Path) -> Page {
        let counts = [rows.len(), rows.iter().filter(|row| row.failed).count()];
        rows.sort_by(|a, b| a.rank().partial_cmp(&b.rank()).unwrap_or(std::cmp::Ordering::Equal));
        rows.truncate(MOST_ROWS);
        Page { rows, counts, folder: folder.to_owned() }
    }

    /// The whole page; it needs nothing beside it.
    pub fn html(&self) -> String {
        let [all, failed] = self.counts;
        let mut summary = format!("{all} scans, {failed} of which could not be used.");
        if all > self.rows.len() {
            let _ = write!(summary, " Shown are the {} that need a look first.", self.rows.len());
        }
        let rows: Vec<String> = self
            .rows
            .par_iter()
            .enumerate()
            .map(|(index, row)| self.row(row, index < MOST_PICTURES))
            .collect();
        let version = env!("CARGO_PKG_VERSION");
        FRAME
            .replace("{{version}}", version)
            .replace("{{summary}}", &summary)
            .replace("{{rows}}", &rows.concat())
    }

    fn row(&self, row: &Row, with_picture: bool) -> String {
        let picture = row.picture.as_ref().map_or(String::new(), |path| {
            let image = with_picture.then(|| thumbnail::data_address(path).ok()).flatten();
            let inside = image.map_or("picture".to_owned(), |address| {
                let image = format!(
                    "<img src=\"{address}\" alt=\"Spine of {}\" loading=\"lazy\">",
                    escaped(&row.name)
                );
                image + &overlay(&row.marks)
            });
            format!("<a class=\"thumb\" href=\"{}\">{inside}</a>", address(path, &self.folder))
        });
        let title = row.page.as_ref().map_or_else(
            || escaped(&row.name),
            |page| format!("<a href=\"{}\">{}</a>", address(page, &self.folder), escaped(&row.name)),
        );
        let cell = |value: &str, text: &str| format!("<td data-value=\"{}\">{text}</td>", escaped(value));
        let number = |value: Option<f64>, decimals: usize| {
            let text = value.map_or(String::new(), |value| format!("{value:.decimals$}"));
            cell(&text, &text)
        };
        let list = |lines: &[String]| {
            let text: Vec<String> = lines.iter().map(|line| escaped(line)).collect();
            cell(&lines.join(" "), &text.join("<br>"))
        };
        format!(
            "<tr{}><td>{picture}</td><th scope=\"row\" data-value=\"{name}\">{title}</th>{}{}{}{}{}{}{}{}</tr>\n",
            if row.failed { " class=\"failed\"" } else { "" },
            cell(&row.levels, &escaped(&row.levels)),
            number((!row.failed).then_some(row.count as f64), 0),
            number(row.confidence, 2),
            list(&row.flags),
            list(&row.measured),
            list(&row.doubts),
            list(&row.notes),
            number(row.seconds, 1),
            name = escaped(&row.name),
        )
    }
}

/// Where each name belongs in the picture of the evidence, as a share of its height: it is as long as the way through the centres.
fn marks(document: &Document) -> Vec<(f64, String, f64)> {
    let found = &document.vertebrae;
    let mut along = vec![0.0];
    for pair in found.windows(2) {
        along.push(along[along.len() - 1] + distance(pair[0].lps, pair[1].lps));
    }
    let whole = along[along.len() - 1] + 2.0 * evidence::BEYOND;
    let mark = |(found, along): (&Vertebra, f64)| {
        ((along + evidence::BEYOND) / whole, found.label.to_string(), found.confidence)
    };
    found.iter().zip(along).map(mark).collect()
}

/// Names over a picture that is too small for its own.
fn overlay(marks: &[(f64, String, f64)]) -> String {
    let mark = |(down, name, confidence): &(f64, String, f64)| {
        let class = Trust::of(*confidence).class();
        format!("<b class=\"{class}\" style=\"top:{:.1}%\">{name}</b>", 100.0 * down)
    };
    let names: String = marks.iter().map(mark).collect();
    if names.is_empty() { names } else { format!("<span aria-hidden=\"true\">{names}</span>") }
}

/// What is wrong with a picture, a word each.
pub(super) fn doubts(document: &Document) -> Vec<String> {
    let values = document.intensities.as_ref().and_then(|finding| word(&finding.problem));
    let turned = document.turned.as_ref().and_then(word);
    values.into_iter().chain(turned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_errors_cannot_break_the_page() {
        let rows = vec![
            Row::failed(Path::new("<b>\"a\".nii"), "a & b < c"),
            Row {
                name: "fine".into(),
                confidence: Some(0.25),
                seconds: Some(1.25),
                doubts: vec!["shifted".into()],
                ..Row::default()
            },
        ];
        let html = Page::of(rows, Path::new(".")).html();
        assert!(html.contains("&lt;b&gt;&quot;a&quot;.nii") && html.contains("a &amp; b &lt; c"));
        assert!(html.contains("2 scans, 1 of which could not be used."));
        assert!(!html.contains("{{") && html.matches("<tr").count() == 3);
        assert!(html.contains("<td data-value=\"shifted\">shifted</td>"));
        assert_eq!(html.matches("<th scope=\"col\"").count(), html.matches("<td").count() / 2);
        // Without anything to fetch.
        assert!(!html.contains("http"));
    }

    #[test]
    fn what_needs_a_look_comes_first_and_the_table_ends_somewhere() {
        let row = |confidence: f64| Row { confidence: Some(confidence), ..Row::default() };
        let mut rows: Vec<Row> = (0..MOST_ROWS).map(|i| row(0.5 + i as f64 * 1e-5)).collect();
        rows.push(row(0.1));
        rows.push(Row::failed(Path::new("z"), "broken"));
        let page = Page::of(rows, Path::new("."));
        assert!(page.rows[0].failed && page.rows[1].confidence == Some(0.1));
        assert!(page.html().contains(&format!("Shown are the {MOST_ROWS} that need a look first.")));
    }
}
