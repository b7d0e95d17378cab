//! Any bytes as a NIfTI file of either version, zipped or not: read or refused.
#![no_main]

use libfuzzer_sys::fuzz_target;
use vertebrae::scan::{Scan, nifti};

fuzz_target!(|bytes: &[u8]| {
    let file = tempfile::NamedTempFile::new_in("/dev/shm").unwrap();
    std::fs::write(file.path(), bytes).unwrap();
    let _ = nifti::geometry(file.path());
    let _ = Scan::read(file.path());
});
