//! Names and colours of a mask's numbers, as 3D Slicer reads them: a `.ctbl` file.

use std::path::Path;

use anyhow::Result;

use crate::anatomy::{Level, Region};
use crate::artifact;
use crate::measurement::number;

/// Writes the table of the levels in a mask.
///
/// A level has the same colour in every scan: one hue a region, and neighbours differ in brightness.
pub fn write(path: &Path, levels: &[Level]) -> Result<()> {
    artifact::write(path, |file| {
        writeln!(file, "# Colours of the vertebrae: number name red green blue alpha")?;
        writeln!(file, "0 background 0 0 0 0")?;
        let mut before = 0;
        for &level in levels {
            // S1 and S2 share the sacrum's number.
            if number(level) != before {
                before = number(level);
                let [red, green, blue] = colour(level);
                let name = if level.region() == Region::Sacral { "sacrum" } else { level.name() };
                writeln!(file, "{before} {name} {red} {green} {blue} 255")?;
            }
        }
        Ok(())
    })
}

pub(super) fn colour(level: Level) -> [u8; 3] {
    let [red, green, blue] = match level.region() {
        Region::Cervical => [240, 120, 90],
        Region::Thoracic => [100, 190, 110],
        Region::Lumbar => [90, 140, 240],
        Region::Sacral => [220, 190, 80],
    };
    // Three steps of brightness, so that neighbours can be told apart.
    let share = [1.0, 0.8, 0.62][usize::from(level.value()) % 3];
    [red, green, blue].map(|part: u8| (f64::from(part) * share) as u8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_of_a_mask_has_one_line() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a_seg.ctbl");
        let levels = ["T12", "L1", "S1", "S2"].map(|name| name.parse().unwrap());
        write(&path, &levels).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        let lines: Vec<&str> = text.lines().skip(1).collect();
        assert_eq!(lines.len(), 4);
        assert!(
            lines[1].starts_with("19 T12 ")
                && lines[2].starts_with("20 L1 ")
                && lines[3].starts_with("26 sacrum ")
        );
        assert_ne!(colour(levels[0]), colour("T11".parse().unwrap()));
    }
}
