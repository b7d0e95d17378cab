//! The whole pipeline through the built binary: phantoms → samples → models → measure.

mod scratch;

use scratch::{files, run};
use vertebrae::anatomy::Level;
use vertebrae::network::{Architecture, Kind, Weights};

/// The mean distance that `measure` prints for each scan; none for a scan in which nothing was paired.
fn averages(text: &str) -> Vec<Option<f64>> {
    let numbers = text.lines().filter_map(|line| line.strip_prefix("average "));
    numbers.map(|number| number.parse::<f64>().ok().filter(|mean| mean.is_finite())).collect()
}

/// The same out of its JSON: the means of the distances of what was paired.
fn averages_of(json: &serde_json::Value) -> Vec<Option<f64>> {
    let mean = |scan: &serde_json::Value| {
        let offsets = scan["offsets"].as_array().unwrap();
        let distance = |offset: &serde_json::Value| {
            let point = |key: &str| -> Vec<f64> {
                offset[key].as_array().unwrap().iter().map(|part| part.as_f64().unwrap()).collect()
            };
            let squares = point("annotated").into_iter().zip(point("found")).map(|(a, b)| (a - b).powi(2));
            squares.sum::<f64>().sqrt()
        };
        let sum: f64 = offsets.iter().map(distance).sum();
        let mean = (!offsets.is_empty()).then(|| sum / offsets.len() as f64)?;
        let printed = scan["average"].as_f64()?;
        assert!((mean - printed).abs() < 1e-9, "{mean} {printed}");
        Some(printed)
    };
    json["scans"].as_array().unwrap().iter().map(mean).collect()
}

#[test]
fn phantoms_are_made_sampled_learned_from_and_measured() {
    let folder = tempfile::tempdir().unwrap();
    let go = |arguments: &str| {
        let ran = run(folder.path(), arguments);
        assert_eq!(ran.code, Some(0), "{arguments}: {}", ran.stderr);
        ran.stdout
    };
    assert_eq!(go("gen-phantom scans --scans 2 --seed 5").lines().count(), 3);
    let scans = files(&folder.path().join("scans"));
    assert_eq!(
        scans,
        ["phantom-5-000.lml", "phantom-5-000.nii.gz", "phantom-5-001.lml", "phantom-5-001.nii.gz"]
    );

    let text = go("gen-detection scans boxes --spacing 3 --sample-size 16x16x32 --samples 2");
    assert_eq!(text, "Generating 4 detection samples of size 16 x 16 x 32 for 2 scans\n1 / 2\n2 / 2\n");
    let text =
        go("gen-identification scans slabs --spacing 3 --sample-size 8x32x96 --samples 3 --deformation 2");
    assert_eq!(text, "Generating 6 identification samples of size 8 x 32 x 96 for 2 scans\n1 / 2\n2 / 2\n");
    assert_eq!(
        (files(&folder.path().join("boxes")).len(), files(&folder.path().join("slabs")).len()),
        // A record of the spacing is beside the samples.
        (9, 13)
    );

    let text =
        go("train-detection boxes boxes models/d.h5 --filters 2 --epochs 2 --batch-size 2 --loss combined");
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 4);
    assert!(
        lines[2].starts_with("epoch 2 loss ")
            && lines[2].contains(" dice ")
            && lines[2].contains("| validation loss ")
    );
    go("train-identification slabs slabs models/i.safetensors --filters 2 --epochs 1 --batch-size 3");

    let text = go(
        "measure scans models/d.h5 models/i.safetensors --spacing 3 --sample-size 32x32x32 --json out.json",
    );
    let lines: Vec<&str> = text.lines().step_by(2).collect();
    assert!(text.lines().skip(1).step_by(2).all(str::is_empty), "every other line is empty");
    assert_eq!(
        lines[..3],
        [
            "detection model:  models/d.h5",
            "identification model:  models/i.safetensors",
            "0 scans/phantom-5-000.nii.gz"
        ]
    );
    assert!(lines[lines.len() - 4].starts_with("All Id rate: "));
    let json: serde_json::Value =
        serde_json::from_slice(&std::fs::read(folder.path().join("out.json")).unwrap()).unwrap();
    assert_eq!(averages(&text), averages_of(&json));
    assert!(json["summary"]["all"]["annotated"].as_u64().unwrap() > 4);
    // Networks know what they were taught with.
    let models = "measure scans models/d.h5 models/i.safetensors --sample-size 32x32x32";
    assert_eq!(averages(&go(models)), averages(&text));
    let ran = run(folder.path(), &format!("{models} --spacing 2"));
    assert_eq!(ran.code, Some(1));
    assert!(ran.stderr.contains("models/i.safetensors was taught with voxels of 3 mm"), "{}", ran.stderr);
    let ran = run(folder.path(), "gen-detection scans boxes --spacing 2 --sample-size 16x16x32");
    assert!(ran.code == Some(1) && ran.stderr.contains("voxels of 3 mm"), "{}", ran.stderr);
    // The fast way goes through the same report, on less memory than its tiles would like.
    let wide =
        go("measure scans models/d.h5 models/i.safetensors --spacing 3 --tiling wide --max-memory 300MB");
    assert_eq!(averages(&wide).len(), 2);
    assert_eq!(
        files(&folder.path().join("plots")),
        ["boxplot.png", "phantom-5-000.png", "phantom-5-001.png"]
    );
    let ran =
        run(folder.path(), "measure scans models/d.h5 models/i.safetensors --tiling wide --max-memory much");
    assert!(ran.code == Some(2) && ran.stderr.contains("a size such as 2GiB or 500MB"), "{}", ran.stderr);
    let logs = files(&folder.path().join("logs"));
    assert!(logs.len() == 4 && logs.iter().all(|name| name.starts_with("events.out.tfevents.")), "{logs:?}");
}

#[test]
fn whole_volumes_are_learned_from_scans_and_decoded_as_a_sequence() {
    let folder = tempfile::tempdir().unwrap();
    let go = |arguments: &str| {
        let ran = run(folder.path(), arguments);
        assert_eq!(ran.code, Some(0), "{arguments}: {}", ran.stderr);
        ran.stdout
    };
    go("gen-phantom scans --scans 2 --seed 3 --cohort hospital --voxel 5");
    let small = "--arch volume --filters 2 --voxel 8 --patch 16x32x32 --batch-size 1 --patches 6";
    let text = go(&format!("train-detection scans scans d.safetensors {small} --epochs 3 --frozen 1"));
    assert!(text.lines().last().unwrap().contains("saved d.safetensors"), "{text}");
    assert!(text.contains("epoch 3 loss ") && text.contains(" dice ") && text.contains(" offset "), "{text}");
    go(&format!(
        "train-identification scans scans i.safetensors {small} --epochs 1 --half --start d.safetensors"
    ));
    let size = |name: &str| std::fs::metadata(folder.path().join(name)).unwrap().len();
    assert!(size("i.safetensors") < size("d.safetensors"));
    let measure = "measure scans d.safetensors i.safetensors --spacing 4 --json out.json";
    for decode in ["sequence", "median"] {
        let text = go(&format!("{measure} --decode {decode}"));
        let json: serde_json::Value =
            serde_json::from_slice(&std::fs::read(folder.path().join("out.json")).unwrap()).unwrap();
        assert_eq!(averages(&text), averages_of(&json));
    }
    let table = go("accuracy out.json out.json");
    assert!(table.contains("of 4 scans entirely right") && table.contains("| phantom-3-001 |"), "{table}");

    // Networks of the original's kind name bodies of a sequence too.
    for kind in [Kind::Detection, Kind::Identification] {
        let mut weights = Weights::initial(Architecture { kind, filters: 2 }, 4);
        let output = weights.layers.last_mut().unwrap();
        // Everything is a vertebra, and everything is L2 or so.
        output.bias.fill(if kind == Kind::Detection { 0.0 } else { 21.0 });
        *output.bias.last_mut().unwrap() += if kind == Kind::Detection { 50.0 } else { 0.0 };
        weights.write(&folder.path().join(format!("{kind}.safetensors"))).unwrap();
    }
    go(
        "measure scans detection.safetensors identification.safetensors --spacing 4 --sample-size 32x32x32 --decode sequence --json out.json",
    );
    let json: serde_json::Value =
        serde_json::from_slice(&std::fs::read(folder.path().join("out.json")).unwrap()).unwrap();
    let mut named = 0;
    for scan in json["scans"].as_array().unwrap() {
        let labels: Vec<Level> = scan["vertebrae"]
            .as_array()
            .unwrap()
            .iter()
            .map(|vertebra| vertebra["label"].as_str().unwrap().parse().unwrap())
            .collect();
        named += labels.len();
        assert!(labels.windows(2).all(|pair| pair[0] < pair[1]), "{labels:?}");
        assert!(
            scan["vertebrae"].as_array().unwrap().iter().all(|vertebra| vertebra["confidence"].is_number())
        );
    }
    assert!(named >= 2);
    let ran = run(folder.path(), &format!("train-detection scans scans d.h5 {small} --epochs 1"));
    assert!(ran.code == Some(1) && ran.stderr.contains("end its name in .safetensors"), "{}", ran.stderr);
}

#[test]
fn a_scan_gives_the_same_samples_alone_and_among_others() {
    let folder = tempfile::tempdir().unwrap();
    let (many, alone) = (folder.path().join("many"), folder.path().join("alone"));
    for dataset in [&many, &alone] {
        std::fs::create_dir(dataset).unwrap();
    }
    for name in ["a", "b", "c"] {
        scratch::scan(&many, name, [40, 40, 60], &["L1", "L2", "L3"]);
    }
    scratch::scan(&alone, "b", [40, 40, 60], &["L1", "L2", "L3"]);
    for (command, size) in [("gen-detection", "16x16x16"), ("gen-identification", "8x16x16")] {
        for dataset in ["many", "alone"] {
            let arguments = format!("{command} {dataset} {dataset}-samples --samples 3 --sample-size {size}");
            let ran = run(folder.path(), &arguments);
            assert_eq!(ran.code, Some(0), "{}", ran.stderr);
        }
        for number in 1..=3 {
            for part in ["sample", "labelling"] {
                let name = format!("b-{number}-{part}.npy");
                let read = |dataset: &str| {
                    std::fs::read(folder.path().join(format!("{dataset}-samples")).join(&name)).unwrap()
                };
                assert!(read("many") == read("alone"), "{command} {name}");
            }
        }
    }
}

#[test]
fn an_interrupted_training_ends_as_if_never_stopped() {
    let folder = tempfile::tempdir().unwrap();
    scratch::scan(folder.path(), "a", [40, 40, 60], &["L1", "L2", "L3"]);
    let go = |arguments: &str| {
        let ran = run(folder.path(), arguments);
        assert_eq!(ran.code, Some(0), "{arguments}: {}", ran.stderr);
    };
    go("gen-identification . slabs --samples 6 --sample-size 8x16x48");
    let train = "train-identification slabs slabs --filters 2 --batch-size 2 --checkpoint-every 2";
    go(&format!("{train} whole.safetensors --epochs 4"));
    go(&format!("{train} half.safetensors --epochs 2 --checkpoints first"));
    let checkpoint = "first/identification_model/identification_model.02";
    go(&format!("{train} resumed.safetensors --epochs 4 --checkpoints second --resume {checkpoint}"));
    let read = |name: &str| std::fs::read(folder.path().join(name)).unwrap();
    assert!(read("whole.safetensors") == read("resumed.safetensors"));
    assert!(read("whole.safetensors") != read("half.safetensors"));
    let ran = run(folder.path(), &format!("{train} x.safetensors --seed 9 --resume {checkpoint}"));
    assert!(ran.code == Some(1) && ran.stderr.contains("pass the same options"), "{}", ran.stderr);
}

#[test]
fn an_interrupted_training_of_whole_volumes_ends_as_if_never_stopped() {
    let folder = tempfile::tempdir().unwrap();
    let go = |arguments: &str| {
        let ran = run(folder.path(), arguments);
        assert_eq!(ran.code, Some(0), "{arguments}: {}", ran.stderr);
    };
    go("gen-phantom scans --scans 2 --seed 3 --cohort hospital --voxel 5");
    let train = "train-detection scans scans";
    let small = "--arch volume --filters 2 --voxel 8 --patch 16x32x32 --batch-size 1 --patches 4 --epochs 3 \
                 --checkpoint-every 1";
    go(&format!("{train} whole.safetensors {small} --checkpoints first"));
    let checkpoint = "first/volume_model/volume_model.01";
    go(&format!("{train} resumed.safetensors {small} --checkpoints second --resume {checkpoint}"));
    go(&format!("{train} other.safetensors {small} --checkpoints third --seed 9"));
    let read = |name: &str| std::fs::read(folder.path().join(name)).unwrap();
    assert!(read("whole.safetensors") == read("resumed.safetensors"));
    assert!(read("whole.safetensors") != read("other.safetensors"));
}

#[test]
fn a_training_in_bfloat16_is_its_own_recipe_and_refused_where_it_cannot_be_had() {
    let folder = tempfile::tempdir().unwrap();
    let train = |arguments: &str, simd: &str| {
        let small = "--arch volume --filters 2 --voxel 8 --patch 16x32x32 --batch-size 1 --patches 4 --epochs 2 --checkpoint-every 1";
        let arguments = format!("train-detection scans scans {arguments} {small}");
        let ran = scratch::vertebrae(folder.path(), &arguments).env("VERTEBRAE_SIMD", simd).output().unwrap();
        (ran.status.code(), String::from_utf8_lossy(&ran.stderr).into_owned())
    };
    assert_eq!(
        run(folder.path(), "gen-phantom scans --scans 2 --seed 3 --cohort hospital --voxel 5").code,
        Some(0)
    );
    let (code, sentence) = train("no.safetensors --precision bf16", "portable");
    assert!(code == Some(1) && sentence.contains("multiply no bfloat16"), "{sentence}");
    if vertebrae::kernels::isa::Isa::bf16().is_none() {
        println!("SKIPPED: this processor multiplies no bfloat16");
        return;
    }
    assert_eq!(train("half.safetensors --precision bf16 --checkpoints half", "").0, Some(0));
    assert_eq!(train("whole.safetensors --checkpoints whole", "").0, Some(0));
    let read = |name: &str| std::fs::read(folder.path().join(name)).unwrap();
    assert!(read("half.safetensors") != read("whole.safetensors"));
    let (code, sentence) = train("other.safetensors --resume half/volume_model/volume_model.01", "");
    assert!(code == Some(1) && sentence.contains("--precision bf16"), "{sentence}");
    let again =
        "again.safetensors --precision bf16 --checkpoints again --resume half/volume_model/volume_model.01";
    assert_eq!(train(again, "").0, Some(0));
    assert!(read("again.safetensors") == read("half.safetensors"));
}

#[test]
fn a_turned_scan_gives_the_samples_of_the_upright_one() {
    let folder = tempfile::tempdir().unwrap();
    let shape = [30, 40, 48];
    for (name, turned) in [("upright", false), ("turned", true)] {
        let dataset = folder.path().join(name);
        std::fs::create_dir(&dataset).unwrap();
        let mut voxels = scratch::voxels(shape);
        let mut geometry = scratch::geometry(shape);
        let mut annotation = "header\n1 L1_center 10 12 30\n2 L2_center 11 14 10\n";
        if turned {
            // RAS instead of LPS: the first two axes run the other way.
            voxels.invert_axis(ndarray::Axis(0));
            voxels.invert_axis(ndarray::Axis(1));
            geometry.affine[0] = [1.0, 0.0, 0.0, -29.0];
            geometry.affine[1] = [0.0, 1.0, 0.0, -39.0];
            annotation = "header\n1 L1_center 19 27 30\n2 L2_center 18 25 10\n";
        }
        let voxels = voxels.as_standard_layout().into_owned();
        vertebrae::scan::nifti::write(&dataset.join("scan.nii.gz"), &voxels, &geometry).unwrap();
        std::fs::write(dataset.join("scan.lml"), annotation).unwrap();
        let arguments = format!("gen-detection {name} {name}-samples --samples 3 --sample-size 16x16x16");
        assert_eq!(run(folder.path(), &arguments).code, Some(0));
    }
    let read = |name: &str, file: &str| {
        std::fs::read(folder.path().join(format!("{name}-samples")).join(file)).unwrap()
    };
    for file in ["scan-1-sample.npy", "scan-3-sample.npy", "scan-2-labelling.npy"] {
        assert!(read("upright", file) == read("turned", file), "{file}");
    }
    let arguments = "gen-detection turned stored --samples 3 --sample-size 16x16x16 --no-reorient";
    assert_eq!(run(folder.path(), arguments).code, Some(0));
    let stored = std::fs::read(folder.path().join("stored/scan-1-sample.npy")).unwrap();
    assert!(stored != read("upright", "scan-1-sample.npy"), "--no-reorient changes nothing");
}

#[test]
fn the_machine_and_its_speed_are_reported() {
    let folder = tempfile::tempdir().unwrap();
    let ran = run(folder.path(), "devices");
    assert_eq!(ran.code, Some(0));
    assert!(ran.stdout.starts_with("cpu     usable") && ran.stdout.contains("cuda:0"), "{}", ran.stdout);
    let ran = run(folder.path(), "benchmark --json --repeat 1 --device auto");
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    let report: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
    for (network, parameters, layers) in [("detection", 5_887_826, 19), ("identification", 43_636_641, 19)] {
        let figures = &report[network];
        assert_eq!(figures["params"], parameters);
        assert!(figures["forward_best"].as_f64().unwrap() > 0.0);
        assert!(figures["train_step"].as_f64() > figures["forward_best"].as_f64());
        if report["device"] == "cpu" {
            assert_eq!(figures["layers"].as_array().unwrap().len(), layers);
        }
    }
}

#[test]
fn straightened_spines_are_learned_from_scans_and_trainings_go_on_as_what_they_were() {
    let folder = tempfile::tempdir().unwrap();
    let go = |arguments: &str| run(folder.path(), arguments);
    let good = |arguments: &str| {
        let ran = go(arguments);
        assert_eq!(ran.code, Some(0), "{arguments}: {}", ran.stderr);
        ran.stdout
    };
    good("gen-phantom scans/phantoms --scans 2 --seed 3 --cohort hospital --voxel 4");
    let small = "--epochs 2 --steps 1 --batch-size 2 --share phantoms=0.5";
    let text = good(&format!("train-bodies scans scans bodies.safetensors {small}"));
    assert!(text.contains("epoch 2 loss ") && text.contains("| testing within_8mm "), "{text}");
    let text = good(&format!("train-names scans scans names.safetensors {small} --half"));
    assert!(text.contains("epoch 2 loss ") && text.contains("| testing named "), "{text}");
    let checkpoint = "checkpoints/names_model/names_model.last";
    let ran =
        go(&format!("train-names scans scans again.safetensors {small} --seed 2 --resume {checkpoint}"));
    assert!(ran.code == Some(1) && ran.stderr.contains("--seed 1"), "{}", ran.stderr);
    let ran = go("train-names scans scans again.safetensors --resume names.safetensors");
    assert!(
        ran.code == Some(1) && ran.stderr.contains("is a finished model, not a checkpoint"),
        "{}",
        ran.stderr
    );
    let ran = go("train-bodies scans scans again.safetensors --start names.safetensors");
    assert!(ran.code == Some(1) && ran.stderr.contains("a model for bodies is needed"), "{}", ran.stderr);
    let ran = go("train-bodies scans scans again.h5");
    assert!(ran.code == Some(1) && ran.stderr.contains("end its name in .safetensors"), "{}", ran.stderr);
    assert_eq!(go("train-bodies scans scans again.safetensors --share legs").code, Some(2));
    let logs = files(&folder.path().join("logs"));
    assert!(logs.iter().filter(|name| name.starts_with("events.out.tfevents.")).count() >= 4, "{logs:?}");
}
