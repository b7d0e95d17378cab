//! The text `measure` prints: the original's, line by line (docs/original.md §8).

use std::io::{Result, Write};
use std::path::Path;

use super::numbers::{numpy_array, python, python_list, python_rounded};
use crate::anatomy::Region;
use crate::decoding::Vertebra;
use crate::evaluation::{Comparison, Summary, Tally, numpy_mean};
use crate::progress::Stage;

/// Writes the report; every line is followed by an empty one, as in the original's README.
pub struct MeasureText<W: Write> {
    out: W,
}

impl<W: Write> MeasureText<W> {
    /// A report that goes to `out`.
    pub fn new(out: W) -> Self {
        MeasureText { out }
    }

    /// The models that are used, before the first scan.
    pub fn models(&mut self, detection: &Path, identification: &Path) -> Result<()> {
        self.line(format!("detection model:  {}", detection.display()))?;
        self.line(format!("identification model:  {}", identification.display()))
    }

    /// A scan's number, from 0, and its path.
    pub fn scan(&mut self, number: usize, path: &Path) -> Result<()> {
        self.line(format!("{number} {}", path.display()))
    }

    /// The original's lines between its stages; it has none for others.
    pub fn stage(&mut self, stage: &Stage) -> Result<()> {
        let lines: &[&str] = match stage {
            Stage::Detection { patch, kept, shape, padded } => {
                let row = |sizes: &[usize; 3], separator| sizes.map(|size| size.to_string()).join(separator);
                self.line("apply detection")?;
                return self.line(format!(
                    "[{}] [{}] ({}) ({})",
                    row(patch, " "),
                    row(kept, " "),
                    row(shape, ", "),
                    row(padded, ", ")
                ));
            }
            Stage::Identification => &["finished detection", "apply identification"],
            Stage::Aggregation => &[
                "finished identification",
                "finished multiplying",
                "start aggregating",
                "finish aggregating",
            ],
            _ => &[],
        };
        lines.iter().try_for_each(|line| self.line(line))
    }

    /// The kept labels with their voxels, then how they compare with the annotation.
    pub fn result(&mut self, vertebrae: &[Vertebra], comparison: &Comparison) -> Result<()> {
        self.line("start averages")?;
        for vertebra in vertebrae {
            self.line(format!("{} {}", vertebra.level, vertebra.voxels))?;
        }
        self.line("finish averages")?;
        self.comparison(comparison)
    }

    /// The pairs of labels, the pairs of positions and their mean distance.
    pub fn comparison(&mut self, comparison: &Comparison) -> Result<()> {
        for entry in &comparison.matches {
            let closest = entry.closest.map_or("", |level| level.name());
            self.line(format!("{} {closest}", entry.annotated))?;
        }
        for offset in &comparison.offsets {
            let (annotated, found) = (numpy_array(&offset.annotated), python_list(&offset.found));
            self.line(format!("{} {annotated} {found}", offset.level))?;
        }
        let distances: Vec<f64> = comparison.offsets.iter().map(|offset| offset.distance).collect();
        self.line(format!("average {}", python(numpy_mean(&distances))))
    }

    /// Rates and distances over all scans.
    pub fn summary(&mut self, summary: &Summary) -> Result<()> {
        let all = summary.all();
        self.tally("All", all, " ")?;
        for (name, region) in
            [("Cervical", Region::Cervical), ("Thoracic", Region::Thoracic), ("Lumbar", Region::Lumbar)]
        {
            self.tally(name, summary.region(region), "")?;
        }
        Ok(())
    }

    fn tally(&mut self, name: &str, tally: Tally, gap: &str) -> Result<()> {
        self.line(format!(
            "{name} Id rate: {}%  mean:{gap}{}  std:{gap}{}",
            python_rounded(tally.rate, 1),
            python_rounded(tally.mean, 2),
            python_rounded(tally.deviation, 2)
        ))
    }

    fn line(&mut self, text: impl AsRef<str>) -> Result<()> {
        writeln!(self.out, "{}\n", text.as_ref())?;
        self.out.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::annotation::Centroid;
    use crate::evaluation::{REACH, compare};
    use crate::inference::tiling::Tiling;

    /// The block of the original's README: what was found with how many voxels …
    const FOUND: [(&str, usize, [f64; 3]); 14] = [
        ("C7", 7959, [84.0, 38.0, 297.0]),
        ("T1", 10731, [81.0, 39.0, 288.0]),
        ("T2", 15923, [77.0, 46.0, 271.0]),
        ("T3", 17780, [74.0, 52.0, 251.0]),
        ("T4", 14246, [73.0, 57.0, 235.0]),
        ("T5", 21202, [68.0, 60.0, 215.0]),
        ("T6", 23281, [63.0, 62.0, 193.0]),
        ("T7", 23431, [61.0, 61.0, 167.0]),
        ("T8", 24238, [62.0, 60.0, 143.0]),
        ("T9", 22769, [63.0, 59.0, 119.0]),
        ("T10", 27983, [69.0, 58.0, 97.0]),
        ("T11", 32709, [71.0, 57.0, 72.0]),
        ("T12", 33462, [76.0, 57.0, 50.0]),
        ("L1", 37416, [78.0, 55.0, 30.0]),
    ];

    /// … and what was annotated.
    const ANNOTATED: [(&str, [f64; 3]); 12] = [
        ("T1", [81.9662, 36.4989, 297.5]),
        ("T2", [79.3494, 45.0036, 275.0]),
        ("T3", [73.4615, 50.8914, 257.5]),
        ("T4", [69.5363, 55.4709, 240.0]),
        ("T5", [66.2653, 59.069, 215.0]),
        ("T6", [64.3027, 60.3774, 192.5]),
        ("T7", [62.6671, 59.3961, 165.0]),
        ("T8", [62.9942, 59.7232, 140.0]),
        ("T9", [65.9382, 57.1064, 115.0]),
        ("T10", [70.5176, 57.1064, 85.0]),
        ("T11", [74.77, 56.4522, 57.5]),
        ("T12", [78.6952, 54.4896, 27.5]),
    ];

    fn printed(print: impl FnOnce(&mut MeasureText<&mut Vec<u8>>)) -> String {
        let mut text = Vec::new();
        print(&mut MeasureText::new(&mut text));
        String::from_utf8(text).unwrap()
    }

    /// The example block of the original's README, from its own coordinates.
    fn readme_block() -> String {
        let found: Vec<Vertebra> =
            FOUND.map(|(name, voxels, mm)| Vertebra { level: name.parse().unwrap(), mm, voxels }).to_vec();
        let centroid = |name: &str, mm| Centroid { level: name.parse().unwrap(), mm };
        let comparison = compare(
            &ANNOTATED.map(|(name, mm)| centroid(name, mm)),
            &FOUND.map(|(name, _, mm)| centroid(name, mm)),
            REACH,
        );
        printed(|report| {
            report.scan(6, Path::new("testing_dataset/4778644.nii.gz")).unwrap();
            for stage in [Tiling::ORIGINAL.stage([140, 140, 312]), Stage::Identification, Stage::Aggregation]
            {
                report.stage(&stage).unwrap();
            }
            report.result(&found, &comparison).unwrap();
        })
    }

    #[test]
    fn the_originals_readme_is_reproduced_byte_for_byte() {
        let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/parity/README-measure.txt");
        match std::fs::read_to_string(golden) {
            Ok(golden) => assert_eq!(readme_block().trim_end(), golden.trim_end()),
            Err(_) => println!("SKIPPED: the golden text is not on this machine"),
        }
        assert!(readme_block().ends_with("average 7.756259886627397\n\n"));
    }

    #[test]
    fn regions_without_vertebrae_print_nan() {
        let text = printed(|report| report.summary(&Summary::default()).unwrap());
        let lines: Vec<&str> = text.lines().filter(|line| !line.is_empty()).collect();
        assert_eq!(lines[0], "All Id rate: nan%  mean: nan  std: nan");
        assert_eq!(lines[3], "Lumbar Id rate: nan%  mean:nan  std:nan");
    }

    #[test]
    fn an_annotated_vertebra_without_a_neighbour_ends_in_a_space() {
        let annotated = [Centroid { level: "L5".parse().unwrap(), mm: [0.0; 3] }];
        let text = printed(|report| report.result(&[], &compare(&annotated, &[], REACH)).unwrap());
        assert_eq!(text, "start averages\n\nfinish averages\n\nL5 \n\naverage nan\n\n");
    }
}
