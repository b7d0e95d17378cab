//! Any bytes as an NRRD file: read or refused.
#![no_main]

use libfuzzer_sys::fuzz_target;
use vertebrae::scan::{Scan, nrrd};

fuzz_target!(|bytes: &[u8]| {
    let file = tempfile::Builder::new().suffix(".nrrd").tempfile_in("/dev/shm").unwrap();
    std::fs::write(file.path(), bytes).unwrap();
    let _ = nrrd::geometry(file.path());
    let _ = Scan::read(file.path());
});
