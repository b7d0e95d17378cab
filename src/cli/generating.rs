//! What both sample generators share: the announcement, the count of scans done, the bad ones.

use super::stdout::say;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::Result;

use super::options::Sharding;
use crate::sampling::record::Record;
use crate::{batch, scan};

/// What is generated from what.
pub struct Generation<'a> {
    pub dataset: &'a Path,
    /// Folder the samples go to, and what they have in common.
    pub samples: &'a Path,
    pub record: Record,
    pub sharding: Sharding,
    pub kind: &'a str,
    pub per_scan: usize,
    pub size: [usize; 3],
}

impl Generation<'_> {
    /// Calls `work` for every scan of the data set, several at once, and reports as the original did.
    pub fn run(self, work: impl Fn(&Path) -> Result<()> + Sync) -> Result<()> {
        let scans = scan::find(self.dataset)?;
        batch::check_names(&scans)?;
        self.record.write(self.samples)?;
        let scans = self.sharding.part(scans);
        say!(
            "Generating {} {} samples of size {} for {} scans",
            self.per_scan * scans.len(),
            self.kind,
            self.size.map(|part| part.to_string()).join(" x "),
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
}
