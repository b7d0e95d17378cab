//! 3D Slicer's older list of points, `.fcsv`: a table whose head is in comments.

use std::path::Path;

use anyhow::{Context, Result, ensure};

use super::landmark::Landmark;

const COLUMNS: [&str; 14] =
    ["id", "x", "y", "z", "ow", "ox", "oy", "oz", "vis", "sel", "lock", "label", "desc", "associatedNodeID"];

/// Parses a list. Where nothing is said, positions are RAS, as the oldest files have them, and columns stand in the usual order.
pub fn parse(text: &str) -> Result<Vec<Landmark>> {
    let (mut system, mut columns) = ("RAS".to_owned(), COLUMNS.map(str::to_owned).to_vec());
    for line in text.lines().filter_map(|line| line.strip_prefix('#')) {
        match line.split_once('=').map(|(key, value)| (key.trim(), value.trim())) {
            Some(("CoordinateSystem", value)) => system = value.to_owned(),
            Some(("columns", value)) => {
                columns = value.split(',').map(|name| name.trim().to_owned()).collect();
            }
            _ => {}
        }
    }
    // Older versions wrote numbers.
    let sign = match system.as_str() {
        "LPS" | "1" => 1.0,
        "RAS" | "0" => -1.0,
        other => anyhow::bail!("its coordinate system '{other}' is neither LPS nor RAS"),
    };
    let place = |name: &str| {
        let found = columns.iter().position(|column| column == name);
        found.with_context(|| format!("it has no column '{name}'; its comments name the columns"))
    };
    let [x, y, z, label] = [place("x")?, place("y")?, place("z")?, place("label")?];
    let description = place("desc").ok();
    let mut reader = csv::ReaderBuilder::new()
        .has_headers(false)
        .flexible(true)
        .comment(Some(b'#'))
        .trim(csv::Trim::All)
        .from_reader(text.as_bytes());
    let mut landmarks = Vec::new();
    for row in reader.records() {
        let row = row?;
        let line = row.position().map_or(0, csv::Position::line);
        let number = |at: usize| -> Result<f64> {
            let field = row.get(at).unwrap_or_default();
            let value: Option<f64> = field.parse().ok();
            value
                .filter(|value| value.is_finite())
                .with_context(|| format!("line {line}: '{field}' is no number of mm"))
        };
        let name = row.get(label).unwrap_or_default();
        ensure!(!name.is_empty(), "line {line} has no label");
        landmarks.push(Landmark {
            level: name.parse().with_context(|| format!("line {line}"))?,
            lps: [sign * number(x)?, sign * number(y)?, number(z)?],
            description: description.and_then(|at| row.get(at)).unwrap_or_default().to_owned(),
        });
    }
    Ok(landmarks)
}

/// Writes a list, whole or not at all.
pub fn write(path: &Path, landmarks: &[Landmark]) -> Result<()> {
    crate::artifact::write(path, |file| {
        writeln!(file, "# Markups fiducial file version = 5.0")?;
        writeln!(file, "# CoordinateSystem = LPS")?;
        writeln!(file, "# columns = {}", COLUMNS.join(","))?;
        let mut writer = csv::WriterBuilder::new().has_headers(false).from_writer(file);
        for (index, Landmark { level, lps, description }) in landmarks.iter().enumerate() {
            let id = (index + 1).to_string();
            let [x, y, z] = lps.map(|part| format!("{part:.4}"));
            let upright = ["0", "0", "0", "1"];
            let row = [id.as_str(), &x, &y, &z].into_iter().chain(upright).chain(["1", "1", "0"]);
            writer.write_record(row.chain([level.name(), description.as_str(), ""]))?;
        }
        Ok(writer.flush()?)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn older_files_are_of_ras_and_may_have_other_columns() {
        let old = "# Markups fiducial file version = 4.6\n# CoordinateSystem = 0\n\
                   # columns = id,x,y,z,ow,ox,oy,oz,vis,sel,lock,label,desc,associatedNodeID\n\
                   vtkMRMLMarkupsFiducialNode_0,1,2,3,0,0,0,1,1,1,0,L3,by hand,\n";
        let read = parse(old).unwrap();
        assert_eq!((read[0].level.name(), read[0].lps), ("L3", [-1.0, -2.0, 3.0]));
        assert_eq!(read[0].description, "by hand");
        let other = "# CoordinateSystem = LPS\n# columns = label,x,y,z\nT4,1,2,3\n";
        assert_eq!(parse(other).unwrap()[0].lps, [1.0, 2.0, 3.0]);
    }

    #[test]
    fn what_cannot_be_is_an_error_with_its_line() {
        let error = |text: &str| format!("{:#}", parse(text).unwrap_err());
        assert!(error("# CoordinateSystem = IJK\n").contains("'IJK' is neither"));
        assert!(error("# columns = label,x,y\nT4,1,2\n").contains("no column 'z'"));
        assert!(error("# columns = label,x,y,z\nT4,1,2,3\nT5,1,b,3\n").contains("line 3: 'b' is no number"));
    }
}
