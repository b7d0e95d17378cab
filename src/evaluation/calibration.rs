//! Whether confidence means something: how often names of some confidence are right, and what is left
//! wrong among those that are sure.

use std::fmt::Write;

use super::accuracy::Case;
use super::distance;

/// Bins of the expected calibration error (Guo et al., 2017).
const BINS: usize = 10;
/// A name below this confidence is marked as one to look at, as a flagged one is.
pub const DOUBTED: f64 = 0.5;
/// Shares of all names, the surest first, for which the risk is given.
const COVERED: [f64; 7] = [0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 1.0];

/// A name that can be judged.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Judged {
    /// How sure it was, from 0 to 1.
    pub confidence: f64,
    /// Whether something said that it may be wrong.
    pub flagged: bool,
    /// Whether it was right.
    pub right: bool,
}

impl Judged {
    /// Whether a reader was told to look at it.
    pub fn marked(&self) -> bool {
        self.flagged || self.confidence < DOUBTED
    }
}

/// Whether each annotated vertebra that has a found one within reach is named right by the nearest, and how sure that
/// name was: the same pairs that the rate counts. A body beyond the annotated ones is nobody's, and not judged.
pub fn judged(case: &Case, reach: f64) -> Vec<Judged> {
    let judge = |annotated: &crate::annotation::Centroid| {
        let found = case.found.iter().zip(&case.certainty);
        let near = found.map(|(found, certainty)| (found, certainty, distance(found.mm, annotated.mm)));
        let (found, certainty, _) =
            near.min_by(|a, b| a.2.total_cmp(&b.2)).filter(|(.., distance)| *distance <= reach)?;
        let right = annotated.level == found.level;
        Some(Judged { confidence: certainty.confidence, flagged: certainty.flagged, right })
    };
    case.annotated.iter().filter_map(judge).collect()
}

/// The mean gap between confidence and share of right names over bins of equal width, weighted by their
/// names; NaN of none.
pub fn expected_error(names: &[Judged]) -> f64 {
    bins(names).iter().map(|bin| bin.gap().abs() * bin.count as f64).sum::<f64>() / names.len() as f64
}

/// Names of about the same confidence.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Bin {
    count: usize,
    right: usize,
    confidence: f64,
}

impl Bin {
    fn gap(&self) -> f64 {
        if self.count == 0 { 0.0 } else { (self.confidence - self.right as f64) / self.count as f64 }
    }
}

fn bins(names: &[Judged]) -> [Bin; BINS] {
    let mut bins = [Bin::default(); BINS];
    for name in names {
        let bin = &mut bins[((name.confidence * BINS as f64) as usize).min(BINS - 1)];
        bin.count += 1;
        bin.right += usize::from(name.right);
        bin.confidence += name.confidence;
    }
    bins
}

/// Markdown: calibration by bin, risk against coverage, what marks catch.
pub fn tables(names: &[Judged]) -> String {
    let mut text = format!(
        "Expected calibration error {:.3} over {} names, mean confidence {:.3}, right {:.3}.\n\n\
         | confidence | names | right | mean confidence |\n|---|---|---|---|\n",
        expected_error(names),
        names.len(),
        names.iter().map(|name| name.confidence).sum::<f64>() / names.len() as f64,
        names.iter().filter(|name| name.right).count() as f64 / names.len() as f64
    );
    for (index, bin) in bins(names).iter().enumerate().filter(|(_, bin)| bin.count > 0) {
        let [low, high] = [index, index + 1].map(|edge| edge as f64 / BINS as f64);
        // Writing to a String cannot fail.
        let _ = writeln!(
            text,
            "| {low:.1} to {high:.1} | {} | {:.1} % | {:.3} |",
            bin.count,
            100.0 * bin.right as f64 / bin.count as f64,
            bin.confidence / bin.count as f64
        );
    }
    let mut sorted = names.to_vec();
    sorted.sort_by(|a, b| b.confidence.total_cmp(&a.confidence));
    text.push_str(
        "\n| names taken, the surest first | wrong among them | least confidence |\n|---|---|---|\n",
    );
    for share in COVERED {
        let count = ((share * sorted.len() as f64).round() as usize).clamp(1, sorted.len().max(1));
        let Some(last) = sorted.get(count - 1) else { continue };
        let wrong = sorted[..count].iter().filter(|name| !name.right).count();
        let _ = writeln!(
            text,
            "| {:.0} % | {wrong} ({:.1} %) | {:.2} |",
            100.0 * share,
            100.0 * wrong as f64 / count as f64,
            last.confidence
        );
    }
    let marked = |right: bool| {
        let of: Vec<&Judged> = names.iter().filter(|name| name.right == right).collect();
        (of.iter().filter(|name| name.marked()).count(), of.len())
    };
    let ((wrong, all_wrong), (right, all_right)) = (marked(false), marked(true));
    let _ = write!(
        text,
        "\nMarked (flagged as possibly shifted or transitional, or below {DOUBTED}): {wrong} of {all_wrong} wrong names, \
         {right} of {all_right} right ones.\n"
    );
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::annotation::Centroid;
    use crate::evaluation::accuracy::Certainty;

    fn name(confidence: f64, right: bool) -> Judged {
        Judged { confidence, flagged: false, right }
    }

    #[test]
    fn a_well_calibrated_set_has_no_error_and_boasting_does() {
        let honest = [name(0.75, true), name(0.75, true), name(0.75, true), name(0.75, false)];
        assert_eq!(expected_error(&honest), 0.0);
        assert_eq!(expected_error(&[name(1.0, false), name(1.0, true)]), 0.5);
    }

    #[test]
    fn annotated_ones_are_judged_by_the_nearest_name() {
        let at = |level: &str, z: f64| Centroid { level: level.parse().unwrap(), mm: [0.0, 0.0, z] };
        let certain = |confidence, flagged| Certainty { confidence, flagged };
        let case = Case {
            name: "a".to_owned(),
            annotated: vec![at("T1", 0.0), at("T2", 30.0)],
            // The last but one lies within reach of T2, which has a nearer one.
            found: vec![at("T1", 3.0), at("T3", 29.0), at("T4", 45.0), at("T9", 200.0)],
            certainty: vec![
                certain(0.9, false),
                certain(0.6, true),
                certain(0.8, false),
                certain(0.3, false),
            ],
            thickness: None,
        };
        let judged = judged(&case, 20.0);
        assert_eq!(judged, [name(0.9, true), Judged { confidence: 0.6, flagged: true, right: false }]);
        let text = tables(&judged);
        assert!(text.contains("1 of 1 wrong names, 0 of 1 right ones"), "{text}");
        assert!(text.contains("| 50 % | 0 (0.0 %) | 0.90 |"), "{text}");
    }
}
