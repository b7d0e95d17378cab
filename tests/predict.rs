//! `vertebrae predict` through the built binary, with the models that come with it.

mod scratch;

use std::path::{Path, PathBuf};

use scratch::{files, run};
use serde_json::Value;
use vertebrae::anatomy::Level;
use vertebrae::annotation::lml;
use vertebrae::scan::nifti;

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn json(path: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

fn models() -> String {
    format!("--models {}", root().join("saved_models").display())
}

/// The phantoms that come with the program, in a folder of their own.
fn dataset(folder: &Path) -> Vec<String> {
    std::fs::create_dir(folder.join("scans")).unwrap();
    let names: Vec<String> =
        files(&root().join("testing_dataset")).into_iter().filter(|name| name.ends_with(".nii.gz")).collect();
    for name in &names {
        std::fs::copy(root().join("testing_dataset").join(name), folder.join("scans").join(name)).unwrap();
    }
    names
}

#[test]
fn the_shipped_models_name_the_shipped_phantoms_in_every_format() {
    let folder = tempfile::tempdir().unwrap();
    let names = dataset(folder.path());
    assert_eq!(names.len(), 3);
    let formats = "--format json,markups,csv,verse,lml,mask,preview,evidence";
    let ran = run(folder.path(), &format!("predict scans --output out {} {formats}", models()));
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    let (mut right, mut all) = (0, 0);
    for name in &names {
        let name = name.strip_suffix(".nii.gz").unwrap();
        assert!(ran.stdout.contains(name));
        let out = |ending: &str| folder.path().join("out").join(format!("{name}{ending}"));
        let document = json(&out(".vertebrae.json"));
        assert_eq!(document["schema"], "vertebrae/prediction/3");
        let found = document["vertebrae"].as_array().unwrap();
        let labels: Vec<Level> =
            found.iter().map(|v| v["label"].as_str().unwrap().parse().unwrap()).collect();
        assert!(labels.windows(2).all(|pair| pair[0] < pair[1]), "{labels:?}");

        // The same points in every format.
        let markups = json(&out(".mrk.json"));
        let points = markups["markups"][0]["controlPoints"].as_array().unwrap();
        let table = std::fs::read_to_string(out(".csv")).unwrap();
        assert_eq!((points.len(), table.lines().count()), (found.len(), found.len() + 1));
        let verse = json(&out("_ctd.json"));
        assert_eq!(verse[0]["direction"], serde_json::json!(["L", "P", "S"]));
        let own = lml::read(&out(".lml")).unwrap();
        let source = root().join("testing_dataset").join(format!("{name}.nii.gz"));
        let mask = nifti::read(&out("_seg.nii.gz")).unwrap();
        assert_eq!(mask.geometry, nifti::geometry(&source).unwrap());
        for (index, vertebra) in found.iter().enumerate() {
            let number = |value: &Value| value.as_f64().unwrap();
            for axis in 0..3 {
                let lps = number(&vertebra["lps"][axis]);
                assert!((lps - number(&points[index]["position"][axis])).abs() < 0.01);
                let sign = if axis < 2 { -1.0 } else { 1.0 };
                assert!((lps - sign * number(&vertebra["ras"][axis])).abs() < 0.01);
                let affine = &document["image"]["affine"][axis];
                let voxel = |part: usize| number(&affine[part]) * number(&vertebra["voxel"][part]);
                let world = (0..3).map(voxel).sum::<f64>() + number(&affine[3]);
                assert!((world - sign * lps).abs() < 0.01);
            }
            assert!(table.lines().nth(index + 1).unwrap().starts_with(vertebra["label"].as_str().unwrap()));
            let index: [usize; 3] =
                std::array::from_fn(|axis| number(&vertebra["voxel"][axis]).round() as usize);
            let id = vertebra["verse_id"].as_u64().unwrap_or(26);
            assert_eq!(mask.voxels[index], id as f32, "{}", vertebra["label"]);
            let confidence = number(&vertebra["confidence"]);
            assert!((0.0..=1.0).contains(&confidence));
        }
        let annotated = lml::read(&root().join("testing_dataset").join(format!("{name}.lml"))).unwrap();
        all += annotated.len();
        right += annotated
            .iter()
            .filter(|truth| {
                let same = own.iter().find(|found| found.level == truth.level);
                same.is_some_and(|found| {
                    (0..3).map(|axis| (found.mm[axis] - truth.mm[axis]).powi(2)).sum::<f64>() < 100.0
                })
            })
            .count();
    }
    assert!(right * 100 >= all * 95, "{right} of {all}");
}

#[test]
fn missing_models_and_inputs_are_named() {
    let folder = tempfile::tempdir().unwrap();
    scratch::scan(folder.path(), "a", [40, 40, 60], &["L1", "L2"]);
    let ran = run(folder.path(), "predict a.nii.gz --output out --models nowhere");
    assert!(ran.code == Some(1) && ran.stderr.contains("are not in nowhere"), "{}", ran.stderr);
    let ran = run(folder.path(), &format!("predict b*.nii.gz --output out {}", models()));
    assert!(ran.code == Some(1) && ran.stderr.contains("nothing matches"), "{}", ran.stderr);
    assert_eq!(run(folder.path(), "predict a.nii.gz --output out --shard 3/2").code, Some(2));
    assert!(!folder.path().join("out").exists());
}

#[test]
fn bfloat16_is_refused_where_it_cannot_be_had_and_names_the_same_where_it_can() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::copy(root().join("testing_dataset/phantom-11-001.nii.gz"), folder.path().join("a.nii.gz"))
        .unwrap();
    let go = |precision: &str, out: &str, simd: &str| {
        let arguments =
            format!("predict a.nii.gz --output {out} --format json --precision {precision} {}", models());
        let mut command = scratch::vertebrae(folder.path(), &arguments);
        let ran =
            if simd.is_empty() { command.output() } else { command.env("VERTEBRAE_SIMD", simd).output() };
        let ran = ran.unwrap();
        (ran.status.code(), String::from_utf8_lossy(&ran.stderr).into_owned())
    };
    let document = |out: &str| json(&folder.path().join(out).join("a.vertebrae.json"));
    let (code, sentence) = go("bf16", "none", "portable");
    assert!(code == Some(1) && sentence.contains("multiply no bfloat16"), "{sentence}");
    assert_eq!(go("auto", "portable", "portable").0, Some(0));
    assert_eq!(document("portable")["device"], "cpu");
    if vertebrae::kernels::isa::Isa::bf16().is_none() {
        println!("SKIPPED: this processor multiplies no bfloat16");
        return;
    }
    assert_eq!(go("f32", "whole", "").0, Some(0));
    assert_eq!(go("bf16", "half", "").0, Some(0));
    assert_eq!(document("half")["device"], "cpu (bf16)");
    let (whole, half) = (document("whole"), document("half"));
    for (a, b) in whole["vertebrae"].as_array().unwrap().iter().zip(half["vertebrae"].as_array().unwrap()) {
        assert_eq!(a["label"], b["label"]);
        for axis in 0..3 {
            let off = a["lps"][axis].as_f64().unwrap() - b["lps"][axis].as_f64().unwrap();
            assert!(off.abs() < 0.5, "{} {off}", a["label"]);
        }
    }
}
