//! The same spine however it was scanned: slices of other thickness, noise, a part of it. A table rather than a
//! test of minutes: `cargo test --release --test robustness -- --ignored --nocapture`.

mod scratch;

use std::path::{Path, PathBuf};

use ndarray::{Array3, Axis, s};
use scratch::run;
use serde_json::Value;
use vertebrae::random::Legacy;
use vertebrae::scan::{Geometry, Volume, nifti};

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Slices of about `thickness` mm: means of as many as fit. The last axis is the patient's.
fn thicker(volume: &Volume, thickness: f64) -> (Array3<i16>, Geometry) {
    let count = (thickness / volume.geometry.spacing[2]).round().max(1.0) as usize;
    let [x, y, z] = volume.geometry.shape;
    let slices = z / count;
    let mut voxels = Array3::zeros((x, y, slices));
    for slice in 0..slices {
        let part = volume.voxels.slice(s![.., .., slice * count..(slice + 1) * count]);
        let mean = part.mean_axis(Axis(2)).unwrap();
        voxels.index_axis_mut(Axis(2), slice).assign(&mean.mapv(|value| value.round() as i16));
    }
    let mut geometry = volume.geometry.clone();
    geometry.shape[2] = slices;
    geometry.spacing[2] *= count as f64;
    let middle = (count as f64 - 1.0) / 2.0;
    for row in &mut geometry.affine {
        row[3] += middle * row[2];
        row[2] *= count as f64;
    }
    (voxels, geometry)
}

/// The part of the slices between two shares of the height.
fn part(volume: &Volume, low: f64, high: f64) -> (Array3<i16>, Geometry) {
    let z = volume.geometry.shape[2] as f64;
    let (start, end) = ((low * z) as usize, (high * z) as usize);
    let voxels = volume.voxels.slice(s![.., .., start..end]).mapv(|value| value.round() as i16);
    let mut geometry = volume.geometry.clone();
    geometry.shape[2] = end - start;
    geometry.affine.iter_mut().for_each(|row| row[3] += start as f64 * row[2]);
    (voxels, geometry)
}

fn vertebrae(folder: &Path, name: &str) -> Vec<(String, [f64; 3], bool)> {
    let path = folder.join(format!("out/{name}.vertebrae.json"));
    let document: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    let vertebra = |vertebra: &Value| {
        let lps = std::array::from_fn(|axis| vertebra["lps"][axis].as_f64().unwrap());
        let flags = vertebra["flags"].to_string();
        let marked = ["shift", "transitional", "uncertain"].iter().any(|flag| flags.contains(flag));
        (vertebra["label"].as_str().unwrap().to_owned(), lps, marked)
    };
    document["vertebrae"].as_array().unwrap().iter().map(vertebra).collect()
}

#[test]
#[ignore = "takes minutes and needs annotated scans; prints a table"]
fn names_do_not_depend_on_how_a_spine_was_scanned() {
    let cases = root().join("../shared/cases");
    let Ok(split) = std::fs::read_to_string(cases.join("SPLIT")) else {
        println!("SKIPPED: no {} here", cases.display());
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let scans: Vec<&str> = split.lines().filter_map(|line| line.strip_prefix("dev ")).collect();
    let variants = [
        "as it is",
        "1 mm",
        "2 mm",
        "3 mm",
        "5 mm",
        "noise of 40 HU",
        "upper part",
        "middle part",
        "lower part",
    ];
    let mut random = Legacy::seeded(1);
    for scan in &scans {
        let volume = nifti::read(&cases.join(format!("{scan}.nii.gz"))).unwrap();
        let name = Path::new(scan).file_name().unwrap().to_string_lossy();
        let whole = thicker(&volume, 0.0);
        for (index, variant) in variants.iter().enumerate() {
            let (voxels, geometry) = match *variant {
                "as it is" => whole.clone(),
                "noise of 40 HU" => {
                    let noisy =
                        whole.0.mapv(|value| (f64::from(value) + 40.0 * random.normal()).round() as i16);
                    (noisy, whole.1.clone())
                }
                "upper part" => part(&volume, 0.55, 1.0),
                "middle part" => part(&volume, 0.27, 0.73),
                "lower part" => part(&volume, 0.0, 0.45),
                thickness => thicker(&volume, thickness.trim_end_matches(" mm").parse().unwrap()),
            };
            nifti::write(&folder.path().join(format!("in/{name}-{index}.nii.gz")), &voxels, &geometry)
                .unwrap();
        }
    }
    let models = root().join("saved_models");
    let ran =
        run(folder.path(), &format!("predict in -o out --format json --quiet --models {}", models.display()));
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    println!(
        "| variant | bodies in both | same name | other name, marked | scans with another name |\n|---|---|---|---|---|"
    );
    let (mut all, mut same) = (0, 0);
    for (index, variant) in variants.iter().enumerate().skip(1) {
        let (mut both, mut agree, mut marked, mut others) = (0, 0, 0, Vec::new());
        for scan in &scans {
            let name = Path::new(scan).file_name().unwrap().to_string_lossy();
            let base = vertebrae(folder.path(), &format!("{name}-0"));
            let mut other = 0;
            for (label, at, doubted) in vertebrae(folder.path(), &format!("{name}-{index}")) {
                let distance =
                    |b: &[f64; 3]| (0..3).map(|axis| (at[axis] - b[axis]).powi(2)).sum::<f64>().sqrt();
                let nearest = base.iter().min_by(|a, b| distance(&a.1).total_cmp(&distance(&b.1)));
                let Some((expected, ..)) = nearest.filter(|(_, b, _)| distance(b) < 8.0) else { continue };
                both += 1;
                if *expected == label {
                    agree += 1;
                } else {
                    marked += usize::from(doubted);
                    other += 1;
                }
            }
            if other > 0 {
                others.push(format!("{name} ({other})"));
            }
        }
        println!(
            "| {variant} | {both} | {agree} ({:.1} %) | {marked} | {} |",
            100.0 * agree as f64 / both as f64,
            others.join(", ")
        );
        all += both;
        same += agree;
    }
    println!("| all | {all} | {same} ({:.1} %) | | |", 100.0 * same as f64 / all as f64);
    assert!(same * 100 >= all * 90, "{same} of {all}");
}
