//! Accuracy in both directions, with how far another choice of scans might have moved it.

use std::fmt::Write;

use super::distance;
use crate::anatomy::{Level, Region};
use crate::annotation::Centroid;
use crate::random::Legacy;

/// A found vertebra this close in mm to an annotated one points at its body and no other.
const CLOSE: f64 = 8.0;
/// Bodies in view and slice distances in mm that scans are grouped by: up to each, and beyond the last.
const IN_VIEW: [usize; 3] = [6, 9, 13];
const THICK: [f64; 3] = [1.5, 2.5, 4.0];
/// Sets of scans redrawn for an interval.
const REDRAWN: usize = 1000;
/// Shares of them below and above an interval.
const BEYOND: f64 = 0.025;

/// One scan: what was annotated and what was found, in mm of one frame.
#[derive(Clone, Debug, PartialEq)]
pub struct Case {
    /// Its name.
    pub name: String,
    /// What the annotation says.
    pub annotated: Vec<Centroid>,
    /// What was found.
    pub found: Vec<Centroid>,
    /// How sure each found one's name is, where that is known.
    pub certainty: Vec<Certainty>,
    /// Distance of the scan's slices in mm, where that is known.
    pub thickness: Option<f64>,
}

/// How sure a name is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Certainty {
    /// From 0 to 1.
    pub confidence: f64,
    /// Whether the run may be shifted or a level may be transitional.
    pub flagged: bool,
}

/// Figures over some vertebrae of some scans.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize)]
pub struct Figures {
    /// Annotated vertebrae.
    pub annotated: usize,
    /// Those with a found vertebra within reach, whatever its label.
    pub located: usize,
    /// Those with one within 8 mm, which points at their body and no other.
    pub close: usize,
    /// Those whose nearest found vertebra within reach has their label.
    pub identified: usize,
    /// Found vertebrae.
    pub found: usize,
    /// Those whose nearest annotated vertebra within reach has their label.
    pub confirmed: usize,
    /// Those without an annotated vertebra within reach.
    pub false_alarms: usize,
    /// Mean distance in mm of the located from what locates them; NaN where there are none.
    pub mean: f64,
    /// Median of the same.
    pub median: f64,
    /// 95th percentile of the same.
    pub percentile95: f64,
}

/// The nearest of `others` within reach, with its distance.
fn nearest<'a>(of: &Centroid, others: &'a [Centroid], reach: f64) -> Option<(&'a Centroid, f64)> {
    let distances = others.iter().map(|other| (other, distance(of.mm, other.mm)));
    distances.min_by(|a, b| a.1.total_cmp(&b.1)).filter(|(_, distance)| *distance <= reach)
}

/// The value below which a share of sorted values lies; NaN where there are none.
fn percentile(sorted: &[f64], share: f64) -> f64 {
    let last = sorted.len().saturating_sub(1);
    sorted.get((share * last as f64).round() as usize).copied().unwrap_or(f64::NAN)
}

/// Figures over all vertebrae of `cases` whose level `counts`; `reach` in mm.
pub fn figures<'a>(
    cases: impl IntoIterator<Item = &'a Case>,
    reach: f64,
    counts: impl Fn(Level) -> bool,
) -> Figures {
    let mut figures = Figures {
        annotated: 0,
        located: 0,
        close: 0,
        identified: 0,
        found: 0,
        confirmed: 0,
        false_alarms: 0,
        mean: f64::NAN,
        median: f64::NAN,
        percentile95: f64::NAN,
    };
    let mut distances = Vec::new();
    for case in cases {
        for annotated in case.annotated.iter().filter(|centroid| counts(centroid.level)) {
            figures.annotated += 1;
            if let Some((found, mm)) = nearest(annotated, &case.found, reach) {
                figures.located += 1;
                figures.close += usize::from(mm <= CLOSE);
                figures.identified += usize::from(found.level == annotated.level);
                distances.push(mm);
            }
        }
        for found in case.found.iter().filter(|centroid| counts(centroid.level)) {
            figures.found += 1;
            match nearest(found, &case.annotated, reach) {
                Some((annotated, _)) => figures.confirmed += usize::from(found.level == annotated.level),
                None => figures.false_alarms += 1,
            }
        }
    }
    distances.sort_by(f64::total_cmp);
    figures.mean = distances.iter().sum::<f64>() / distances.len() as f64;
    figures.median = percentile(&distances, 0.5);
    figures.percentile95 = percentile(&distances, 0.95);
    figures
}

impl Figures {
    /// Share of annotated vertebrae named right, in percent.
    pub fn rate(&self) -> f64 {
        100.0 * self.identified as f64 / self.annotated as f64
    }
}

impl Case {
    /// Whether every annotated vertebra is named right.
    pub fn entirely_right(&self, reach: f64) -> bool {
        let figures = figures([self], reach, |_| true);
        figures.identified == figures.annotated
    }
}

/// The interval that holds 95 % of the rates of as many scans redrawn from these, in percent
/// (bootstrap over scans: the vertebrae of one succeed or fail together).
pub fn interval(cases: &[Case], reach: f64, counts: impl Fn(Level) -> bool) -> [f64; 2] {
    let each: Vec<Figures> = cases.iter().map(|case| figures([case], reach, &counts)).collect();
    let mut random = Legacy::seeded(1);
    let mut rates: Vec<f64> = (0..REDRAWN)
        .filter_map(|_| {
            let drawn = (0..each.len()).map(|_| &each[random.integer(0, each.len() as i64) as usize]);
            let [right, all] = drawn
                .fold([0, 0], |[right, all], figures| [right + figures.identified, all + figures.annotated]);
            (all > 0).then(|| 100.0 * right as f64 / all as f64)
        })
        .collect();
    rates.sort_by(f64::total_cmp);
    [percentile(&rates, BEYOND), percentile(&rates, 1.0 - BEYOND)]
}

/// Markdown tables: all, by region, by level, by scan.
pub fn tables(cases: &[Case], reach: f64) -> String {
    let mut text = String::from(
        "| | annotated | located | within 8 mm | named right | 95 % interval | found | confirmed | false alarms | mean mm \
         | median mm | 95th percentile mm |\n|---|---|---|---|---|---|---|---|---|---|---|---|\n",
    );
    let mut row = |name: &str, counts: &dyn Fn(Level) -> bool| {
        let figures = figures(cases, reach, counts);
        if figures.annotated + figures.found == 0 {
            return;
        }
        let [low, high] = interval(cases, reach, counts);
        let share = |part: usize| format!("{part} ({:.1} %)", 100.0 * part as f64 / figures.annotated as f64);
        let number = |value: f64| if value.is_finite() { format!("{value:.1}") } else { "".to_owned() };
        let interval = if low.is_finite() { format!("{low:.1} to {high:.1}") } else { String::new() };
        // Writing to a String cannot fail.
        let _ = writeln!(
            text,
            "| {name} | {} | {} | {} | {} | {interval} | {} | {} | {} | {} | {} | {} |",
            figures.annotated,
            share(figures.located),
            share(figures.close),
            share(figures.identified),
            figures.found,
            figures.confirmed,
            figures.false_alarms,
            number(figures.mean),
            number(figures.median),
            number(figures.percentile95)
        );
    };
    row("all", &|_| true);
    for (name, region) in [
        ("cervical", Region::Cervical),
        ("thoracic", Region::Thoracic),
        ("lumbar", Region::Lumbar),
        ("sacral", Region::Sacral),
    ] {
        row(name, &|level| level.region() == region);
    }
    for wanted in Level::every() {
        row(wanted.name(), &|level| level == wanted);
    }
    let right = cases.iter().filter(|case| case.entirely_right(reach)).count();
    let _ = write!(text, "\n{right} of {} scans entirely right.\n\n", cases.len());
    text.push_str(&groups(cases, reach));
    text.push_str(
        "| scan | annotated | located | named right | false alarms | mean mm |\n|---|---|---|---|---|---|\n",
    );
    for case in cases {
        let Figures { annotated, located, identified, false_alarms, mean, .. } =
            figures([case], reach, |_| true);
        let _ = writeln!(
            text,
            "| {} | {annotated} | {located} | {identified} | {false_alarms} | {mean:.1} |",
            case.name
        );
    }
    text
}

/// A table by bodies in view and by slice distance.
fn groups(cases: &[Case], reach: f64) -> String {
    let mut text = String::from(
        "| scans | | annotated | located | named right | 95 % interval | entirely right | mean mm |\n\
         |---|---|---|---|---|---|---|---|\n",
    );
    let mut row = |name: String, belongs: &dyn Fn(&Case) -> bool| {
        let group: Vec<Case> = cases.iter().filter(|case| belongs(case)).cloned().collect();
        if group.is_empty() {
            return;
        }
        let figures = figures(&group, reach, |_| true);
        let [low, high] = interval(&group, reach, |_| true);
        let right = group.iter().filter(|case| case.entirely_right(reach)).count();
        let _ = writeln!(
            text,
            "| {name} | {} | {} | {} | {} ({:.1} %) | {low:.1} to {high:.1} | {right} | {:.1} |",
            group.len(),
            figures.annotated,
            figures.located,
            figures.identified,
            figures.rate(),
            figures.mean
        );
    };
    let mut least = 0;
    for most in IN_VIEW.into_iter().chain([usize::MAX]) {
        let name =
            if most == usize::MAX { format!("over {least} bodies") } else { format!("up to {most} bodies") };
        row(name, &|case| (least + 1..=most).contains(&case.annotated.len()));
        least = most;
    }
    let mut least = 0.0;
    for most in THICK.into_iter().chain([f64::INFINITY]) {
        let name = if most.is_infinite() {
            format!("slices over {least} mm")
        } else {
            format!("slices up to {most} mm")
        };
        row(name, &|case| case.thickness.is_some_and(|thickness| thickness > least && thickness <= most));
        least = most;
    }
    text.push('\n');
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(name: &str, z: f64) -> Centroid {
        Centroid { level: name.parse().unwrap(), mm: [0.0, 0.0, z] }
    }

    fn case() -> Case {
        Case {
            name: "a".to_owned(),
            annotated: vec![at("T1", 0.0), at("T2", 30.0), at("T3", 60.0)],
            found: vec![at("T1", 3.0), at("T3", 29.0), at("T9", 200.0)],
            certainty: vec![],
            thickness: Some(2.0),
        }
    }

    #[test]
    fn both_directions_are_counted() {
        let figures = figures([&case()], 20.0, |_| true);
        assert_eq!([figures.annotated, figures.located, figures.identified], [3, 2, 1]);
        assert_eq!([figures.found, figures.confirmed, figures.false_alarms], [3, 1, 1]);
        assert_eq!([figures.mean, figures.percentile95], [2.0, 3.0]);
        assert!(!case().entirely_right(20.0));
    }

    #[test]
    fn equal_scans_have_no_spread_and_unlike_ones_do() {
        let wrong = Case { found: vec![], ..case() };
        assert_eq!(interval(&[case(), case()], 20.0, |_| true), [100.0 / 3.0; 2]);
        let [low, high] = interval(&[case(), wrong], 20.0, |_| true);
        assert!(low == 0.0 && high > 30.0);
    }

    #[test]
    fn tables_name_every_level_and_scan_that_occurs() {
        let text = tables(&[case()], 20.0);
        assert!(text.contains("| T2 | 1 | 1 (100.0 %) | 1 (100.0 %) | 0 (0.0 %) |"), "{text}");
        assert!(
            text.contains("0 of 1 scans entirely right.") && text.contains("| a | 3 | 2 | 1 | 1 | 2.0 |")
        );
        assert!(!text.contains("| L1 |"));
        assert!(text.contains("| up to 6 bodies | 1 | 3 | 2 | 1 (33.3 %) |"), "{text}");
        assert!(text.contains("| slices up to 2.5 mm | 1 |") && !text.contains("over"), "{text}");
    }
}
