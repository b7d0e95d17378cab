//! Whatever is wrong with a scan, its annotation or a model: a sentence that names it, exit code 1,
//! and the good scans of the batch are done all the same.

mod scratch;

use scratch::{files, models, run, scan, set, spoil};

const SHAPE: [usize; 3] = [32, 40, 48];
const LEVELS: [&str; 3] = ["L1", "L2", "L3"];

/// A data set with one good scan and one that `change` makes bad.
fn dataset(change: impl FnOnce(&std::path::Path)) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let scans = folder.path().join("scans");
    std::fs::create_dir(&scans).unwrap();
    scan(&scans, "good", SHAPE, &LEVELS);
    scan(&scans, "bad", SHAPE, &LEVELS);
    change(&scans.join("bad.nii.gz"));
    folder
}

/// Runs `gen-detection` and `measure` on such a data set: both name the bad scan the same way, go
/// on and exit with 1.
fn check(sentence: &str, change: impl Fn(&std::path::Path)) {
    let folder = dataset(&change);
    let ran = run(folder.path(), "gen-detection scans samples --samples 2 --sample-size 16x16x16");
    assert_eq!(ran.code, Some(1), "{}", ran.stderr);
    assert!(ran.stderr.contains("1 of 2 scans could not be used"), "{}", ran.stderr);
    assert!(ran.stderr.contains("bad"), "{}", ran.stderr);
    assert!(ran.stderr.contains(sentence), "'{sentence}' is not in {}", ran.stderr);
    assert_eq!(
        files(&folder.path().join("samples")).len(),
        5,
        "two samples of the good scan, and their record"
    );
    models(folder.path(), [1.0, 0.0], 1.0);
    let ran =
        run(folder.path(), "measure scans detection.safetensors identification.safetensors --json all.json");
    // One annotated vertebra is enough to measure.
    if sentence.contains("at least two") {
        assert_eq!(ran.code, Some(0), "{}", ran.stderr);
        return;
    }
    assert_eq!(ran.code, Some(1), "{}", ran.stderr);
    assert!(ran.stderr.contains(sentence), "'{sentence}' is not in {}", ran.stderr);
    assert!(ran.stdout.contains("1 scans/good.nii.gz") && ran.stdout.contains("All Id rate: 0.0%"));
    let json: serde_json::Value =
        serde_json::from_slice(&std::fs::read(folder.path().join("all.json")).unwrap()).unwrap();
    assert!(json["scans"][0]["error"].as_str().unwrap().contains(sentence));
}

fn annotate(text: &'static str) -> impl Fn(&std::path::Path) {
    move |scan| std::fs::write(scan.with_file_name("bad.lml"), text).unwrap()
}

#[test]
fn a_missing_annotation() {
    check("bad.lml is missing", |scan| std::fs::remove_file(scan.with_file_name("bad.lml")).unwrap());
}

#[test]
fn an_empty_annotation() {
    check("no vertebra is annotated", annotate(""));
}

#[test]
fn a_single_centroid() {
    check("annotate at least two", annotate("header\n1 L1_center 16 20 24\n"));
}

#[test]
fn a_malformed_line() {
    check("line 3: 3 of 5 fields are there", annotate("header\n1 L1_center 16 20 24\n2 L2_center 16\n"));
}

#[test]
fn a_coordinate_that_is_no_number() {
    check("line 2: the z coordinate 'x' is no number", annotate("header\n1 L1_center 16 20 x\n"));
}

#[test]
fn a_label_that_is_not_in_the_table() {
    check("line 2: 'L9' is no vertebral level", annotate("header\n1 L9_center 16 20 24\n"));
}

#[test]
fn a_duplicate_label() {
    check("line 3: L1 is annotated twice", annotate("header\n1 L1_center 16 20 24\n2 L1_center 16 20 40\n"));
}

#[test]
fn a_centroid_outside_the_volume() {
    check(
        "L2 at (16, 20, 400) lies outside the scan",
        annotate("header\n1 L1_center 16 20 24\n2 L2_center 16 20 400\n"),
    );
}

#[test]
fn a_truncated_gzip() {
    check("the file ends early", |scan| {
        let bytes = std::fs::read(scan).unwrap();
        std::fs::write(scan, &bytes[..bytes.len() / 2]).unwrap();
    });
}

#[test]
fn a_damaged_gzip() {
    check("the gzip stream is damaged", |scan| {
        let mut bytes = std::fs::read(scan).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle..].iter_mut().for_each(|byte| *byte ^= 0x5a);
        std::fs::write(scan, bytes).unwrap();
    });
}

#[test]
fn an_empty_file() {
    check("the file is empty", |scan| std::fs::write(scan, b"").unwrap());
}

#[test]
fn four_dimensions() {
    check("holds 3 volumes", |scan| {
        spoil(scan, |bytes| {
            set(bytes, 40, &4u16.to_le_bytes());
            set(bytes, 48, &3u16.to_le_bytes());
        });
    });
}

#[test]
fn two_dimensions() {
    check("holds one 32 x 40 picture", |scan| spoil(scan, |bytes| set(bytes, 40, &2u16.to_le_bytes())));
}

#[test]
fn colours() {
    check("colours (RGB)", |scan| spoil(scan, |bytes| set(bytes, 70, &128i16.to_le_bytes())));
}

/// A scan whose sform says nothing, so that its spacing is all there is.
fn without_sform(scan: &std::path::Path, axis: usize, spacing: f32) {
    spoil(scan, |bytes| {
        set(bytes, 254, &0i16.to_le_bytes());
        set(bytes, 76 + 4 * axis, &spacing.to_le_bytes());
    });
}

#[test]
fn no_spacing() {
    check("voxel spacing (pixdim)", |scan| without_sform(scan, 1, 0.0));
}

#[test]
fn a_spacing_that_is_no_number() {
    check("voxel spacing (pixdim)", |scan| without_sform(scan, 2, f32::NAN));
}

#[test]
fn a_spacing_that_is_no_number_beside_an_sform_is_a_warning() {
    let folder = dataset(|scan| spoil(scan, |bytes| set(bytes, 84, &f32::NAN.to_le_bytes())));
    let ran = run(folder.path(), "gen-detection scans samples --samples 2 --sample-size 16x16x16");
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    assert!(ran.stderr.contains("its sform places voxels [1.0, 1.0, 1.0] mm apart"), "{}", ran.stderr);
    assert_eq!(files(&folder.path().join("samples")).len(), 9, "two samples of each scan, and their record");
}

#[test]
fn an_orientation_without_direction() {
    check("axis without a direction", |scan| {
        spoil(scan, |bytes| {
            // No sform worth the name, and no qform.
            set(bytes, 252, &[0; 2]);
            set(bytes, 280, &[0; 48]);
        });
    });
}

#[test]
fn nothing_but_nan() {
    check("every voxel is NaN or infinite", |scan| {
        spoil(scan, |bytes| {
            set(bytes, 70, &16i16.to_le_bytes());
            set(bytes, 72, &32i16.to_le_bytes());
            bytes.truncate(352);
            let count: usize = SHAPE.iter().product();
            bytes.extend(f32::NAN.to_le_bytes().repeat(count));
        });
    });
}

#[test]
fn a_scan_too_narrow_for_a_slab() {
    let folder = tempfile::tempdir().unwrap();
    scan(folder.path(), "narrow", [7, 40, 48], &LEVELS);
    let ran = run(folder.path(), "gen-identification . samples --samples 2");
    assert_eq!(ran.code, Some(1));
    assert!(ran.stderr.contains("narrow.nii.gz: the scan is 7 voxels wide"), "{}", ran.stderr);
    // Detection fills a small scan up; measure finds no slice to look at.
    assert_eq!(run(folder.path(), "gen-detection . samples").code, Some(0));
    models(folder.path(), [0.0, 1.0], 20.0);
    let ran = run(folder.path(), "measure . detection.safetensors identification.safetensors");
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    assert!(ran.stdout.contains("average nan"));
}

#[test]
fn some_voxels_that_are_not_finite_and_a_constant_scan_are_no_errors() {
    let folder = tempfile::tempdir().unwrap();
    let path = scan(folder.path(), "nan", SHAPE, &LEVELS);
    spoil(&path, |bytes| {
        set(bytes, 70, &16i16.to_le_bytes());
        set(bytes, 72, &32i16.to_le_bytes());
        bytes.truncate(352);
        let count: usize = SHAPE.iter().product();
        bytes
            .extend((0..count).flat_map(|i| if i % 9 == 0 { f32::INFINITY } else { i as f32 }.to_le_bytes()));
    });
    let path = scan(folder.path(), "constant", SHAPE, &LEVELS);
    spoil(&path, |bytes| bytes[352..].fill(0));
    let ran = run(folder.path(), "gen-detection . samples --samples 1 --sample-size 16x16x16");
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    assert!(ran.stderr.contains("nan.nii.gz: 6827 voxels are NaN or infinite and were taken as air"));
    for name in ["nan", "constant"] {
        let sample: ndarray::Array3<f32> =
            vertebrae::sampling::npy::read(&folder.path().join(format!("samples/{name}-1-sample.npy")))
                .unwrap();
        assert!(sample.iter().all(|value| value.is_finite()), "{name}");
    }
}

#[test]
fn nothing_detected_and_nothing_kept() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("scans")).unwrap();
    scan(&folder.path().join("scans"), "a", SHAPE, &LEVELS);
    // First no voxel is a vertebra, then all are but none has a label, then all carry L2.
    for (logits, value, expected) in [
        ([1.0, 0.0], 20.0, "finish averages\n\nL1 \n\nL2 \n\nL3 \n\naverage nan"),
        ([0.0, 1.0], 0.0, "finish averages\n\nL1 \n\nL2 \n\nL3 \n\naverage nan"),
        (
            [0.0, 1.0],
            21.0,
            "L2 46080\n\nfinish averages\n\nL1 L2\n\nL2 L2\n\nL3 L2\n\nL2 [16. 20. 24.] [15.5, 19.5, 23.5]",
        ),
    ] {
        models(folder.path(), logits, value);
        let ran = run(folder.path(), "measure scans detection.safetensors identification.safetensors");
        assert_eq!(ran.code, Some(0), "{}", ran.stderr);
        assert!(ran.stdout.contains(expected), "{}", ran.stdout);
        assert!(ran.stdout.contains("Cervical Id rate: nan%  mean:nan  std:nan"), "{}", ran.stdout);
        assert!(
            folder.path().join("plots/a.png").exists() && folder.path().join("plots/boxplot.png").exists()
        );
    }
}

#[test]
fn missing_or_wrong_folders_and_models() {
    let folder = tempfile::tempdir().unwrap();
    let sentences = [
        ("gen-detection nowhere samples", "nowhere is no folder"),
        ("gen-identification . samples", "holds no scan (.nii.gz"),
        ("measure . detection.safetensors b.h5", "the detection model detection.safetensors is missing"),
        ("train-detection . . model.h5", "holds no sample"),
        ("train-detection . . model.txt", "model.txt is no model's name; end it in .safetensors or .h5"),
        ("train-identification nowhere . model.h5", "nowhere cannot be listed"),
    ];
    for (arguments, sentence) in sentences {
        let ran = run(folder.path(), arguments);
        assert_eq!(ran.code, Some(1), "{arguments}");
        assert!(ran.stderr.contains(sentence), "'{sentence}' is not in {}", ran.stderr);
        assert!(ran.stdout.is_empty(), "{}", ran.stdout);
    }
    models(folder.path(), [0.0, 1.0], 1.0);
    let ran = run(folder.path(), "measure . identification.safetensors identification.safetensors");
    assert!(ran.stderr.contains("is a model for identification; a model for detection is needed"));
    std::fs::write(folder.path().join("noise.h5"), b"\x89HDF no").unwrap();
    let ran = run(folder.path(), "measure . noise.h5 identification.safetensors");
    assert!(ran.stderr.contains("noise.h5 is no usable Keras model"), "{}", ran.stderr);
}

#[test]
fn a_wrong_command_line_is_exit_code_2() {
    let folder = tempfile::tempdir().unwrap();
    for arguments in [
        "",
        "measure",
        "gen-detection a b --samples 0",
        "gen-detection a b --spacing -1",
        "gen-detection a b --sample-size 64x64",
        "train-detection a b c --loss l2",
        "measure a b c --device gpu",
    ] {
        assert_eq!(run(folder.path(), arguments).code, Some(2), "{arguments}");
    }
}

#[cfg(not(feature = "cuda"))]
#[test]
fn cuda_without_the_feature_is_one_sentence() {
    let folder = tempfile::tempdir().unwrap();
    models(folder.path(), [0.0, 1.0], 1.0);
    scan(folder.path(), "a", SHAPE, &LEVELS);
    let ran =
        run(folder.path(), "measure . detection.safetensors identification.safetensors --device cuda:1");
    assert_eq!(ran.code, Some(1));
    assert_eq!(ran.stderr.trim_end().lines().count(), 1, "{}", ran.stderr);
    assert!(ran.stderr.contains("built without CUDA"), "{}", ran.stderr);
}

#[test]
fn two_scans_of_one_name_are_refused_before_anything_is_written() {
    let folder = tempfile::tempdir().unwrap();
    for part in ["a", "b"] {
        std::fs::create_dir(folder.path().join(part)).unwrap();
        scan(&folder.path().join(part), "same", SHAPE, &LEVELS);
    }
    let ran = run(folder.path(), "gen-detection . samples");
    assert_eq!(ran.code, Some(1));
    assert!(ran.stderr.contains("have the same name"), "{}", ran.stderr);
    assert!(!folder.path().join("samples").exists());
}
