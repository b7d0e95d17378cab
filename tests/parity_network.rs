//! The original's trained models, read as they are and computing the same (skipped without the data).

mod golden;

use burn::backend::Flex;
use ndarray::{Array2, Array3, Array4, Axis, s};
use vertebrae::network::{BurnPredictor, Kind, Predictor, Weights};

fn predictor(kind: Kind) -> Option<BurnPredictor<Flex>> {
    let path = golden::file(&format!("parity/{kind}.h5"))?;
    let weights = Weights::read(&path, kind).unwrap();
    Some(BurnPredictor::new(&weights, Default::default()))
}

#[test]
fn the_detection_network_computes_what_keras_computes() {
    let Some(network) = predictor(Kind::Detection) else { return };
    let mut npz = golden::npz("parity/forward.npz");
    let input: Array3<f32> = npz.by_name("detection_in").unwrap();
    let expected: Array4<f32> = npz.by_name("detection_out").unwrap();
    let output = network.predict(input.insert_axis(Axis(0)).insert_axis(Axis(0))).unwrap();
    let output = output.slice(s![0, .., .., .., ..]);
    let expected = expected.permuted_axes([3, 0, 1, 2]);
    let largest = output.iter().zip(&expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    println!("largest difference {largest:e}");
    // Probabilities; float32 sums in another order differ by some 1e-6.
    assert!(largest < 1e-4, "largest difference {largest}");
}

#[test]
fn the_identification_network_computes_what_keras_computes() {
    let Some(network) = predictor(Kind::Identification) else { return };
    let mut npz = golden::npz("parity/forward.npz");
    let input: Array3<f32> = npz.by_name("identification_in").unwrap();
    let expected: Array2<f32> = npz.by_name("identification_out").unwrap();
    let output = network.predict(input.insert_axis(Axis(1)).insert_axis(Axis(0))).unwrap();
    let output = output.slice(s![0, 0, 0, .., ..]);
    let largest = output.iter().zip(&expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    println!("largest difference {largest:e}");
    // Label values up to 26 out of sums over 100 taps of 128 channels.
    assert!(largest < 5e-3, "largest difference {largest}");
}

#[test]
fn a_model_written_as_h5_keeps_what_was_read() {
    let folder = tempfile::tempdir().unwrap();
    for kind in [Kind::Detection, Kind::Identification] {
        let Some(path) = golden::file(&format!("parity/{kind}.h5")) else { return };
        let weights = Weights::read(&path, kind).unwrap();
        let copy = folder.path().join(format!("{kind}.h5"));
        weights.write(&copy).unwrap();
        assert_eq!(Weights::read(&copy, kind).unwrap(), weights);
    }
}
