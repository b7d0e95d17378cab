//! Shards of the generating stages, run one after the other, are the whole run byte for byte.

mod scratch;

use std::path::Path;

use scratch::{files, run};

#[test]
fn shards_of_the_generating_stages_are_the_whole_byte_for_byte() {
    let folder = tempfile::tempdir().unwrap();
    let go = |arguments: &str| {
        let ran = run(folder.path(), arguments);
        assert_eq!(ran.code, Some(0), "{arguments}: {}", ran.stderr);
    };
    let same = |whole: &str, parts: &str| {
        let (a, b) = (folder.path().join(whole), folder.path().join(parts));
        assert_eq!(files(&a), files(&b));
        assert!(!files(&a).is_empty());
        let read = |folder: &Path, name: &str| std::fs::read(folder.join(name)).unwrap();
        for name in files(&a) {
            assert!(read(&a, &name) == read(&b, &name), "{whole}/{name}");
        }
    };
    let stages = [
        ("gen-phantom", "scans", "--scans 5 --seed 9 --voxel 3"),
        ("gen-detection scans", "boxes", "--spacing 3 --sample-size 16x16x32 --samples 2"),
        (
            "gen-identification scans",
            "slabs",
            "--spacing 3 --sample-size 8x32x96 --samples 2 --deformation 2",
        ),
    ];
    for (stage, output, options) in stages {
        go(&format!("{stage} {output} {options}"));
        // More shards than some of them have scans for.
        for number in [3, 1, 7, 2, 4, 6, 5] {
            go(&format!("{stage} {output}-parts {options} --shard {number}/7"));
        }
        same(output, &format!("{output}-parts"));
    }
}
