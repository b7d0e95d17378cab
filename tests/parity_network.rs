//! The original's trained models, read as they are and computing the same (skipped without the data).

mod golden;

use ndarray::{Array2, Array3, Array4, Axis, s};
use vertebrae::kernels::isa::Isa;
use vertebrae::network::{CpuPredictor, Kind, Predictor, Weights};

/// The golden model on every instruction set of this machine.
fn predictors(kind: Kind) -> Vec<(Isa, CpuPredictor)> {
    let Some(path) = golden::file(&format!("parity/{kind}.h5")) else { return vec![] };
    let weights = Weights::read(&path, kind).unwrap();
    Isa::available().into_iter().map(|isa| (isa, CpuPredictor::on(isa, &weights))).collect()
}

#[test]
fn the_detection_network_computes_what_keras_computes() {
    for (isa, network) in predictors(Kind::Detection) {
        let mut npz = golden::npz("parity/forward.npz");
        let input: Array3<f32> = npz.by_name("detection_in").unwrap();
        let expected: Array4<f32> = npz.by_name("detection_out").unwrap();
        let output = network.predict(input.insert_axis(Axis(0)).insert_axis(Axis(0))).unwrap();
        let output = output.slice(s![0, .., .., .., ..]);
        let expected = expected.permuted_axes([3, 0, 1, 2]);
        let largest = output.iter().zip(&expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        println!("{isa}: largest difference {largest:e}");
        // Probabilities; float32 sums in another order differ by some 1e-6.
        assert!(largest < 1e-4, "largest difference {largest}");
    }
}

#[test]
fn the_identification_network_computes_what_keras_computes() {
    for (isa, network) in predictors(Kind::Identification) {
        let mut npz = golden::npz("parity/forward.npz");
        let input: Array3<f32> = npz.by_name("identification_in").unwrap();
        let expected: Array2<f32> = npz.by_name("identification_out").unwrap();
        let output = network.predict(input.insert_axis(Axis(1)).insert_axis(Axis(0))).unwrap();
        let output = output.slice(s![0, 0, 0, .., ..]);
        let largest = output.iter().zip(&expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        println!("{isa}: largest difference {largest:e}");
        // Label values up to 26 out of sums over 100 taps of 128 channels.
        assert!(largest < 5e-3, "largest difference {largest}");
    }
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
