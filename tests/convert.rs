//! `vertebrae convert` through the built binary.

mod scratch;

use scratch::run;

#[test]
fn an_annotation_goes_through_every_format_and_comes_back() {
    let folder = tempfile::tempdir().unwrap();
    scratch::scan(folder.path(), "a", [40, 40, 60], &["T12", "L1", "L2"]);
    let go = |arguments: &str| {
        let ran = run(folder.path(), arguments);
        assert_eq!(ran.code, Some(0), "{arguments}: {}", ran.stderr);
    };
    let image = "--image a.nii.gz";
    go(&format!("convert a.lml b.mrk.json {image}"));
    go("convert b.mrk.json b.fcsv");
    go("convert b.fcsv c.csv");
    go(&format!("convert c.csv d_ctd.json {image}"));
    go(&format!("convert d_ctd.json e.lml {image}"));
    let read = |name: &str| vertebrae::annotation::lml::read(&folder.path().join(name)).unwrap();
    let (first, last) = (read("a.lml"), read("e.lml"));
    assert_eq!(first.len(), last.len());
    for (a, b) in first.iter().zip(&last) {
        assert_eq!(a.level, b.level);
        assert!((0..3).all(|axis| (a.mm[axis] - b.mm[axis]).abs() < 1e-3), "{a:?} became {b:?}");
    }
}

#[test]
fn a_format_that_needs_an_image_says_so_and_nothing_is_written() {
    let folder = tempfile::tempdir().unwrap();
    scratch::scan(folder.path(), "a", [40, 40, 60], &["L1", "L2"]);
    let ran = run(folder.path(), "convert a.lml b.csv");
    assert!(ran.code == Some(1) && ran.stderr.contains("name it with --image"), "{}", ran.stderr);
    let ran = run(folder.path(), "convert a.lml b.txt");
    assert!(ran.code == Some(1) && ran.stderr.contains("b.txt has no known ending"), "{}", ran.stderr);
    assert!(!folder.path().join("b.csv").exists());
}
