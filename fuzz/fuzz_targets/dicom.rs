//! Any bytes as one of two slices of a series: read or refused.
#![no_main]

use libfuzzer_sys::fuzz_target;
use vertebrae::scan::dicom;

fuzz_target!(|bytes: &[u8]| {
    let folder = tempfile::tempdir_in("/dev/shm").unwrap();
    // The first half is one file, the second the other, so that a pair can be stacked.
    let (first, second) = bytes.split_at(bytes.len() / 2);
    std::fs::write(folder.path().join("a"), first).unwrap();
    std::fs::write(folder.path().join("b"), second).unwrap();
    let _ = dicom::read(folder.path());
});
