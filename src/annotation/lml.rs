//! `.lml` annotations: one vertebra a line, millimetres from the first stored voxel (docs/original.md §2).

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};

use super::Centroid;
use crate::anatomy::Level;
use crate::scan::Geometry;

/// The annotation that belongs to a scan: the same name with `.lml`.
pub fn beside(scan: &Path) -> PathBuf {
    scan.with_file_name(format!("{}.lml", crate::scan::name(scan)))
}

/// Reads an annotation. Every error names the file and, where there is one, the line.
pub fn read(path: &Path) -> Result<Vec<Centroid>> {
    ensure!(
        path.exists(),
        "{} is missing; put the scan's annotation there (a header line, then 'id NAME_center x y z' a line)",
        path.display()
    );
    let bytes = std::fs::read(path).with_context(|| format!("{} cannot be read", path.display()))?;
    parse(&String::from_utf8_lossy(&bytes)).with_context(|| format!("{}", path.display()))
}

/// Parses the text of an annotation: the first line is a header, blank lines are passed over.
pub fn parse(text: &str) -> Result<Vec<Centroid>> {
    let mut centroids: Vec<Centroid> = Vec::new();
    for (index, line) in text.lines().enumerate().skip(1) {
        if line.trim().is_empty() {
            continue;
        }
        let centroid = parse_line(line).with_context(|| format!("line {}", index + 1))?;
        if centroids.iter().any(|known| known.level == centroid.level) {
            bail!("line {}: {} is annotated twice; keep one line a vertebra", index + 1, centroid.level);
        }
        centroids.push(centroid);
    }
    ensure!(!centroids.is_empty(), "no vertebra is annotated; add one 'id NAME_center x y z' line for each");
    Ok(centroids)
}

fn parse_line(line: &str) -> Result<Centroid> {
    let fields: Vec<&str> = line.split_whitespace().collect();
    ensure!(
        fields.len() >= 5,
        "{} of 5 fields are there; write 'id NAME_center x y z', separated by spaces or tabs",
        fields.len()
    );
    let label = fields[1].split('_').next().unwrap_or_default();
    let level: Level = label.parse()?;
    let mut mm = [0.0; 3];
    for (axis, value) in mm.iter_mut().enumerate() {
        let field = fields[2 + axis];
        *value = field.parse().ok().filter(|value: &f64| value.is_finite()).with_context(|| {
            format!("the {} coordinate '{field}' is no number of mm", ["x", "y", "z"][axis])
        })?;
    }
    Ok(Centroid { level, mm })
}

/// Refuses centroids that lie further outside the volume than half their vertebra: they belong to
/// another scan or to another unit. `geometry` is the stored grid the annotation speaks of.
pub fn check_inside(centroids: &[Centroid], geometry: &Geometry) -> Result<()> {
    let extent = geometry.extent();
    for Centroid { level, mm } in centroids {
        let margin = level.diameter() / 2.0;
        for axis in 0..3 {
            ensure!(
                (-margin..=extent[axis] + margin).contains(&mm[axis]),
                "{level} at ({}, {}, {}) lies outside the scan, which ends at {:.1} mm on the {} axis; \
                 coordinates are mm from the first voxel along the stored axes",
                mm[0],
                mm[1],
                mm[2],
                extent[axis],
                ["first", "second", "third"][axis]
            );
        }
    }
    Ok(())
}

/// Writes an annotation with four decimals; the file appears whole or not at all.
pub fn write(path: &Path, centroids: &[Centroid]) -> Result<()> {
    crate::artifact::write(path, |file| {
        writeln!(
            file,
            "# vertebra centres: id, name, x y z in mm from the first voxel, along the stored axes"
        )?;
        for Centroid { level, mm } in centroids {
            let id = u32::from(level.value()) * 10;
            writeln!(file, "{id}\t{level}_center\t{:.4}\t{:.4}\t{:.4}", mm[0], mm[1], mm[2])?;
        }
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: &str = "# header\n";

    fn sentence(lines: &str) -> String {
        format!("{:#}", parse(&format!("{HEADER}{lines}")).unwrap_err())
    }

    #[test]
    fn centroids_are_read_in_file_order() {
        let text = "header\n10\tT1_center\t1.5\t2\t-3e0\n\n 20 L6_x_y 4 5 6 surplus\n";
        let read = parse(text).unwrap();
        assert_eq!(read.len(), 2);
        assert_eq!((read[0].level.name(), read[0].mm), ("T1", [1.5, 2.0, -3.0]));
        assert_eq!((read[1].level.name(), read[1].mm), ("L6", [4.0, 5.0, 6.0]));
    }

    #[test]
    fn malformed_lines_are_named_with_the_remedy() {
        assert!(sentence("1 T1_center 1 2").contains("line 2: 4 of 5 fields"));
        assert!(sentence("1 T1_center 1 2 3\n1 T2_center 1 x 3").contains("line 3: the y coordinate 'x'"));
        assert!(sentence("1 T1_center 1 2 NaN").contains("the z coordinate 'NaN'"));
        assert!(sentence("1 T14_center 1 2 3").contains("'T14' is no vertebral level"));
        assert!(sentence("1 T1_center 1 2 3\n1 T1_center 1 2 3").contains("line 3: T1 is annotated twice"));
        assert!(sentence("").contains("no vertebra is annotated"));
    }

    #[test]
    fn a_missing_annotation_says_what_to_write() {
        let text = read(Path::new("nowhere/x.lml")).unwrap_err().to_string();
        assert!(text.contains("nowhere/x.lml is missing"), "{text}");
    }

    #[test]
    fn a_centroid_outside_the_scan_is_refused_and_one_at_its_edge_is_not() {
        let geometry = Geometry { shape: [11; 3], spacing: [10.0; 3], affine: [[0.0; 4]; 3] };
        let at = |z: f64| vec![Centroid { level: "L1".parse().unwrap(), mm: [50.0, 50.0, z] }];
        assert!(check_inside(&at(110.0), &geometry).is_ok());
        let text = check_inside(&at(130.0), &geometry).unwrap_err().to_string();
        assert!(text.contains("L1 at (50, 50, 130) lies outside the scan"), "{text}");
        assert!(text.contains("100.0 mm on the third axis"), "{text}");
    }

    #[test]
    fn what_is_written_reads_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.lml");
        let centroids = parse("\n1 C1_center 1 2.25 3\n1 S2_center 4 5 6").unwrap();
        write(&path, &centroids).unwrap();
        assert_eq!(read(&path).unwrap(), centroids);
        assert_eq!(beside(Path::new("x/a.b.nii.gz")), Path::new("x/a.b.lml"));
    }
}
