//! Any bytes as Slicer's markups, its table and VerSe's centroids: read or refused.
#![no_main]

use libfuzzer_sys::fuzz_target;
use vertebrae::annotation::landmark::Format;
use vertebrae::scan::Geometry;

fuzz_target!(|bytes: &[u8]| {
    let file = tempfile::NamedTempFile::new_in("/dev/shm").unwrap();
    std::fs::write(file.path(), bytes).unwrap();
    let affine = [[0.0, 2.0, 0.0, -10.0], [-0.5, 0.0, 0.0, 20.0], [0.0, 0.0, -3.0, 300.0]];
    let image = Geometry { shape: [20, 30, 40], spacing: [0.5, 2.0, 3.0], affine };
    for format in [Format::Markups, Format::Table, Format::Verse] {
        let _ = format.read(file.path(), Some(&image));
    }
});
