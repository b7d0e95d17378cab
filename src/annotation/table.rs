//! 3D Slicer's table of control points, `.csv`.

use std::path::Path;

use anyhow::{Context, Result, ensure};

use super::landmark::Landmark;

const COLUMNS: [&str; 9] =
    ["label", "l", "p", "s", "defined", "selected", "visible", "locked", "description"];

/// Parses a table; columns may stand in any order, those for RAS (`r`, `a`) are turned.
pub fn parse(text: &str) -> Result<Vec<Landmark>> {
    let mut reader =
        csv::ReaderBuilder::new().flexible(true).trim(csv::Trim::All).from_reader(text.as_bytes());
    let header = reader.headers()?.clone();
    let column = |names: &[&str]| header.iter().position(|name| names.contains(&name));
    let place = |names: &[&str]| {
        column(names)
            .with_context(|| format!("it has no column '{}'; its first line names the columns", names[0]))
    };
    let label = place(&["label"])?;
    let positions = [place(&["l", "r"])?, place(&["p", "a"])?, place(&["s"])?];
    let signs = [
        if &header[positions[0]] == "r" { -1.0 } else { 1.0 },
        if &header[positions[1]] == "a" { -1.0 } else { 1.0 },
        1.0,
    ];
    let (defined, description) = (column(&["defined"]), column(&["description"]));
    let mut landmarks = Vec::new();
    for (number, row) in reader.records().enumerate() {
        let row = row?;
        let line = number + 2;
        if defined.and_then(|at| row.get(at)) == Some("0") {
            continue;
        }
        let mut lps = [0.0; 3];
        for (axis, part) in lps.iter_mut().enumerate() {
            let field = row.get(positions[axis]).unwrap_or_default();
            let value: Option<f64> = field.parse().ok();
            let value = value.filter(|value| value.is_finite());
            *part =
                signs[axis] * value.with_context(|| format!("line {line}: '{field}' is no number of mm"))?;
        }
        let name = row.get(label).unwrap_or_default();
        ensure!(!name.is_empty(), "line {line} has no label");
        let level = name.parse().with_context(|| format!("line {line}"))?;
        let description = description.and_then(|at| row.get(at)).unwrap_or_default().to_owned();
        landmarks.push(Landmark { level, lps, description });
    }
    Ok(landmarks)
}

/// Writes a table, whole or not at all.
pub fn write(path: &Path, landmarks: &[Landmark]) -> Result<()> {
    crate::artifact::write(path, |file| {
        let mut writer = csv::Writer::from_writer(file);
        writer.write_record(COLUMNS)?;
        for Landmark { level, lps, description } in landmarks {
            let [l, p, s] = lps.map(|part| format!("{part:.4}"));
            writer.write_record([level.name(), &l, &p, &s, "1", "1", "1", "0", description])?;
        }
        Ok(writer.flush()?)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_may_be_those_of_ras_in_any_order() {
        let read = parse("s,label,r,a\n3,T4,1,2\n").unwrap();
        assert_eq!((read[0].level.name(), read[0].lps), ("T4", [-1.0, -2.0, 3.0]));
        assert!(parse("label,l,p\nT1,1,2\n").unwrap_err().to_string().contains("no column 's'"));
    }
}
