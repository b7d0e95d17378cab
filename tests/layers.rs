//! The order in which modules know each other: data flows one way, so no import runs against it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// The library's modules, each of which may use those above it only.
const ORDER: &[&str] = &[
    "random",
    "artifact",
    "memory",
    "progress",
    "anatomy",
    "scan",
    "batch",
    "annotation",
    "kernels",
    "straighten",
    "network",
    "device",
    "sampling",
    "phantom",
    "inference",
    "decoding",
    "spine",
    "measurement",
    "pipeline",
    "analysis",
    "learning",
    "evaluation",
    "benchmark",
    "report",
];

fn sources(folder: &Path) -> Vec<PathBuf> {
    let all = walkdir::WalkDir::new(folder).into_iter().map(|entry| entry.unwrap().into_path());
    all.filter(|path| path.extension().is_some_and(|ending| ending == "rs")).collect()
}

/// The modules that a text names as `crate::MODULE`, its tests left out.
fn used(text: &str) -> BTreeSet<&str> {
    let code = text.split("#[cfg(test)]\nmod tests").next().unwrap_or_default();
    let named = code.split("crate::").skip(1);
    named
        .map(|rest| rest.split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap_or_default())
        .collect()
}

#[test]
fn no_import_runs_against_the_flow() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let place: BTreeMap<&str, usize> = ORDER.iter().enumerate().map(|(place, name)| (*name, place)).collect();
    let mut against = Vec::new();
    let mut seen = BTreeSet::new();
    for path in sources(&source) {
        let within = path.strip_prefix(&source).unwrap();
        let first = within.components().next().unwrap().as_os_str().to_str().unwrap();
        let module = first.trim_end_matches(".rs");
        // The program and its command line use the library as a stranger would.
        if ["main", "lib", "allocator", "cli"].contains(&module) {
            continue;
        }
        let here = *place.get(module).unwrap_or_else(|| panic!("{module} has no place in the order"));
        seen.insert(module.to_owned());
        let text = std::fs::read_to_string(&path).unwrap();
        for other in used(&text) {
            if place.get(other).is_some_and(|&there| there > here) {
                against.push(format!("{} uses {other}", within.display()));
            }
        }
    }
    assert!(against.is_empty(), "{against:#?}");
    assert_eq!(seen.len(), ORDER.len(), "{seen:?}");
}
