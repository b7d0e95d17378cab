//! What the original computed on a real CT, up to the training samples (skipped without the data).

mod golden;

use ndarray::{Array2, Array3, Array4, Axis};
use vertebrae::annotation::{Centroid, lml};
use vertebrae::sampling::{labelling, patches, slabs};
use vertebrae::scan::Scan;

/// The pancreas scan at 1 mm, normalised, with its annotation.
fn pancreas() -> Option<(Array3<f32>, Vec<Centroid>)> {
    let path = golden::file("cases/pancreas.nii.gz")?;
    let volume = Scan::read(&path).unwrap().normalised(1.0).0;
    Some((volume, lml::read(&lml::beside(&path)).unwrap()))
}

fn shape(volume: &Array3<f32>) -> [usize; 3] {
    volume.dim().into()
}

#[test]
fn the_normalised_volume_equals_the_originals() {
    let Some((volume, centroids)) = pancreas() else { return };
    let golden = golden::json("parity/volume.json");
    let expected_shape: [usize; 3] = serde_json::from_value(golden["shape"].clone()).unwrap();
    assert_eq!(shape(&volume), expected_shape);
    let points: Vec<[usize; 3]> = serde_json::from_value(golden["points"].clone()).unwrap();
    let values: Vec<f32> = serde_json::from_value(golden["values"].clone()).unwrap();
    // 1e-4 leaves room for float32 arithmetic in another order, at values of up to 5.
    for (point, value) in points.iter().zip(values) {
        assert!((volume[*point] - value).abs() < 1e-4, "{point:?}: {} instead of {value}", volume[*point]);
    }
    let mean = volume.iter().map(|&v| f64::from(v)).sum::<f64>() / volume.len() as f64;
    let square = volume.iter().map(|&v| (f64::from(v) - mean).powi(2)).sum::<f64>() / volume.len() as f64;
    assert!((mean - golden["mean"].as_f64().unwrap()).abs() < 1e-4);
    assert!((square.sqrt() - golden["std"].as_f64().unwrap()).abs() < 1e-4);
    let expected: Vec<[i64; 3]> = serde_json::from_value(golden["centroid_index"].clone()).unwrap();
    assert_eq!(labelling::centroid_indices(&centroids, 1.0), expected);
}

#[test]
fn both_dense_labellings_equal_the_originals() {
    let Some((volume, centroids)) = pancreas() else { return };
    let mut npz = golden::npz("parity/labelling.npz");
    for (kind, name) in
        [(labelling::Kind::Detection, "detection"), (labelling::Kind::Identification, "identification")]
    {
        let expected: Array3<u8> = npz.by_name(name).unwrap();
        let painted = labelling::paint(shape(&volume), &centroids, 1.0, kind).unwrap();
        let differing = painted.iter().zip(&expected).filter(|(a, b)| a != b).count();
        assert_eq!(differing, 0, "voxels of the {name} labelling");
    }
}

#[test]
fn detection_samples_equal_the_originals() {
    let Some((volume, centroids)) = pancreas() else { return };
    let painted = labelling::paint(shape(&volume), &centroids, 1.0, labelling::Kind::Detection).unwrap();
    let options = patches::Options { size: [64, 64, 80], count: 5, seed: 1 };
    let patches = patches::cut(&volume, &painted, &options).unwrap();
    let golden = golden::json("parity/sampling.json");
    let corners: Vec<[usize; 3]> = serde_json::from_value(golden["detection_corners"].clone()).unwrap();
    assert_eq!(patches.iter().map(|patch| patch.corner).collect::<Vec<_>>(), corners);
    let mut npz = golden::npz("parity/gen-detection.npz");
    let labellings: Array4<u8> = npz.by_name("labellings").unwrap();
    for (patch, expected) in patches.iter().zip(labellings.outer_iter()) {
        assert_eq!(patch.labelling, expected);
    }
    let sample: Array3<f32> = npz.by_name("sample_1").unwrap();
    // 1e-4: the volume's own tolerance.
    assert!(patches[0].sample.iter().zip(&sample).all(|(a, b)| (a - b).abs() < 1e-4));
}

#[test]
fn identification_samples_equal_the_originals() {
    let Some((volume, centroids)) = pancreas() else { return };
    let painted = labelling::paint(shape(&volume), &centroids, 1.0, labelling::Kind::Identification).unwrap();
    let xs: Vec<i64> = labelling::centroid_indices(&centroids, 1.0).iter().map(|index| index[0]).collect();
    let options = slabs::Options { size: [8, 80, 320], count: 100, seed: 1, sigma: 7.0 };
    let mut npz = golden::npz("parity/gen-identification.npz");
    let samples: Array4<f32> = npz.by_name("samples").unwrap();
    let labellings: Array3<u8> = npz.by_name("labellings").unwrap();
    let (mut number, mut wrong_pixels) = (0, 0);
    slabs::cut(&volume, &painted, &xs, &options, |slab| {
        let expected: Array2<u8> = labellings.index_axis(Axis(0), number).to_owned();
        wrong_pixels += slab.labelling.iter().zip(&expected).filter(|(a, b)| a != b).count();
        if number < samples.len_of(Axis(0)) {
            let sample = samples.index_axis(Axis(0), number);
            let wrong = slab.sample.iter().zip(&sample).filter(|(a, b)| (*a - *b).abs() > 1e-4).count();
            // A displacement that falls on half a voxel may round either way.
            assert!(wrong * 1000 <= sample.len(), "{wrong} voxels of sample {number} differ");
        }
        number += 1;
        Ok(())
    })
    .unwrap();
    assert_eq!(number, 100);
    println!("{wrong_pixels} label pixels of {} differ", labellings.len());
    assert!(wrong_pixels * 1000 <= labellings.len(), "{wrong_pixels} label pixels differ");
}

#[test]
fn the_other_real_scan_is_brought_to_lps_with_its_centroids_in_bone() {
    let Some(path) = golden::file("cases/totalseg.nii.gz") else { return };
    let scan = Scan::read(&path).unwrap();
    let extent = scan.volume.geometry.extent();
    for centroid in lml::read(&lml::beside(&path)).unwrap() {
        let inside = scan.frame.from_stored(centroid.mm);
        // Stored RAS: taking the file as LPS would put the point where x and y are mirrored.
        let mirrored = [extent[0] - inside[0], extent[1] - inside[1], inside[2]];
        let (right, wrong) = (mean_in_ball(&scan, inside), mean_in_ball(&scan, mirrored));
        assert!(right > wrong, "{}: {right} HU is not above {wrong} HU", centroid.level);
    }
}

/// Mean intensity within 5 mm of a point.
fn mean_in_ball(scan: &Scan, mm: [f64; 3]) -> f64 {
    let geometry = &scan.volume.geometry;
    let (mut sum, mut count) = (0.0, 0);
    for (index, &value) in scan.volume.voxels.indexed_iter() {
        let index: [usize; 3] = index.into();
        let square: f64 =
            (0..3).map(|axis| (index[axis] as f64 * geometry.spacing[axis] - mm[axis]).powi(2)).sum();
        if square <= 25.0 {
            sum += f64::from(value);
            count += 1;
        }
    }
    sum / f64::from(count)
}
