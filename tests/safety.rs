//! Never another patient's result, never a crash, nothing wrong in silence: runs of `predict` over inputs that are
//! not what they should be.

mod scratch;

use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use ndarray::Array3;
use scratch::{Ran, files, run, set, spoil, vertebrae};
use serde_json::Value;
use vertebrae::scan::{Geometry, nifti};

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// One of the phantoms that come with the program.
fn phantom(number: usize) -> PathBuf {
    let mut names: Vec<String> = files(&root().join("testing_dataset"));
    names.retain(|name| name.ends_with(".nii.gz"));
    root().join("testing_dataset").join(&names[number])
}

/// A copy of a phantom in a folder.
fn put(folder: &Path, name: &str, number: usize) -> PathBuf {
    let path = folder.join(name);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::copy(phantom(number), &path).unwrap();
    path
}

/// Runs `predict` with the models that come with the program, writing nothing but what it must.
fn predict(folder: &Path, arguments: &str) -> Ran {
    let models = root().join("saved_models");
    run(folder, &format!("predict {arguments} --output out --format json --models {}", models.display()))
}

fn document(folder: &Path, stem: &str) -> Value {
    let path = folder.join("out").join(format!("{stem}.vertebrae.json"));
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

fn input(document: &Value) -> &str {
    document["input"]["path"].as_str().unwrap()
}

fn warnings(document: &Value) -> String {
    document["warnings"].to_string()
}

#[test]
fn an_instruction_set_nobody_knows_is_a_usage_error() {
    let folder = tempfile::tempdir().unwrap();
    let devices = |simd: &str| {
        let output = vertebrae(folder.path(), "devices").env("VERTEBRAE_SIMD", simd).output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (output.status.code(), text(output.stdout), text(output.stderr))
    };
    let (code, _, stderr) = devices("avx-2");
    assert!(code == Some(2) && stderr.contains("VERTEBRAE_SIMD is 'avx-2'; this machine has"), "{stderr}");
    let (code, stdout, _) = devices("portable");
    assert!(code == Some(0) && stdout.contains("portable kernels"), "{stdout}");
}

#[test]
#[cfg(unix)]
fn results_are_as_readable_as_the_users_mask_says() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    put(folder.path(), "a.nii.gz", 1);
    let models = root().join("saved_models");
    let binary = env!("CARGO_BIN_EXE_vertebrae");
    let formats = "--format json,mask,preview,markups --quiet";
    let line = format!("umask 077; {binary} predict a.nii.gz -o out {formats} --models {}", models.display());
    let status =
        std::process::Command::new("sh").arg("-c").arg(line).current_dir(folder.path()).status().unwrap();
    assert!(status.success());
    for name in files(&folder.path().join("out")) {
        let mode = std::fs::metadata(folder.path().join("out").join(&name)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
}

#[test]
fn two_scans_of_one_name_get_results_of_their_own() {
    let folder = tempfile::tempdir().unwrap();
    put(folder.path(), "in/s0001/ct.nii.gz", 0);
    put(folder.path(), "in/s0002/ct.nii.gz", 1);
    let ran = predict(folder.path(), "in");
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    for stem in ["s0001/ct", "s0002/ct"] {
        assert!(input(&document(folder.path(), stem)).contains(stem));
    }
    // All of it is done: nothing is analysed again.
    let ran = predict(folder.path(), "in --resume");
    assert!(ran.stderr.contains("0 scans done, 2 done before"), "{}", ran.stderr);
}

#[test]
fn resume_never_takes_another_patients_result_and_no_result_is_overwritten() {
    let folder = tempfile::tempdir().unwrap();
    put(folder.path(), "d1/ct.nii.gz", 0);
    put(folder.path(), "d2/ct.nii.gz", 1);
    assert_eq!(predict(folder.path(), "d1").code, Some(0));
    let first = document(folder.path(), "ct");
    let ran = predict(folder.path(), "d2 --resume");
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    assert!(ran.stderr.contains("holds the result of d1/ct.nii.gz, another scan"), "{}", ran.stderr);
    assert_eq!(document(folder.path(), "ct"), first);
    let second = document(folder.path(), "d2/ct");
    assert!(input(&second).contains("d2") && second["input"]["sha256"] != first["input"]["sha256"]);
    // The same path with another content is analysed again, and its result replaced.
    put(folder.path(), "d1/ct.nii.gz", 2);
    assert_eq!(predict(folder.path(), "d1 --resume").code, Some(0));
    assert_ne!(document(folder.path(), "ct")["input"]["sha256"], first["input"]["sha256"]);
}

#[test]
fn a_scan_that_fails_leaves_no_older_result() {
    let folder = tempfile::tempdir().unwrap();
    let bad = put(folder.path(), "in/a.nii.gz", 0);
    put(folder.path(), "in/b.nii.gz", 1);
    assert_eq!(predict(folder.path(), "in").code, Some(0));
    let bytes = std::fs::read(&bad).unwrap();
    std::fs::write(&bad, &bytes[..bytes.len() / 2]).unwrap();
    let ran = predict(folder.path(), "in");
    assert_eq!(ran.code, Some(1));
    assert_eq!(ran.stderr.matches("the file ends early").count(), 1, "said once: {}", ran.stderr);
    assert!(!folder.path().join("out/a.vertebrae.json").exists());
    let page = std::fs::read_to_string(folder.path().join("out/report.html")).unwrap();
    assert!(page.contains("2 scans, 1 of which could not be used."));
    let ran = run(folder.path(), "report out");
    assert!(ran.stdout.contains("1 scans with results, 1 without"), "{}", ran.stdout);
}

#[test]
fn a_damaged_document_does_not_hide_the_others() {
    let folder = tempfile::tempdir().unwrap();
    put(folder.path(), "a.nii.gz", 0);
    std::fs::create_dir(folder.path().join("out")).unwrap();
    std::fs::write(folder.path().join("out/old.vertebrae.json"), "{\"lps\": null}").unwrap();
    let ran = predict(folder.path(), "a.nii.gz");
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    let page = std::fs::read_to_string(folder.path().join("out/report.html")).unwrap();
    assert!(page.contains("a.nii.gz") && page.contains("old.vertebrae.json"));
}

#[test]
fn lists_with_a_byte_order_mark_and_remarks_are_read_and_an_empty_one_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    put(folder.path(), "a.nii.gz", 0);
    let models = root().join("saved_models");
    let listed = |text: &str| {
        std::fs::write(folder.path().join("list"), text).unwrap();
        let mut command =
            vertebrae(folder.path(), &format!("predict - -o out --quiet --models {}", models.display()));
        let list = std::fs::File::open(folder.path().join("list")).unwrap();
        let output = command.stdin(list).output().unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    assert_eq!(listed("\u{feff}# mine\r\n\r\na.nii.gz\r\n"), (Some(0), String::new()));
    let (code, stderr) = listed("# nothing\n");
    assert!(code == Some(1) && stderr.contains("names no scan"), "{stderr}");
}

#[test]
fn quiet_prints_nothing_but_errors() {
    let folder = tempfile::tempdir().unwrap();
    let scan = put(folder.path(), "a.nii.gz", 0);
    // Neither form: a warning without --quiet.
    spoil(&scan, |bytes| set(bytes, 252, &[0; 4]));
    let loud = predict(folder.path(), "a.nii.gz");
    assert!(loud.stderr.contains("does not say how the patient lies"), "{}", loud.stderr);
    let quiet = predict(folder.path(), "a.nii.gz --quiet");
    assert_eq!((quiet.code, quiet.stdout, quiet.stderr), (Some(0), String::new(), String::new()));
}

#[test]
#[cfg(unix)]
fn links_that_lead_nowhere_and_names_that_are_no_text_do_not_end_the_run() {
    use std::os::unix::ffi::OsStrExt;
    let folder = tempfile::tempdir().unwrap();
    put(folder.path(), "in/a.nii.gz", 0);
    let odd = folder.path().join("in").join(std::ffi::OsStr::from_bytes(b"odd\xff.nii.gz"));
    std::fs::copy(phantom(1), odd).unwrap();
    std::os::unix::fs::symlink("gone", folder.path().join("in/b.nii.gz")).unwrap();
    let ran = predict(folder.path(), "in");
    assert_eq!(ran.code, Some(1));
    assert!(ran.stderr.contains("1 of 3 scans could not be used"), "{}", ran.stderr);
    assert!(ran.stderr.contains("in/b.nii.gz: it is a link to a file that is not there"), "{}", ran.stderr);
    let record: Value =
        serde_json::from_slice(&std::fs::read(folder.path().join("out/vertebrae-run.json")).unwrap())
            .unwrap();
    assert_eq!(record["done"], 2);
}

#[test]
#[cfg(unix)]
fn a_reader_that_has_seen_enough_does_not_end_the_run() {
    let folder = tempfile::tempdir().unwrap();
    for index in 0..3 {
        put(folder.path(), &format!("in/{index}.nii.gz"), 0);
    }
    let models = root().join("saved_models");
    let arguments = format!("predict in -o out --format json --models {}", models.display());
    let mut child =
        vertebrae(folder.path(), &arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut byte = [0];
    child.stdout.as_mut().unwrap().read_exact(&mut byte).unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{stderr}");
    assert!(stderr.contains("3 scans done") && !stderr.contains("panicked"), "{stderr}");
    assert!(folder.path().join("out/vertebrae-run.json").is_file());
}

#[test]
#[cfg(unix)]
fn a_signal_to_end_finishes_the_scan_at_hand_and_leaves_the_record() {
    let folder = tempfile::tempdir().unwrap();
    for index in 0..8 {
        put(folder.path(), &format!("in/{index}.nii.gz"), index % 3);
    }
    let models = root().join("saved_models");
    let arguments = format!("predict in -o out --format json --models {}", models.display());
    let mut child =
        vertebrae(folder.path(), &arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut byte = [0];
    child.stdout.as_mut().unwrap().read_exact(&mut byte).unwrap();
    let kill = std::process::Command::new("kill").args(["-TERM", &child.id().to_string()]).status().unwrap();
    assert!(kill.success());
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130));
    let record: Value =
        serde_json::from_slice(&std::fs::read(folder.path().join("out/vertebrae-run.json")).unwrap())
            .unwrap();
    assert_eq!(record["interrupted"], true);
}

#[test]
fn lengths_in_other_units_are_millimetres_and_what_no_scanner_makes_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("in")).unwrap();
    let lengths = |path: &Path, unit: u8, factor: f32| {
        spoil(path, |bytes| {
            let scaled = |bytes: &mut Vec<u8>, at: usize| {
                let value = f32::from_le_bytes(bytes[at..at + 4].try_into().unwrap()) * factor;
                set(bytes, at, &value.to_le_bytes());
            };
            set(bytes, 123, &[unit]);
            (0..3).for_each(|axis| scaled(bytes, 80 + 4 * axis));
            (0..12).for_each(|part| scaled(bytes, 280 + 4 * part));
            // The qform says the same as the sform; without it there is one place less to scale.
            set(bytes, 252, &[0; 2]);
        });
    };
    let plain = put(folder.path(), "in/plain.nii.gz", 0);
    let [metres, micrometres, lying, absurd] = ["metres", "micro", "lying", "absurd"]
        .map(|name| put(folder.path(), &format!("in/{name}.nii.gz"), 0));
    lengths(&plain, 2, 1.0);
    lengths(&metres, 1, 1e-3);
    lengths(&micrometres, 3, 1e3);
    // Says metres and means millimetres.
    lengths(&lying, 1, 1.0);
    // Metres between voxels.
    lengths(&absurd, 2, 1e3);
    let ran = predict(folder.path(), "in");
    assert_eq!(ran.code, Some(1), "{}", ran.stderr);
    assert!(ran.stderr.contains("1 of 5 scans could not be used"), "{}", ran.stderr);
    assert!(ran.stderr.contains("absurd.nii.gz cannot be used: its voxels are"), "{}", ran.stderr);
    let labels = |stem: &str| {
        let found = document(folder.path(), stem)["vertebrae"].clone();
        found.as_array().unwrap().iter().map(|v| v["label"].to_string()).collect::<Vec<_>>()
    };
    let expected = labels("plain");
    assert!(expected.len() > 3);
    for stem in ["metres", "micro", "lying"] {
        assert_eq!(labels(stem), expected, "{stem}");
    }
    assert!(warnings(&document(folder.path(), "lying")).contains("taken for millimetres"));
}

#[test]
fn a_header_without_a_usable_sform_or_with_contradictions_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let forms = |name: &str, change: &dyn Fn(&mut Vec<u8>)| {
        let path = put(folder.path(), &format!("{name}.nii.gz"), 0);
        spoil(&path, |bytes| {
            // The qform of the phantoms' LPS grid: 180 degrees about z.
            set(bytes, 252, &1i16.to_le_bytes());
            set(bytes, 256, &0f32.to_le_bytes());
            set(bytes, 260, &0f32.to_le_bytes());
            set(bytes, 264, &1f32.to_le_bytes());
            (0..3).for_each(|row| {
                let origin: [u8; 4] = bytes[280 + 16 * row + 12..][..4].try_into().unwrap();
                set(bytes, 268 + 4 * row, &origin);
            });
            change(bytes);
        });
        let ran = predict(folder.path(), &format!("{name}.nii.gz --quiet"));
        (ran.code, ran.stderr)
    };
    assert_eq!(forms("both", &|_| {}), (Some(0), String::new()));
    assert_eq!(document(folder.path(), "both")["warnings"], serde_json::json!([]));
    assert_eq!(forms("zero", &|bytes| set(bytes, 280, &[0; 48])).0, Some(0));
    let zero = document(folder.path(), "zero");
    assert!(warnings(&zero).contains("its qform was taken"), "{}", warnings(&zero));
    assert_eq!(zero["vertebrae"], document(folder.path(), "both")["vertebrae"]);
    // The qform says that the head is where the feet are.
    let upside_down = |bytes: &mut Vec<u8>| {
        set(bytes, 256, &1f32.to_le_bytes());
        set(bytes, 264, &0f32.to_le_bytes());
    };
    assert_eq!(forms("contrary", &upside_down).0, Some(0));
    assert!(warnings(&document(folder.path(), "contrary")).contains("contradict each other"));
    // Two axes along one line.
    let (code, stderr) = forms("flat", &|bytes| {
        let x = bytes[280..284].to_vec();
        set(bytes, 284, &x);
        set(bytes, 300, &0f32.to_le_bytes());
    });
    assert!(code == Some(1) && stderr.contains("span no volume"), "{stderr}");
}

#[test]
fn values_that_are_no_hounsfield_units_and_pictures_without_a_spine_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let volume = nifti::read(&phantom(0)).unwrap();
    let shifted = volume.voxels.mapv(|value| (value + 1024.0) as i16);
    nifti::write(&folder.path().join("shifted.nii.gz"), &shifted, &volume.geometry).unwrap();
    // Two legs: skin, flesh, a tube of bone with marrow.
    let spacing = 3.0;
    let legs = Array3::from_shape_fn((110, 80, 150), |(x, y, z)| {
        let radius =
            [30.0, 80.0].map(|c: f64| (x as f64 - c).hypot(y as f64 - 40.0)).into_iter().fold(99.0, f64::min);
        let noise = ((x * 7 + y * 13 + z * 29) % 31) as i16 - 15;
        noise
            + match radius {
                r if r < 3.0 => 20,
                r if r < 6.0 => 900,
                r if r < 18.0 => 50,
                r if r < 22.0 => -80,
                _ => -1000,
            }
    });
    let affine = [[-spacing, 0.0, 0.0, 0.0], [0.0, -spacing, 0.0, 0.0], [0.0, 0.0, spacing, 0.0]];
    let geometry = Geometry { shape: [110, 80, 150], spacing: [spacing; 3], affine };
    nifti::write(&folder.path().join("legs.nii.gz"), &legs, &geometry).unwrap();
    let ran = predict(folder.path(), "shifted.nii.gz legs.nii.gz");
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    let document = |stem| document(folder.path(), stem);
    assert_eq!(document("shifted")["intensities"]["problem"], "shifted");
    assert!(warnings(&document("shifted")).contains("too high"));
    let legs = document("legs");
    assert_eq!(legs["vertebrae"], serde_json::json!([]));
    let said = warnings(&legs);
    assert!(said.contains("hardly a spine") || said.contains("no vertebra was found"), "{said}");
}

#[test]
fn a_picture_whose_header_exchanges_head_and_feet_is_warned_of() {
    let folder = tempfile::tempdir().unwrap();
    // The phantom of most bodies.
    let bodies = |number: &usize| {
        std::fs::read_to_string(phantom(*number).to_string_lossy().replace(".nii.gz", ".lml"))
            .unwrap()
            .lines()
            .count()
    };
    let number = (0..3).max_by_key(bodies).unwrap();
    let volume = nifti::read(&phantom(number)).unwrap();
    let mut voxels = volume.voxels.mapv(|value| value as i16);
    voxels.invert_axis(ndarray::Axis(2));
    nifti::write(&folder.path().join("lies.nii.gz"), &voxels, &volume.geometry).unwrap();
    put(folder.path(), "true.nii.gz", number);
    assert_eq!(predict(folder.path(), "lies.nii.gz true.nii.gz").code, Some(0));
    let lies = document(folder.path(), "lies");
    assert!(
        !lies["turned"].is_null() || lies["vertebrae"].as_array().unwrap().is_empty(),
        "{}",
        warnings(&lies)
    );
    assert!(document(folder.path(), "true")["turned"].is_null());
    for vertebra in lies["vertebrae"].as_array().unwrap() {
        assert!(vertebra["confidence"].as_f64().unwrap() < 0.5, "{vertebra}");
    }
}
