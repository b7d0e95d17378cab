//! Any bytes as a .h5 model: read or refused.
#![no_main]

use libfuzzer_sys::fuzz_target;
use vertebrae::network::{Kind, Weights};

fuzz_target!(|bytes: &[u8]| {
    let file = tempfile::Builder::new().suffix(".h5").tempfile_in("/dev/shm").unwrap();
    std::fs::write(file.path(), bytes).unwrap();
    let _ = Weights::read(file.path(), Kind::Detection);
    let _ = Weights::read(file.path(), Kind::Identification);
});
