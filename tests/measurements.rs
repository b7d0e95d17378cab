//! What `predict --measure` says of phantoms, whose bodies' form is known, and how far it depends on how a spine was scanned.

mod scratch;

use std::path::{Path, PathBuf};

use ndarray::{Array3, Axis};
use scratch::run;
use serde_json::Value;
use vertebrae::device::Device;
use vertebrae::measurement::{Measurements, grade};
use vertebrae::phantom::{Body, Cohort, Phantom, generate, generate_broken};
use vertebrae::pipeline::{Models, Pipeline, Prediction};
use vertebrae::random::Legacy;
use vertebrae::scan::{Scan, nifti};

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// How far off figures are.
#[derive(Default)]
struct Off(Vec<f64>);

impl Off {
    fn mean(&self) -> f64 {
        self.0.iter().sum::<f64>() / self.0.len() as f64
    }

    /// The value that this share of all does not exceed.
    fn quantile(&self, share: f64) -> f64 {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        sorted[((sorted.len() as f64 * share) as usize).min(sorted.len() - 1)]
    }

    fn line(&self, name: &str) {
        let [median, most] = [0.5, 0.95].map(|share| self.quantile(share));
        println!(
            "{name}: {} figures, mean {:.2}, median {median:.2}, 95 % {most:.2}",
            self.0.len(),
            self.mean()
        );
    }
}

/// Everything that is compared with what was painted.
#[derive(Default)]
struct Table {
    bodies: usize,
    measured: usize,
    heights: Off,
    tilts: Off,
    densities: Off,
    blood: Off,
    losses: Off,
    grades: [usize; 2],
    broken: [usize; 2],
}

/// A body's heights at the front wall, in the middle and at the back wall.
fn heights(body: &Body) -> [f64; 3] {
    let whole = 2.0 * body.half[2];
    [whole * (1.0 - body.wedge), whole * (1.0 - body.wedge / 2.0 - body.dish), whole]
}

/// The grade that the painted heights have, and the share that is lost.
fn true_grade(bodies: &[Body], index: usize) -> (u8, f64) {
    let whole = |other: Option<usize>| {
        let other = heights(bodies.get(other?)?);
        (grade(other, &[]).grade == 0).then_some(other[2])
    };
    let beside: Vec<f64> =
        [whole(index.checked_sub(1)), whole(Some(index + 1))].into_iter().flatten().collect();
    let truth = grade(heights(&bodies[index]), &beside);
    (truth.grade, truth.loss)
}

impl Table {
    fn add(&mut self, phantom: &Phantom, document: &Value) {
        let number = |value: &Value| value.as_f64();
        if let Some(aorta) = number(&document["measurements"]["contrast"]["aorta"]) {
            self.blood.0.push((aorta - phantom.blood).abs());
        }
        for (index, body) in phantom.bodies.iter().enumerate() {
            // What is outlined, without what has grown together or been filled.
            if !(3..=24).contains(&body.level.value()) || body.joined || body.treated {
                continue;
            }
            self.bodies += 1;
            let label = body.level.name();
            let all = document["vertebrae"].as_array().unwrap();
            let Some(found) = all.iter().find(|found| found["label"] == label) else { continue };
            let measured = &found["measured"];
            let Some(front) = number(&measured["heights_mm"]["anterior"]) else { continue };
            self.measured += 1;
            let rest = ["middle", "posterior"].map(|part| number(&measured["heights_mm"][part]).unwrap());
            for (found, truth) in [front, rest[0], rest[1]].into_iter().zip(heights(body)) {
                self.heights.0.push((found - truth).abs());
            }
            let slope = (body.half[2] * body.wedge / (2.0 * body.half[1])).atan();
            for (plate, side) in [("upper_endplate", 1.0), ("lower_endplate", -1.0)] {
                let along: f64 = (0..3)
                    .map(|axis| {
                        let truth =
                            body.axes[2][axis] * slope.cos() - side * body.axes[1][axis] * slope.sin();
                        truth * number(&measured[plate]["normal"][axis]).unwrap()
                    })
                    .sum();
                self.tilts.0.push(along.min(1.0).acos().to_degrees());
            }
            if let Some(mean) = number(&measured["hu"]["mean"]) {
                self.densities.0.push((mean - body.density).abs());
            }
            // Graded are the levels that Genant graded.
            if body.level < "T4".parse().unwrap() {
                assert!(measured["genant"].is_null(), "{label}");
                continue;
            }
            let (truth, loss) = true_grade(&phantom.bodies, index);
            let right = usize::from(measured["genant"]["grade"].as_u64() == Some(u64::from(truth)));
            self.grades = [self.grades[0] + right, self.grades[1] + 1];
            if let Some(found) = number(&measured["genant"]["loss"]) {
                self.losses.0.push((found - loss).abs());
            }
            if truth > 0 {
                self.broken = [self.broken[0] + right, self.broken[1] + 1];
            }
        }
    }

    fn print(&self) {
        println!("{} of {} bodies measured", self.measured, self.bodies);
        self.heights.line("heights, mm");
        self.tilts.line("tilt of end plates, degrees");
        self.densities.line("density, HU");
        self.blood.line("blood in the aorta, HU");
        self.losses.line("share of height lost");
        println!(
            "grades: {} of {} right, of sunken bodies {} of {}",
            self.grades[0], self.grades[1], self.broken[0], self.broken[1]
        );
    }
}

/// Phantoms of `voxel` mm through the program and against what was painted.
fn measured(seed: u32, count: usize, voxel: f64, fractures: f64) -> (tempfile::TempDir, Table) {
    let folder = tempfile::tempdir().unwrap();
    let phantoms: Vec<Phantom> = (0..count)
        .map(|number| generate_broken(seed, number, Cohort::Hospital, Some(voxel), fractures))
        .collect();
    for (number, phantom) in phantoms.iter().enumerate() {
        let path = folder.path().join(format!("in/{number:03}.nii.gz"));
        nifti::write(&path, &phantom.voxels, &phantom.geometry).unwrap();
    }
    let models = root().join("saved_models");
    let command =
        format!("predict in -o out --measure --format json,mask --quiet --models {}", models.display());
    let ran = run(folder.path(), &command);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    let mut table = Table::default();
    for (number, phantom) in phantoms.iter().enumerate() {
        table.add(phantom, &document(folder.path(), &format!("{number:03}")));
    }
    table.print();
    (folder, table)
}

fn document(folder: &Path, name: &str) -> Value {
    let path = folder.join(format!("out/{name}.vertebrae.json"));
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

#[test]
fn phantoms_are_measured_as_they_were_painted_and_the_table_says_what_the_documents_say() {
    let (folder, table) = measured(4040, 3, 1.5, 0.0);
    assert!(table.measured * 10 >= table.bodies * 7, "{} of {}", table.measured, table.bodies);
    assert!(table.heights.mean() < 1.5 && table.heights.quantile(0.95) < 3.0);
    assert!(table.tilts.mean() < 3.0 && table.densities.mean() < 5.0);
    assert!(table.grades[0] * 10 >= table.grades[1] * 9);

    let mut reader = csv::Reader::from_path(folder.path().join("out/measurements.csv")).unwrap();
    let rows: Vec<csv::StringRecord> = reader.records().map(Result::unwrap).collect();
    let mut place = 0;
    for name in ["000", "001", "002"] {
        let document = document(folder.path(), name);
        assert_eq!(document["schema"], "vertebrae/prediction/3");
        for vertebra in document["vertebrae"].as_array().unwrap() {
            let row = &rows[place];
            place += 1;
            assert_eq!(
                (&row[0], &row[1]),
                (format!("in/{name}.nii.gz").as_str(), vertebra["label"].as_str().unwrap())
            );
            let text = |value: &Value| value.as_f64().map_or_else(String::new, |value| value.to_string());
            assert_eq!(row[4], text(&vertebra["measured"]["hu"]["mean"]));
            assert_eq!(row[10], text(&vertebra["measured"]["heights_mm"]["posterior"]));
        }
        assert!(folder.path().join(format!("out/{name}_seg.ctbl")).is_file());
    }
    assert_eq!(place, rows.len());
    // A mask is the body, not a ball: of about the volume that was painted.
    let phantom = generate(4040, 0, Cohort::Hospital, Some(1.5));
    let mask = nifti::read(&folder.path().join("out/000_seg.nii.gz")).unwrap();
    let all = document(folder.path(), "000");
    let mut compared = 0;
    for vertebra in
        all["vertebrae"].as_array().unwrap().iter().filter(|v| !v["measured"]["heights_mm"].is_null())
    {
        let Some(body) = phantom.bodies.iter().find(|body| vertebra["label"] == body.level.name()) else {
            continue;
        };
        let id = vertebra["verse_id"].as_f64().unwrap() as f32;
        let volume = mask.voxels.iter().filter(|&&value| value == id).count() as f64 * 1.5f64.powi(3);
        // An ellipse with a waist of 12 %.
        let painted: f64 = body.half.iter().product::<f64>()
            * 2.0
            * std::f64::consts::PI
            * 0.85
            * (1.0 - body.wedge / 2.0 - body.dish / 2.0);
        assert!((volume / painted - 1.0).abs() < 0.35, "{}: {volume:.0} of {painted:.0} mm3", body.level);
        compared += 1;
    }
    assert!(compared > 5, "{compared}");
}

#[test]
fn what_was_not_measured_is_measured_when_it_is_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let phantom = generate(4040, 1, Cohort::Healthy, Some(3.0));
    nifti::write(&folder.path().join("a.nii.gz"), &phantom.voxels, &phantom.geometry).unwrap();
    let command =
        format!("predict a.nii.gz -o out --format json --models {}", root().join("saved_models").display());
    let go = |more: &str| {
        let ran = run(folder.path(), &format!("{command} {more}"));
        assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    };
    go("");
    assert!(document(folder.path(), "a").get("measurements").is_none());
    assert!(!folder.path().join("out/measurements.csv").exists());
    go("--resume --measure");
    assert!(document(folder.path(), "a")["measurements"]["contrast"].is_object());
    assert!(folder.path().join("out/measurements.csv").is_file());
}

#[test]
#[ignore = "takes minutes; prints the table of docs/measurements.md"]
fn forty_phantoms_are_measured_within_the_bounds() {
    for (voxel, fractures) in [(1.0, 0.0), (1.5, 0.0), (2.0, 0.0), (1.0, 0.3), (1.5, 0.3), (2.0, 0.3)] {
        println!("voxels of {voxel} mm, {fractures} of the bodies broken besides");
        let (_, table) = measured(4040, 40, voxel, fractures);
        assert!(table.heights.mean() < 1.5 && table.heights.quantile(0.95) < 3.0);
        assert!(table.tilts.mean() < 3.0 && table.densities.mean() < 5.0);
        assert!(table.grades[0] * 10 >= table.grades[1] * 9);
    }
}

/// Slices of `thickness` mm, linear between thinner ones or their mean.
fn sliced(scan: &mut Scan, thickness: f64) {
    let volume = &mut scan.volume;
    let step = thickness / volume.geometry.spacing[2];
    let [x, y, z] = volume.geometry.shape;
    let count = (((z - 1) as f64 / step).floor() as usize) + 1;
    let mut voxels = Array3::zeros((x, y, count));
    for slice in 0..count {
        let (middle, half) = (slice as f64 * step, step.max(1.0));
        let mut sum = 0.0;
        let mut target = voxels.index_axis_mut(Axis(2), slice);
        for index in (middle - half).ceil().max(0.0) as usize..=((middle + half).floor() as usize).min(z - 1)
        {
            let weight = (1.0 - (index as f64 - middle).abs() / half).max(0.0) as f32;
            target.scaled_add(weight, &volume.voxels.index_axis(Axis(2), index));
            sum += weight;
        }
        target.mapv_inplace(|value| value / sum);
    }
    volume.voxels = voxels;
    volume.geometry.shape[2] = count;
    volume.geometry.spacing[2] = thickness;
    for row in &mut volume.geometry.affine {
        row[2] *= step;
    }
    scan.frame = vertebrae::scan::Frame::new(scan.frame.orientation, volume.geometry.clone());
}

#[test]
#[ignore = "takes minutes and needs annotated scans; prints a table"]
fn figures_do_not_depend_on_how_a_spine_was_scanned() {
    let cases = root().join("../shared/cases");
    let Ok(split) = std::fs::read_to_string(cases.join("SPLIT")) else {
        println!("SKIPPED: no {} here", cases.display());
        return;
    };
    let pipeline =
        Pipeline::load(&Models::find(Some(&root().join("saved_models"))).unwrap(), Device::Cpu).unwrap();
    let both = |scan: &Scan| -> (Prediction, Measurements) {
        let prediction = pipeline.predict(scan).unwrap();
        let measurements = prediction.measure(scan);
        (prediction, measurements)
    };
    let mut random = Legacy::seeded(1);
    for variant in ["slices of 1 mm", "slices of 3 mm", "noise of 20 HU"] {
        let (mut densities, mut heights, mut lost) = (Off::default(), Off::default(), [0, 0]);
        for line in split.lines().filter_map(|line| line.strip_prefix("dev trunk/")) {
            let mut scan = Scan::read(&cases.join(format!("trunk/{line}.nii.gz"))).unwrap();
            let (named, base) = both(&scan);
            match variant {
                "slices of 1 mm" => sliced(&mut scan, 1.0),
                "slices of 3 mm" => sliced(&mut scan, 3.0),
                _ => scan.volume.voxels.mapv_inplace(|value| value + 20.0 * random.normal() as f32),
            }
            let (other, again) = both(&scan);
            for (vertebra, first) in named.vertebrae.iter().zip(&base.vertebrae) {
                let found = other.vertebrae.iter().position(|found| found.level == vertebra.level);
                let Some(second) = found.map(|index| &again.vertebrae[index]) else { continue };
                if let ("L1" | "L2" | "L3" | "L4", Some(a), Some(b)) =
                    (vertebra.level.name(), first.density, second.density)
                {
                    densities.0.push((a.mean - b.mean).abs());
                }
                if let (Some(a), Some(b)) = (first.heights, second.heights) {
                    let off = [a.anterior - b.anterior, a.middle - b.middle, a.posterior - b.posterior];
                    heights.0.extend(off.map(f64::abs));
                }
                lost[1] += usize::from(first.heights.is_some());
                lost[0] += usize::from(first.heights.is_some() && second.heights.is_none());
            }
        }
        println!("{variant}: {} of {} bodies without heights then", lost[0], lost[1]);
        densities.line("  density of L1 to L4, HU");
        heights.line("  heights, mm");
        assert!(densities.quantile(0.5) <= 6.0 && heights.quantile(0.5) <= 1.0);
    }
}
