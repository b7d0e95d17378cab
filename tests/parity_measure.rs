//! `measure` on a real CT with the original's models against what the original printed and computed
//! (skipped without the data).

mod golden;
mod scratch;

use ndarray::Array3;
use vertebrae::inference::detect::detect;
use vertebrae::inference::identify::{Slices, identify};
use vertebrae::inference::tiling::{Plan, Tiling};
use vertebrae::kernels::isa::Isa;
use vertebrae::network::{CpuPredictor, Kind, Weights};
use vertebrae::scan::Scan;

#[test]
fn mask_and_levels_equal_the_originals() {
    let Some(scan) = golden::file("cases/pancreas.nii.gz") else { return };
    let volume = Scan::read(&scan).unwrap().normalised(1.0).0;
    let model = |kind: Kind| {
        let path = golden::file(&format!("parity/{kind}.h5")).unwrap();
        CpuPredictor::on(Isa::detect(), &Weights::read(&path, kind).unwrap())
    };
    let plan = Plan::exact(Tiling::ORIGINAL, volume.dim().into());
    let mask = detect(&volume, &model(Kind::Detection), &plan, &mut ()).unwrap();
    let mut npz = golden::npz("parity/measure.npz");
    let expected: Array3<u8> = npz.by_name("detections").unwrap();
    let differing = mask.iter().zip(&expected).filter(|(a, b)| a != b).count();
    println!("{differing} of {} mask voxels differ", mask.len());
    // Probabilities close to a half fall to either side in float32.
    assert!(differing as f64 <= 0.0005 * mask.len() as f64, "{differing} mask voxels differ");

    let levels = identify(&volume, &mask, &model(Kind::Identification), Slices::Whole, &mut ()).unwrap();
    let expected_levels: Array3<u8> = npz.by_name("identifications").unwrap();
    let (mut inside, mut wrong) = (0, 0);
    for index in 0..mask.len() {
        let at = |array: &Array3<u8>| array.as_slice().unwrap()[index];
        if at(&mask) == 1 && at(&expected) == 1 {
            inside += 1;
            wrong += usize::from(at(&levels) != at(&expected_levels));
        }
    }
    println!("{wrong} of {inside} levels inside both masks differ");
    // Values close to a half round to either side.
    assert!(wrong * 1000 <= inside, "{wrong} of {inside} levels differ");
}

#[test]
fn the_printed_text_equals_the_originals() {
    let Some(scan) = golden::file("cases/pancreas.nii.gz") else { return };
    let folder = tempfile::tempdir().unwrap();
    for part in ["testing_dataset", "saved_models"] {
        std::fs::create_dir(folder.path().join(part)).unwrap();
    }
    let copy = |from: &str, to: &str| {
        std::fs::copy(golden::file(from).unwrap(), folder.path().join(to)).unwrap();
    };
    std::fs::copy(scan, folder.path().join("testing_dataset/pancreas.nii.gz")).unwrap();
    copy("cases/pancreas.lml", "testing_dataset/pancreas.lml");
    copy("parity/detection.h5", "saved_models/detection.h5");
    copy("parity/identification.h5", "saved_models/identification.h5");
    let ran = scratch::run(
        folder.path(),
        "measure testing_dataset saved_models/detection.h5 saved_models/identification.h5",
    );
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    let lines = |text: &str| -> Vec<String> {
        text.lines().filter(|line| !line.is_empty()).map(str::to_owned).collect()
    };
    let (ours, golden) = (lines(&ran.stdout), lines(&golden::text("parity/measure.txt")));
    for (index, expected) in golden.iter().enumerate() {
        compare(&ours[index], expected.trim_end_matches('\r'));
    }
    // The original ends with a division by zero here: the scan has no cervical vertebra.
    let rates = &ours[golden.len()..];
    assert_eq!(rates.len(), 4, "{rates:?}");
    assert!(rates[0].starts_with("All Id rate: 46.2%  mean: 16.0"), "{}", rates[0]);
    assert_eq!(rates[1], "Cervical Id rate: nan%  mean:nan  std:nan");
    assert!(rates[2].starts_with("Thoracic Id rate: 14.3%  mean:2"), "{}", rates[2]);
    assert!(rates[3].starts_with("Lumbar Id rate: 80.0%  mean:1"), "{}", rates[3]);
}

/// Equal but for voxel counts (0.5 %), found coordinates (1 mm) and the average (0.05 mm): float32
/// sums in another order move single voxels across a threshold.
fn compare(ours: &str, expected: &str) {
    let numbers = |text: &str| -> Vec<f64> {
        text.split(|letter: char| !(letter.is_ascii_digit() || letter == '.' || letter == '-'))
            .filter_map(|part| part.parse().ok())
            .collect()
    };
    let words = |text: &str| text.split_whitespace().next().unwrap_or_default().to_owned();
    assert_eq!(words(ours), words(expected));
    let count: Option<u32> = expected.split(' ').nth(1).and_then(|count| count.parse().ok());
    let tolerance = if expected.starts_with("average") {
        0.05
    } else if let Some(count) = count {
        0.005 * f64::from(count)
    } else if expected.contains("] [") && !expected.starts_with('[') {
        let annotated = |text: &str| text.split("] [").next().unwrap_or_default().to_owned();
        assert_eq!(annotated(ours), annotated(expected));
        1.0
    } else {
        assert_eq!(ours, expected);
        return;
    };
    for (a, b) in numbers(ours).into_iter().zip(numbers(expected)) {
        assert!((a - b).abs() <= tolerance, "'{ours}' instead of '{expected}'");
    }
}
