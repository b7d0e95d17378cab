//! Any bytes as a MetaImage file: read or refused.
#![no_main]

use libfuzzer_sys::fuzz_target;
use vertebrae::scan::{Scan, metaimage};

fuzz_target!(|bytes: &[u8]| {
    let file = tempfile::Builder::new().suffix(".mha").tempfile_in("/dev/shm").unwrap();
    std::fs::write(file.path(), bytes).unwrap();
    let _ = metaimage::geometry(file.path());
    let _ = Scan::read(file.path());
});
