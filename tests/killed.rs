//! Killed at any moment, a command leaves no half-written file under its final name.
#![cfg(unix)]

mod scratch;

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use ndarray::{Ix2, Ix3};
use scratch::{run, scan, vertebrae};
use vertebrae::network::{Kind, Weights};
use vertebrae::sampling::npy;

const SHAPE: [usize; 3] = [60, 60, 80];
const LEVELS: [&str; 4] = ["T12", "L1", "L2", "L3"];

/// Starts a command, kills it (SIGKILL) after so many milliseconds; whether it was still running.
fn kill(folder: &Path, arguments: &str, after: u64) -> bool {
    let mut child = vertebrae(folder, arguments).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    std::thread::sleep(Duration::from_millis(after));
    let running = child.try_wait().unwrap().is_none();
    child.kill().unwrap();
    child.wait().unwrap();
    running
}

/// Reads everything that lies under a final name; returns how many files that were.
fn check(folder: &Path) -> usize {
    let mut read = 0;
    for entry in walkdir::WalkDir::new(folder) {
        // The folder itself may not be there yet.
        let Ok(entry) = entry else { continue };
        let path = entry.into_path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if path.is_dir() || name.starts_with('.') {
            continue;
        }
        if name.ends_with(".npy") {
            let whole = npy::read::<Ix3>(&path).is_ok() || npy::read::<Ix2>(&path).is_ok();
            assert!(whole, "{} is half-written", path.display());
        } else if name.ends_with(".safetensors") || name.starts_with("detection_model.") {
            Weights::read(&path, Kind::Detection).unwrap();
        } else if name.ends_with(".json") {
            serde_json::from_slice::<serde_json::Value>(&std::fs::read(&path).unwrap()).unwrap();
        } else if name.ends_with(".png") {
            let bytes = std::fs::read(&path).unwrap();
            assert_eq!(
                bytes[bytes.len() - 8..bytes.len() - 4],
                *b"IEND",
                "{} is half-written",
                path.display()
            );
        } else {
            continue;
        }
        read += 1;
    }
    read
}

/// Kills a command again and again, a little later each time, until it gets through.
fn check_until_it_ends(folder: &Path, arguments: &str, output: &Path, step: u64) {
    let mut killed = 0;
    let mut after = 5;
    while kill(folder, arguments, after) {
        killed += 1;
        check(output);
        after += step;
        assert!(after < 120_000, "'{arguments}' does not end");
    }
    assert!(killed > 0, "'{arguments}' was never killed");
    assert!(check(output) > 0, "'{arguments}' wrote nothing");
}

#[test]
fn generating_training_and_measuring() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    std::fs::create_dir(at("scans")).unwrap();
    scan(&at("scans"), "a", SHAPE, &LEVELS);
    let generate = "gen-identification scans slabs --samples 40 --sample-size 8x48x48";
    check_until_it_ends(folder.path(), generate, &at("slabs"), 15);
    let boxes = run(folder.path(), "gen-detection scans boxes --samples 4 --sample-size 32x32x32");
    assert_eq!(boxes.code, Some(0), "{}", boxes.stderr);
    let train = "train-detection boxes boxes saved/detection.safetensors --filters 6 --epochs 3 --batch-size 2 \
                 --checkpoint-every 1";
    check_until_it_ends(folder.path(), train, folder.path(), 60);
    scratch::models(folder.path(), [0.0, 1.0], 21.0);
    let measure = "measure scans detection.safetensors identification.safetensors --sample-size 32x32x32 \
                   --json measured/all.json --plots measured";
    check_until_it_ends(folder.path(), measure, &at("measured"), 20);
}
