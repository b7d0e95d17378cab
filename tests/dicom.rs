//! Folders of DICOM slices through the built binary.

mod scratch;
#[path = "scratch/series.rs"]
mod series;

use std::path::{Path, PathBuf};

use ndarray::Array3;
use scratch::run;
use serde_json::Value;
use series::{AXIAL, Series};
use vertebrae::scan::{Scan, dicom, nifti};

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn predict(folder: &Path, scans: &str) -> scratch::Ran {
    run(folder, &format!("predict {scans} --output out --models {}", root().join("saved_models").display()))
}

fn vertebrae(folder: &Path, name: &str) -> Vec<(String, [f64; 3])> {
    let bytes = std::fs::read(folder.join("out").join(format!("{name}.vertebrae.json"))).unwrap();
    let document: Value = serde_json::from_slice(&bytes).unwrap();
    let point = |vertebra: &Value| {
        let lps = std::array::from_fn(|axis| vertebra["lps"][axis].as_f64().unwrap());
        (vertebra["label"].as_str().unwrap().to_owned(), lps)
    };
    document["vertebrae"].as_array().unwrap().iter().map(point).collect()
}

fn ct() -> Series {
    Series {
        uid: "1.2.826.1".into(),
        description: "body".into(),
        spacing: [0.8, 1.2, 2.5],
        origin: [-100.0, 40.0, -700.0],
        shear: 0.0,
        directions: AXIAL,
    }
}

fn small() -> Array3<i16> {
    Array3::from_shape_fn((5, 4, 6), |(x, y, z)| (x * 100 + y * 10 + z) as i16 - 500)
}

#[test]
fn a_series_in_any_file_order_is_the_volume_that_was_exported() {
    let folder = tempfile::tempdir().unwrap();
    let series = folder.path().join("series");
    // Names that sort against the slices.
    ct().write(&series, &small(), |index| format!("IM{:04}", 37 * (6 - index) % 101));
    let volume = dicom::read(&series).unwrap();
    assert_eq!(volume.voxels, small().mapv(f32::from));
    assert_eq!(volume.geometry.spacing, [0.8, 1.2, 2.5]);
    // The series' origin in RAS, and a voxel away from it along each axis.
    assert_eq!(volume.geometry.world([0.0; 3]), [100.0, -40.0, -700.0]);
    let there = volume.geometry.world([2.0, 1.0, 3.0]);
    for (value, expected) in there.iter().zip([98.4, -41.2, -692.5]) {
        assert!((value - expected).abs() < 1e-6, "{there:?}");
    }
    assert!(Scan::read(&series).unwrap().frame.orientation == vertebrae::scan::Orientation::IDENTITY);
}

#[test]
fn slices_without_the_header_of_a_file_are_read_and_said_to_lack_it() {
    use dicom_transfer_syntax_registry::entries;
    for syntax in [entries::EXPLICIT_VR_LITTLE_ENDIAN.erased(), entries::IMPLICIT_VR_LITTLE_ENDIAN.erased()] {
        let folder = tempfile::tempdir().unwrap();
        let (whole, bare) = (folder.path().join("whole"), folder.path().join("bare"));
        ct().write(&whole, &small(), |index| format!("{index}"));
        std::fs::create_dir(&bare).unwrap();
        for index in 0..6 {
            let object = dicom_object::open_file(whole.join(index.to_string())).unwrap();
            let mut bytes = Vec::new();
            object.write_dataset_with_ts(&mut bytes, &syntax).unwrap();
            std::fs::write(bare.join(format!("{index}.ima")), bytes).unwrap();
        }
        let volume = dicom::read(&bare).unwrap();
        assert_eq!(volume.voxels, small().mapv(f32::from));
        let sentence =
            "6 slices without the header of a DICOM file were taken as uncompressed and little endian";
        assert_eq!(volume.warnings, [sentence]);
        // A damaged one costs the series no more than a damaged file with a header does.
        let path = bare.join("5.ima");
        let bytes = std::fs::read(&path).unwrap();
        std::fs::write(&path, &bytes[..bytes.len() - 30]).unwrap();
        let volume = dicom::read(&bare).unwrap();
        assert_eq!(volume.geometry.shape, [5, 4, 5]);
        assert!(volume.warnings.iter().any(|warning| warning.contains("5.ima")), "{:?}", volume.warnings);
    }
}

#[test]
fn slices_in_jpeg_ls_are_the_volume_that_was_compressed() {
    use dicom_core::value::PixelFragmentSequence;
    use dicom_core::{DataElement, VR};
    use dicom_dictionary_std::{tags, uids};
    let folder = tempfile::tempdir().unwrap();
    ct().write(folder.path(), &small(), |index| format!("{index}"));
    let compress = |name: &str| {
        let path = folder.path().join(name);
        let mut object = dicom_object::open_file(&path).unwrap();
        let pixels = object.element(tags::PIXEL_DATA).unwrap().to_multi_int::<u16>().unwrap();
        let mut stream = Vec::new();
        jpegls::encode(&pixels, 5, 4, &mut stream).unwrap();
        stream.resize(stream.len().next_multiple_of(2), 0);
        let fragments = PixelFragmentSequence::new_fragments(vec![stream]);
        object.put(DataElement::new(tags::PIXEL_DATA, VR::OB, fragments));
        object.meta_mut().transfer_syntax = uids::JPEGLS_LOSSLESS.to_owned();
        object.write_to_file(&path).unwrap();
    };
    for index in 0..6 {
        compress(&index.to_string());
    }
    let volume = dicom::read(folder.path()).unwrap();
    assert_eq!(volume.voxels, small().mapv(f32::from));
    assert!(volume.warnings.is_empty(), "{:?}", volume.warnings);
}

#[test]
fn the_largest_series_is_taken_and_the_others_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let scout = Series { uid: "1.2.826.2".into(), description: "scout".into(), ..ct() };
    ct().write(folder.path(), &small(), |index| format!("a{index}"));
    scout.write(folder.path(), &Array3::zeros((5, 4, 1)), |_| "b".into());
    std::fs::write(folder.path().join("notes.txt"), "no slice").unwrap();
    let volume = dicom::read(folder.path()).unwrap();
    assert_eq!(volume.geometry.shape, [5, 4, 6]);
    assert_eq!(
        volume.warnings,
        ["the series 2 'scout' with 1 slice of 5 x 4 pixels was passed over for 2 'body' with 6 slices"]
    );
}

#[test]
fn what_is_no_box_of_slices_is_refused_with_a_sentence() {
    let folder = tempfile::tempdir().unwrap();
    let sentence = |name: &str| format!("{:#}", dicom::read(&folder.path().join(name)).unwrap_err());
    ct().write(&folder.path().join("gap"), &small(), |index| format!("{index}"));
    std::fs::remove_file(folder.path().join("gap/3")).unwrap();
    assert!(sentence("gap").contains("5.00 mm between 2 and 4, 2.50 mm elsewhere"), "{}", sentence("gap"));
    std::fs::create_dir(folder.path().join("empty")).unwrap();
    assert!(sentence("empty").contains("no file in it begins like a DICOM file"));
    ct().write(&folder.path().join("cut"), &small(), |index| format!("{index}"));
    let slice = folder.path().join("cut/2");
    let bytes = std::fs::read(&slice).unwrap();
    std::fs::write(&slice, &bytes[..bytes.len() - 20]).unwrap();
    let cut = sentence("cut");
    assert!(cut.contains("unevenly spaced") && cut.contains("left out: it is a damaged DICOM file"), "{cut}");
}

#[test]
fn a_tilted_gantry_is_put_right_along_the_patients_axes() {
    let folder = tempfile::tempdir().unwrap();
    // A plate of bone at right angles to y: in a tilted scan it moves from slice to slice.
    let tilted = Series { shear: 0.6, ..ct() };
    let plate = Array3::from_shape_fn((20, 30, 16), |(_, y, z)| {
        let back = 1.2 * y as f64 + 0.6 * z as f64;
        if (18.0..24.0).contains(&back) { 900 } else { 0 }
    });
    tilted.write(folder.path(), &plate, |index| format!("{index}"));
    let Scan { volume, frame, .. } = Scan::read(folder.path()).unwrap();
    assert!(volume.warnings[0].contains("13 degrees from being at right angles"), "{:?}", volume.warnings);
    let [x, y, z] = volume.geometry.shape.map(|size| size / 2);
    // Now it stands at the same y in every slice.
    for slice in 2..volume.geometry.shape[2] - 2 {
        let column: Vec<usize> =
            (0..volume.geometry.shape[1]).filter(|&row| volume.voxels[[x, row, slice]] > 700.0).collect();
        let middle = column.iter().sum::<usize>() as f64 / column.len() as f64 * volume.geometry.spacing[1];
        assert!((middle - 21.0).abs() < 1.5, "slice {slice}: {middle} of {y}, {z}");
    }
    let mm = [6.0, 20.0, 15.0];
    let there = frame.from_stored(frame.to_stored(mm));
    assert!((0..3).all(|axis| (there[axis] - mm[axis]).abs() < 1e-9), "{there:?}");
}

#[test]
fn files_that_are_no_slices_never_cost_the_series() {
    let folder = tempfile::tempdir().unwrap();
    let tall = Array3::from_shape_fn((5, 4, 40), |(x, y, z)| (x * 100 + y * 10 + z) as i16 - 500);
    ct().write(folder.path(), &tall, |index| format!("{index:02}"));
    std::fs::write(folder.path().join("zzz"), [&[0u8; 128][..], b"DICM"].concat()).unwrap();
    std::fs::copy(folder.path().join("00"), folder.path().join("DICOMDIR")).unwrap();
    std::fs::remove_file(folder.path().join("17")).unwrap();
    let volume = dicom::read(folder.path()).unwrap();
    // What is missing is the mean of its neighbours.
    assert_eq!(volume.voxels, tall.mapv(f32::from));
    assert!(
        volume.warnings[0].contains("1 of its files were left out") && volume.warnings[0].contains("(zzz)")
    );
    assert!(volume.warnings[1].contains("missing between 16 and 18"), "{:?}", volume.warnings);
    // One slice is written in a way that nobody knows.
    ct().write(folder.path(), &tall, |index| format!("{index:02}"));
    let odd = folder.path().join("20");
    let bytes = std::fs::read(&odd).unwrap();
    let syntax = b"1.2.840.10008.1.2.1\0";
    let at = bytes.windows(syntax.len()).position(|window| window == syntax).unwrap();
    let mut spoiled = bytes.clone();
    spoiled[at..at + syntax.len()].copy_from_slice(b"1.2.840.10008.1.2.4\0");
    std::fs::write(&odd, spoiled).unwrap();
    let volume = dicom::read(folder.path()).unwrap();
    assert_eq!(volume.voxels, tall.mapv(f32::from));
    let said = volume.warnings.join("; ");
    assert!(
        said.contains("(20)") && said.contains("between 19 and 21; it was made of its neighbours"),
        "{said}"
    );
    std::fs::write(&odd, bytes).unwrap();
    // Another patient's picture is named for what it is.
    let other = folder.path().join("other");
    ct().write(&other, &small(), |index| format!("{index}"));
    for file in std::fs::read_dir(&other).unwrap() {
        let path = file.unwrap().path();
        let bytes = std::fs::read(&path).unwrap();
        let at = bytes.windows(8).position(|window| window == b"CS\x02\0CT\x08\0").unwrap();
        let mut spoiled = bytes.clone();
        spoiled[at + 4..at + 6].copy_from_slice(b"MR");
        std::fs::write(&path, spoiled).unwrap();
    }
    let error = format!("{:#}", dicom::read(&other).unwrap_err());
    assert!(error.contains("its modality is MR, not CT (0, 1, 2 and 3 more)"), "{error}");
}

#[test]
fn an_enhanced_ct_is_the_volume_that_its_frames_are() {
    let folder = tempfile::tempdir().unwrap();
    ct().write_enhanced(&folder.path().join("one.dcm"), &small());
    let volume = dicom::read(folder.path()).unwrap();
    assert_eq!(volume.voxels, small().mapv(f32::from));
    assert_eq!(
        (volume.geometry.spacing, volume.warnings.len()),
        ([0.8, 1.2, 2.5], 0),
        "{:?}",
        volume.warnings
    );
    assert_eq!(volume.geometry.world([0.0; 3]), [100.0, -40.0, -700.0]);
}

#[test]
fn a_series_can_be_chosen_and_is_named_and_one_over_several_folders_is_one_scan() {
    let folder = tempfile::tempdir().unwrap();
    let other = Series { uid: "1.2.826.7".into(), description: "thin".into(), ..ct() };
    ct().write(folder.path(), &small(), |index| format!("a{index}"));
    other.write(folder.path(), &small().slice_move(ndarray::s![.., .., ..4]), |index| format!("b{index}"));
    let (volume, series) = dicom::read_series(folder.path(), Some("1.2.826.7")).unwrap();
    assert_eq!(
        (volume.geometry.shape[2], series.series.as_str(), series.title.as_str()),
        (4, "1.2.826.7", "2 'thin'")
    );
    let error = format!("{:#}", dicom::read_series(folder.path(), Some("1.2")).unwrap_err());
    assert!(error.contains("no CT series 1.2; there are 1.2.826.1, 1.2.826.7"), "{error}");
    // The first half in one folder, the second in another.
    let parts = tempfile::tempdir().unwrap();
    for (part, range) in [("x", 0..3), ("y", 3..6)] {
        std::fs::create_dir(parts.path().join(part)).unwrap();
        for index in range {
            let name = format!("a{index}");
            std::fs::copy(folder.path().join(&name), parts.path().join(part).join(name)).unwrap();
        }
    }
    let listing = vertebrae::scan::listed(&[parts.path().to_owned()], &[]).unwrap();
    assert_eq!(listing.scans, [parts.path()]);
    assert_eq!(dicom::read(parts.path()).unwrap().voxels, small().mapv(f32::from));
}

#[test]
fn a_series_for_every_slice_and_one_number_for_all_are_one_volume() {
    let folder = tempfile::tempdir().unwrap();
    for (index, slice) in small().axis_iter(ndarray::Axis(2)).enumerate() {
        let one = slice.insert_axis(ndarray::Axis(2)).to_owned();
        let place = ct().origin[2] + 2.5 * index as f64;
        let own = Series { uid: format!("1.2.{index}"), origin: [-100.0, 40.0, place], ..ct() };
        own.write(folder.path(), &one, |_| format!("{index}"));
    }
    let volume = dicom::read(folder.path()).unwrap();
    assert_eq!(volume.voxels, small().mapv(f32::from));
    assert!(volume.warnings[0].contains("a series of its own"), "{:?}", volume.warnings);
}

#[test]
fn an_element_that_claims_more_than_the_file_holds_costs_no_memory() {
    let folder = tempfile::tempdir().unwrap();
    ct().write(folder.path(), &small(), |index| format!("{index}"));
    let slice = folder.path().join("2");
    let bytes = std::fs::read(&slice).unwrap();
    // Found by fuzzing: the library that reads elements makes room for 4 GiB before it looks. An element is group,
    // number, two letters for its kind, then 2 bytes of length, or 2 of nothing and 4 of length.
    let claims = |start: &[u8], at: usize, claimed: &[u8]| {
        let found = bytes.windows(start.len()).position(|window| window == start).unwrap();
        let mut spoiled = bytes.clone();
        spoiled[found + at..][..claimed.len()].copy_from_slice(claimed);
        std::fs::write(&slice, spoiled).unwrap();
        let begin = std::time::Instant::now();
        let error = format!("{:#}", dicom::read(folder.path()).unwrap_err());
        assert!(begin.elapsed().as_secs_f64() < 1.0, "{error}");
        error
    };
    let error = claims(b"\x28\0\x10\0US", 4, b"UL\xff\x7f");
    assert!(error.contains("damaged DICOM file") && error.contains("claims 32767 bytes"), "{error}");
    let error = claims(b"\xe0\x7f\x10\0OW", 8, &0xffff_fff0u32.to_le_bytes());
    assert!(error.contains("element (7FE0,0010) claims 4294967280 bytes"), "{error}");
    let error = claims(b"\x02\0\x02\0UI", 4, b"UN\0\0\xf0\xff\xff\xff");
    assert!(error.contains("element (0002,0002) claims 4294967280 bytes"), "{error}");
    let error = claims(b"\x28\0\x10\0US\x02\0", 8, &[0xff, 0xff]);
    assert!(error.contains("claims 5 x 65535 pixels"), "{error}");
    // Of half a number the library reads nothing, and takes the rest for the next element.
    let error = claims(b"\x28\0\x10\0US\x02\0", 6, &[1]);
    assert!(error.contains("has 1 bytes, which hold no whole number"), "{error}");
    // Bits stored: a table of as many entries as a pixel has values is made of them.
    let error = claims(b"\x28\0\x01\x01US\x02\0", 8, &[0, 0]);
    assert!(error.contains("pixels of 0 bits in 16"), "{error}");
}

#[test]
fn a_phantom_exported_as_slices_gives_the_points_of_its_nifti_file() {
    let folder = tempfile::tempdir().unwrap();
    let source = root().join("testing_dataset/phantom-11-001.nii.gz");
    let volume = nifti::read(&source).unwrap();
    let [x, y, z] = volume.geometry.world([0.0; 3]);
    let series = Series { spacing: volume.geometry.spacing, origin: [-x, -y, z], ..ct() };
    series.write(
        &folder.path().join("scans/series-a"),
        &volume.voxels.mapv(|value| value.clamp(-1024.0, 30000.0) as i16),
        |index| format!("{:05}.dcm", index * 7919 % 10007),
    );
    std::fs::copy(&source, folder.path().join("phantom.nii.gz")).unwrap();
    let ran = predict(folder.path(), "scans phantom.nii.gz");
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    let (slices, file) = (vertebrae(folder.path(), "series-a"), vertebrae(folder.path(), "phantom"));
    assert!(!file.is_empty() && slices.len() == file.len());
    for ((label, a), (other, b)) in slices.iter().zip(&file) {
        assert_eq!(label, other);
        // The phantom's values are whole numbers, so both volumes are the same.
        assert!((0..3).all(|axis| (a[axis] - b[axis]).abs() < 0.01), "{label}: {a:?} {b:?}");
    }
    // One slice alone is no scan.
    let slice = std::fs::read_dir(folder.path().join("scans/series-a")).unwrap().next().unwrap().unwrap();
    let ran = predict(folder.path(), &slice.path().display().to_string());
    assert!(ran.code == Some(1) && ran.stderr.contains("name the folder"), "{}", ran.stderr);
}

#[test]
fn a_real_series_gives_the_points_of_its_resampled_copy() {
    let cases = root().join("../shared/cases");
    let archive = cases.join("dicom/pancreas_series.tar.xz");
    if !archive.exists() {
        eprintln!("SKIPPED: no {} here", archive.display());
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let unpacked = folder.path().join("unpacked");
    std::fs::create_dir(&unpacked).unwrap();
    let status =
        std::process::Command::new("tar").arg("-xf").arg(&archive).arg("-C").arg(&unpacked).status().unwrap();
    assert!(status.success());
    // New names in another order.
    let series = folder.path().join("series");
    std::fs::create_dir(&series).unwrap();
    let files: Vec<PathBuf> = walkdir::WalkDir::new(&unpacked)
        .sort_by_file_name()
        .into_iter()
        .filter_map(|entry| Some(entry.ok()?.into_path()).filter(|path| path.is_file()))
        .collect();
    for (index, file) in files.iter().enumerate() {
        std::fs::copy(file, series.join(format!("IM{:05}", index * 7919 % 10007))).unwrap();
    }
    let ran = predict(folder.path(), &format!("series {}", cases.join("pancreas.nii.gz").display()));
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    let copy = vertebrae(folder.path(), "pancreas");
    let mut compared = 0;
    for (label, at) in vertebrae(folder.path(), "series") {
        let Some((_, other)) = copy.iter().find(|(other, _)| *other == label) else { continue };
        let distance = (0..3).map(|axis| (at[axis] - other[axis]).powi(2)).sum::<f64>().sqrt();
        // The copy was cut to the spine and resampled: other surroundings, another grid.
        assert!(distance < 4.0, "{label}: {distance:.1} mm");
        compared += 1;
    }
    assert!(compared >= 6, "{compared}");
}

/// Every voxel that a segmentation marks, as a point in the patient (LPS), with its segment's label.
fn marked(path: &Path) -> Vec<(String, [f64; 3])> {
    use dicom_dictionary_std::tags;
    use dicom_object::InMemDicomObject;
    let object = dicom_object::open_file(path).unwrap();
    let items = |object: &InMemDicomObject, tag| object.get(tag).unwrap().items().unwrap().to_vec();
    let numbers = |object: &InMemDicomObject, tag| object.get(tag).unwrap().to_multi_float64().unwrap();
    let [rows, columns] =
        [tags::ROWS, tags::COLUMNS].map(|tag| object.element(tag).unwrap().to_int::<usize>().unwrap());
    let shared = &items(&object, tags::SHARED_FUNCTIONAL_GROUPS_SEQUENCE)[0];
    let directions =
        numbers(&items(shared, tags::PLANE_ORIENTATION_SEQUENCE)[0], tags::IMAGE_ORIENTATION_PATIENT);
    let spacing = numbers(&items(shared, tags::PIXEL_MEASURES_SEQUENCE)[0], tags::PIXEL_SPACING);
    let labels: Vec<String> = items(&object, tags::SEGMENT_SEQUENCE)
        .iter()
        .map(|item| item.get(tags::SEGMENT_LABEL).unwrap().to_str().unwrap().trim().to_owned())
        .collect();
    let bits = object.element(tags::PIXEL_DATA).unwrap().to_bytes().unwrap().into_owned();
    let mut marked = Vec::new();
    for (frame, own) in items(&object, tags::PER_FRAME_FUNCTIONAL_GROUPS_SEQUENCE).iter().enumerate() {
        let place = numbers(&items(own, tags::PLANE_POSITION_SEQUENCE)[0], tags::IMAGE_POSITION_PATIENT);
        let segment = &items(own, tags::SEGMENT_IDENTIFICATION_SEQUENCE)[0];
        let segment = segment.get(tags::REFERENCED_SEGMENT_NUMBER).unwrap().to_int::<usize>().unwrap();
        for pixel in 0..rows * columns {
            let at = frame * rows * columns + pixel;
            if bits[at / 8] >> (at % 8) & 1 == 1 {
                let off = [(pixel % columns) as f64 * spacing[1], (pixel / columns) as f64 * spacing[0]];
                let point =
                    |axis: usize| place[axis] + off[0] * directions[axis] + off[1] * directions[3 + axis];
                marked.push((labels[segment - 1].clone(), [point(0), point(1), point(2)]));
            }
        }
    }
    marked
}

#[test]
fn dicom_results_mark_the_masks_voxels_however_the_series_lies_and_say_what_the_document_says() {
    use dicom_dictionary_std::tags;
    let folder = tempfile::tempdir().unwrap();
    let volume = nifti::read(&root().join("testing_dataset/phantom-11-001.nii.gz")).unwrap();
    let voxels = volume.voxels.mapv(|value| value.clamp(-1024.0, 30000.0) as i16);
    let [wide, deep, high] = volume.geometry.spacing;
    let origin = volume.geometry.world([0.0; 3]);
    let end = volume.geometry.extent();
    let [x, y, z] = [-origin[0], -origin[1], origin[2]];
    // Axial; coronal from the front, rows to the feet; sagittal, slices to the right; an axial one with a tilted gantry.
    let (left, back) = ([1.0, 0.0, 0.0], [0.0, 1.0, 0.0]);
    let (right, feet) = ([-1.0, 0.0, 0.0], [0.0, 0.0, -1.0]);
    let axial = Series { spacing: [wide, deep, high], origin: [x, y, z], ..ct() };
    let coronal = Series {
        uid: "1.2.826.11".into(),
        spacing: [wide, high, deep],
        origin: [x, y, z + end[2]],
        directions: [left, feet, back],
        ..ct()
    };
    let sagittal = Series {
        uid: "1.2.826.12".into(),
        spacing: [deep, high, wide],
        origin: [x + end[0], y, z + end[2]],
        directions: [back, feet, right],
        ..ct()
    };
    let tilted = Series { uid: "1.2.826.13".into(), shear: 0.1, ..axial.clone() };
    let turned = |axes: [usize; 3], flips: [bool; 3]| {
        let mut view = voxels.view().permuted_axes(axes);
        for (axis, _) in flips.iter().enumerate().filter(|(_, flip)| **flip) {
            view.invert_axis(ndarray::Axis(axis));
        }
        view.as_standard_layout().into_owned()
    };
    let name = |index: usize| format!("{index:05}.dcm");
    let scans = folder.path().join("scans");
    axial.write(&scans.join("axial"), &voxels, name);
    coronal.write(&scans.join("coronal"), &turned([0, 2, 1], [false, true, false]), name);
    sagittal.write(&scans.join("sagittal"), &turned([1, 2, 0], [false, true, true]), name);
    tilted.write(&scans.join("tilted"), &voxels, name);
    let ran = predict(folder.path(), "scans --measure --format mask,dicom-seg,dicom-sr");
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    for series in ["axial", "coronal", "sagittal", "tilted"] {
        let out = |ending: &str| folder.path().join("out").join(format!("{series}{ending}"));
        let mask = nifti::read(&out("_seg.nii.gz")).unwrap();
        let mut rest = mask.voxels.clone();
        let points = marked(&out("_seg.dcm"));
        assert!(points.len() > 1000, "{series}: {}", points.len());
        for (label, [x, y, z]) in points {
            let index = mask.geometry.unworld([-x, -y, z]).unwrap();
            let nearest = index.map(|part| part.round() as usize);
            assert!(index.iter().zip(nearest).all(|(at, near)| (at - near as f64).abs() < 0.02), "{index:?}");
            let level: vertebrae::anatomy::Level = label.parse().unwrap();
            assert_eq!(rest[nearest], f32::from(vertebrae::measurement::number(level)), "{series}: {label}");
            rest[nearest] = 0.0;
        }
        // And none is left unmarked.
        assert!(rest.iter().all(|&value| value == 0.0), "{series}");

        let report = dicom_object::open_file(out("_sr.dcm")).unwrap();
        assert_eq!(report.element(tags::PATIENT_NAME).unwrap().to_str().unwrap(), "Sp\u{ee}ne^Phantom");
        let mut said = Vec::new();
        numbers_of(&report, &mut said);
        let document: Value =
            serde_json::from_slice(&std::fs::read(out(".vertebrae.json")).unwrap()).unwrap();
        let found = document["vertebrae"].as_array().unwrap();
        for vertebra in found {
            let expected = [
                ("Certainty of Finding", (vertebra["confidence"].as_f64().unwrap() * 1000.0).round() / 10.0),
                ("Height", vertebra["measured"]["heights_mm"]["anterior"].as_f64().unwrap_or(f64::NAN)),
                ("Attenuation Coefficient", vertebra["measured"]["hu"]["mean"].as_f64().unwrap_or(f64::NAN)),
            ];
            for (name, value) in expected.into_iter().filter(|(_, value)| value.is_finite()) {
                assert!(said.iter().any(|(said, number)| said == name && *number == value), "{name} {value}");
            }
        }
        assert_eq!(said.iter().filter(|(name, _)| name == "Certainty of Feature").count(), found.len());
    }
    // A second run has nothing to do, and results are no scans.
    let again = predict(folder.path(), "scans --measure --format mask,dicom-seg,dicom-sr --resume");
    assert!(again.stderr.contains("4 done before"), "{}", again.stderr);
    let own = predict(folder.path(), "out");
    assert!(own.stderr.contains("out holds no scan"), "{}", own.stderr);
}

#[test]
fn dicom_results_of_a_file_that_is_no_dicom_are_left_out_with_a_word() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::copy(root().join("testing_dataset/phantom-11-001.nii.gz"), folder.path().join("a.nii.gz"))
        .unwrap();
    let ran = predict(folder.path(), "a.nii.gz --format dicom-seg,dicom-sr");
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    let sentence = "a_sr.dcm is not written: a.nii.gz is no folder of DICOM slices";
    assert!(ran.stderr.contains(sentence), "{}", ran.stderr);
    assert!(!folder.path().join("out/a_seg.dcm").exists());
    let again = predict(folder.path(), "a.nii.gz --format dicom-seg,dicom-sr --resume");
    assert!(!again.stdout.contains("a.nii.gz"), "{}", again.stdout);
}

/// Names and values of all numbers of a report.
fn numbers_of(object: &dicom_object::InMemDicomObject, said: &mut Vec<(String, f64)>) {
    use dicom_dictionary_std::tags;
    let first = |tag| object.get(tag).and_then(|element| element.items()?.first());
    if let Some(value) = first(tags::MEASURED_VALUE_SEQUENCE) {
        let name = first(tags::CONCEPT_NAME_CODE_SEQUENCE).unwrap().get(tags::CODE_MEANING).unwrap();
        let number = value.get(tags::NUMERIC_VALUE).unwrap().to_float64().unwrap();
        said.push((name.to_str().unwrap().trim().to_owned(), number));
    }
    for child in object.get(tags::CONTENT_SEQUENCE).and_then(|element| element.items()).unwrap_or_default() {
        numbers_of(child, said);
    }
}
