//! What both sample generators share: the announcement, the count of scans done, the bad ones.

use super::stdout::say;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::Result;

use super::options::Sharding;
use vertebrae::{batch, scan};

/// Calls `work` for every scan of a data set, several at once, and reports as the original did.
pub fn for_each_scan(
    dataset: &Path,
    sharding: Sharding,
    kind: &str,
    per_scan: usize,
    size: [usize; 3],
    work: impl Fn(&Path) -> Result<()> + Sync,
) -> Result<()> {
    let scans = scan::find(dataset)?;
    batch::check_names(&scans)?;
    let scans = sharding.part(scans);
    say!(
        "Generating {} {kind} samples of size {} for {} scans",
        per_scan * scans.len(),
        size.map(|part| part.to_string()).join(" x "),
        scans.len()
    );
    let done = AtomicUsize::new(0);
    let failures = batch::for_each(&scans, |_, path| {
        let result = work(path);
        say!("{} / {}", done.fetch_add(1, Ordering::Relaxed) + 1, scans.len());
        result
    });
    failures.into_result(scans.len())
}
