//! Many scans through `vertebrae predict`: broken ones, interruption, full disks, orientations.

mod scratch;

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use ndarray::Array3;
use scratch::{files, run, vertebrae};
use serde_json::Value;
use vertebrae::scan::{Geometry, nifti};

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn json(path: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

fn models() -> String {
    format!("--models {}", root().join("saved_models").display())
}

/// Copies of the smallest phantom, `scans/00.nii.gz` and so on.
fn copies(folder: &Path, count: usize) {
    std::fs::create_dir_all(folder.join("scans")).unwrap();
    for index in 0..count {
        let target = folder.join(format!("scans/{index:02}.nii.gz"));
        std::fs::copy(root().join("testing_dataset/phantom-11-001.nii.gz"), target).unwrap();
    }
}

fn documents(folder: &Path) -> usize {
    files(&folder.join("out")).iter().filter(|name| name.ends_with(".vertebrae.json")).count()
}

#[test]
fn of_twenty_scans_four_broken_ones_are_told_apart_and_tried_again_alone() {
    let folder = tempfile::tempdir().unwrap();
    copies(folder.path(), 17);
    let scans = folder.path().join("scans");
    let cut = std::fs::read(scans.join("16.nii.gz")).unwrap();
    std::fs::write(scans.join("16.nii.gz"), &cut[..cut.len() / 2]).unwrap();
    std::fs::write(scans.join("17.nii.gz"), b"").unwrap();
    std::fs::write(scans.join("18.nii.gz"), vec![b'x'; 1000]).unwrap();
    let nothing = Array3::from_elem((20, 20, 20), f32::NAN);
    nifti::write(&scans.join("19.nii.gz"), &nothing, &scratch::geometry([20, 20, 20])).unwrap();

    let command = format!("predict scans --output out {} --format json,preview", models());
    let ran = run(folder.path(), &command);
    assert_eq!(ran.code, Some(1));
    assert_eq!(documents(folder.path()), 16);
    assert!(ran.stderr.contains("16 scans done, 0 done before, 4 failed"), "{}", ran.stderr);
    let list = ran.stderr.split("4 of 20 scans could not be used:").nth(1).unwrap();
    let sentences: Vec<&str> = list.trim().lines().map(str::trim).collect();
    let causes = ["ends early", "is empty", "no NIfTI file", "NaN or infinite"];
    assert_eq!(sentences.len(), 4);
    for (sentence, (name, cause)) in sentences.iter().zip([16, 17, 18, 19].iter().zip(causes)) {
        assert!(sentence.contains(&format!("{name}.nii.gz")) && sentence.contains(cause), "{sentence}");
    }
    let record = json(&folder.path().join("out/vertebrae-run.json"));
    assert_eq!((record["done"].as_u64(), record["failed"].as_array().unwrap().len()), (Some(16), 4));
    let page = std::fs::read_to_string(folder.path().join("out/report.html")).unwrap();
    assert!(page.contains("20 scans, 4 of which could not be used.") && page.contains("data:image/jpeg"));

    // Again: only the four are tried. One of them is repaired.
    copies(folder.path(), 1);
    std::fs::copy(scans.join("00.nii.gz"), scans.join("17.nii.gz")).unwrap();
    let ran = run(folder.path(), &format!("{command} --resume --json"));
    assert_eq!(ran.code, Some(1));
    assert!(ran.stderr.contains("1 scans done, 16 done before, 3 failed"), "{}", ran.stderr);
    let lines: Vec<Value> = ran.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 1, "{}", ran.stdout);
    assert!(lines[0]["input"]["path"].as_str().unwrap().ends_with("17.nii.gz"));
    // Other models: nothing counts as done.
    let others = folder.path().join("models");
    std::fs::create_dir(&others).unwrap();
    scratch::other_names(&root().join("saved_models"), &others);
    let command = command.replace(&models(), "--models models");
    let ran = run(folder.path(), &format!("{command} --resume --shard 1/10 --quiet"));
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(0), ""), "{}", ran.stderr);
    assert_eq!(json(&folder.path().join("out/vertebrae-run-1-of-10.json"))["done"], 2);
}

#[test]
fn shards_and_their_report_are_the_whole_run() {
    let folder = tempfile::tempdir().unwrap();
    copies(folder.path(), 5);
    std::fs::write(folder.path().join("scans/05.nii.gz"), b"").unwrap();
    for (shard, done) in [("1/3", 2), ("2/3", 2), ("3/3", 1)] {
        let out = format!("out/{}", &shard[..1]);
        let command = format!("predict scans --output {out} {} --format json --shard {shard}", models());
        let ran = run(folder.path(), &command);
        assert_eq!(ran.code, Some(if done == 1 { 1 } else { 0 }), "{}", ran.stderr);
        let names = files(&folder.path().join(out));
        assert_eq!(names.iter().filter(|name| name.ends_with(".vertebrae.json")).count(), done);
        assert!(!names.contains(&"report.html".to_owned()));
    }
    let ran = run(folder.path(), "report out");
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    assert!(ran.stdout.contains("5 scans with results, 1 without"), "{}", ran.stdout);
    let list = std::fs::read_to_string(folder.path().join("out/report.jsonl")).unwrap();
    assert_eq!(list.lines().count(), 5);
    let page = std::fs::read_to_string(folder.path().join("out/report.html")).unwrap();
    assert!(page.contains("6 scans, 1 of which could not be used.") && page.contains("the file is empty"));
}

#[test]
#[cfg(unix)]
fn ctrl_c_finishes_the_scan_at_hand_and_resume_does_the_rest() {
    let folder = tempfile::tempdir().unwrap();
    copies(folder.path(), 12);
    let command = format!("predict scans --output out {} --format json", models());
    let mut child =
        vertebrae(folder.path(), &command).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    lines.next().unwrap().unwrap();
    let kill = Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert!(kill.success());
    let rest = lines.count();
    let output = child.wait_with_output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(130), "{rest} {stderr}");
    assert!(stderr.contains("scans left; go on with --resume"), "{stderr}");
    let done = documents(folder.path());
    assert!((1..12).contains(&done), "{done}");
    assert_eq!(json(&folder.path().join("out/vertebrae-run.json"))["interrupted"], true);
    assert!(files(&folder.path().join("out")).iter().all(|name| !name.ends_with(".part")));
    let ran = run(folder.path(), &format!("{command} --resume"));
    assert!(ran.stderr.contains(&format!("{} scans done, {done} done before", 12 - done)), "{}", ran.stderr);
    assert_eq!((ran.code, documents(folder.path())), (Some(0), 12));
}

#[test]
fn an_output_folder_that_cannot_be_written_ends_the_run_before_it_begins() {
    let folder = tempfile::tempdir().unwrap();
    copies(folder.path(), 1);
    // A folder below a file, and one that the system itself keeps.
    for output in ["scans/00.nii.gz/out", "/proc/vertebrae"] {
        let ran = run(folder.path(), &format!("predict scans --output {output} {}", models()));
        assert_eq!(ran.code, Some(1));
        assert!(ran.stderr.contains(&format!("no file can be written into {output}")), "{}", ran.stderr);
        assert!(ran.stdout.is_empty());
    }
}

#[test]
#[cfg(target_os = "linux")]
fn a_full_disk_is_an_error_and_leaves_nothing_half_written() {
    let folder = tempfile::tempdir().unwrap();
    copies(folder.path(), 1);
    let disk = folder.path().join("disk");
    std::fs::create_dir(&disk).unwrap();
    let mount = Command::new("mount").args(["-t", "tmpfs", "-o", "size=64k", "tmpfs"]).arg(&disk).output();
    if !mount.is_ok_and(|mount| mount.status.success()) {
        eprintln!("SKIPPED: no small disk can be mounted here");
        return;
    }
    let ran =
        run(folder.path(), &format!("predict scans --output disk {} --format mask,preview,json", models()));
    let left = files(&disk);
    assert!(Command::new("umount").arg(&disk).status().unwrap().success());
    assert_eq!(ran.code, Some(1), "{}", ran.stderr);
    assert!(
        ran.stderr.contains("could not be written") && ran.stderr.contains("No space left"),
        "{}",
        ran.stderr
    );
    assert!(left.iter().all(|name| !name.ends_with(".png") && !name.ends_with(".part")), "{left:?}");
}

#[test]
fn all_orientations_of_a_real_scan_give_the_same_points() {
    let source = root().join("../shared/cases/totalseg.nii.gz");
    if !source.exists() {
        eprintln!("SKIPPED: no {} here", source.display());
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let volume = nifti::read(&source).unwrap();
    let mut names = Vec::new();
    for axes in [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]] {
        for flips in 0..8 {
            let mut voxels = volume.voxels.mapv(|value| value as i16).permuted_axes(axes);
            let stored = &volume.geometry;
            let mut first = [0.0; 3];
            for axis in 0..3 {
                if flips >> axis & 1 == 1 {
                    voxels.invert_axis(ndarray::Axis(axis));
                    first[axes[axis]] = stored.shape[axes[axis]] as f64 - 1.0;
                }
            }
            let origin = stored.world(first);
            let affine = std::array::from_fn(|row| {
                let column = |axis: usize| {
                    stored.affine[row][axes[axis]] * if flips >> axis & 1 == 1 { -1.0 } else { 1.0 }
                };
                [column(0), column(1), column(2), origin[row]]
            });
            let geometry = Geometry {
                shape: voxels.dim().into(),
                spacing: axes.map(|axis| stored.spacing[axis]),
                affine,
            };
            let name = format!("{}{}{}-{flips}", axes[0], axes[1], axes[2]);
            let path = folder.path().join(format!("scans/{name}.nii.gz"));
            nifti::write(&path, &voxels.as_standard_layout().into_owned(), &geometry).unwrap();
            names.push(name);
        }
    }
    let ran = run(folder.path(), &format!("predict scans --output out {} --format json", models()));
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    let points = |name: &str| -> Vec<(String, [f64; 3])> {
        let document = json(&folder.path().join(format!("out/{name}.vertebrae.json")));
        let point = |vertebra: &Value| {
            let lps = std::array::from_fn(|axis| vertebra["lps"][axis].as_f64().unwrap());
            (vertebra["label"].as_str().unwrap().to_owned(), lps)
        };
        document["vertebrae"].as_array().unwrap().iter().map(point).collect()
    };
    let first = points(&names[0]);
    assert!(first.len() >= 5 && names.len() == 48);
    for name in &names[1..] {
        let other = points(name);
        assert_eq!(other.len(), first.len(), "{name}");
        for ((label, a), (same, b)) in first.iter().zip(&other) {
            assert_eq!(label, same, "{name}");
            // The same voxels in another order: what differs is rounding.
            assert!((0..3).all(|axis| (a[axis] - b[axis]).abs() < 0.05), "{name} {label}: {a:?} {b:?}");
        }
    }
}
