//! Many scans, of which some may be bad: the rest is done, the bad ones are listed at the end.

use std::collections::HashMap;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Error, Result, anyhow, bail};
use serde::{Deserialize, Serialize};

/// Scans prepared at the same time at most: one takes up to some 0.5 GB.
const AT_ONCE: usize = 8;

/// Every n-th part of a list: scans are dealt out in turn, so that shards take equally long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shard {
    /// Which one, from 1 on.
    pub number: usize,
    /// Of how many.
    pub of: usize,
}

impl Shard {
    /// The whole list.
    pub const ALL: Shard = Shard { number: 1, of: 1 };

    /// The shard's part of a list, in its order.
    pub fn part<T>(self, list: Vec<T>) -> Vec<T> {
        list.into_iter().skip(self.number - 1).step_by(self.of).collect()
    }
}

impl fmt::Display for Shard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.number, self.of)
    }
}

impl FromStr for Shard {
    type Err = Error;

    /// `2/8` → the second of eight.
    fn from_str(text: &str) -> Result<Shard> {
        let parts = text.split_once('/').and_then(|(i, n)| Some((i.parse().ok()?, n.parse().ok()?)));
        match parts {
            Some((number, of)) if (1..=of).contains(&number) => Ok(Shard { number, of }),
            _ => bail!("two numbers are needed, such as 1/8 for the first of eight parts"),
        }
    }
}

/// A scan that could not be used.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Failed {
    /// As it was named.
    #[serde(serialize_with = "crate::artifact::lossy")]
    pub path: PathBuf,
    /// A sentence that says why.
    pub error: String,
}

/// The scans of a run that could not be used.
#[derive(Debug, Default)]
pub struct Failures(Vec<(PathBuf, Error)>);

impl Failures {
    /// Notes that `path` could not be used.
    pub fn add(&mut self, path: &Path, error: Error) {
        self.0.push((path.to_owned(), error));
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Every bad scan with its sentence, for the record of the run.
    pub fn listed(&self) -> Vec<Failed> {
        let failed =
            |(path, error): &(PathBuf, Error)| Failed { path: path.clone(), error: sentence(path, error) };
        self.0.iter().map(failed).collect()
    }

    /// The sentence for each bad scan, in order of their paths.
    pub fn sentences(&self) -> Vec<String> {
        let mut sorted: Vec<_> = self.0.iter().collect();
        sorted.sort_by(|a, b| a.0.cmp(&b.0));
        sorted.into_iter().map(|(path, error)| sentence(path, error)).collect()
    }

    /// An error that lists every bad scan, if there is one.
    pub fn into_result(self, of: usize) -> Result<()> {
        if self.0.is_empty() {
            return Ok(());
        }
        let list: String = self.sentences().iter().map(|sentence| format!("\n  {sentence}")).collect();
        bail!("{} of {of} scans could not be used:{list}", self.0.len())
    }
}

/// What is wrong with a scan, with its name; most errors name it already.
pub fn sentence(path: &Path, error: &Error) -> String {
    let (path, sentence) = (path.display().to_string(), format!("{error:#}"));
    if sentence.contains(&path) { sentence } else { format!("{path}: {sentence}") }
}

/// Calls `work` for every path and its index, several at once, and collects the failures.
pub fn for_each(paths: &[PathBuf], work: impl Fn(usize, &Path) -> Result<()> + Sync) -> Failures {
    let next = AtomicUsize::new(0);
    let failures = Mutex::new(Failures::default());
    // Plain threads and not rayon's: a rayon worker that waits inside one scan would begin another
    // and hold both in memory.
    let workers = std::thread::available_parallelism().map_or(1, usize::from).min(AT_ONCE).min(paths.len());
    std::thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| {
                loop {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    let Some(path) = paths.get(index) else { return };
                    if let Err(error) = work(index, path) {
                        let mut failures = failures.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
                        failures.add(path, error);
                    }
                }
            });
        }
    });
    failures.into_inner().unwrap_or_else(|poisoned| poisoned.into_inner())
}

/// Calls `read` for each path in turn, and `work` with what it read while the next path is being read; returns for
/// how many paths. `work` says whether to go on, and an error of its own ends the run.
///
/// Two scans are in memory: one that is worked on and one that was read or is being read. A reader that panics
/// has met a scan it cannot use, no more.
pub fn read_ahead<T: Send>(
    paths: &[PathBuf],
    read: impl Fn(&Path) -> Result<T> + Sync,
    mut work: impl FnMut(&Path, Result<T>) -> Result<bool>,
) -> Result<usize> {
    // Without a buffer: the reader holds the next scan until it is asked for.
    let (sender, receiver) = std::sync::mpsc::sync_channel(0);
    let read = &read;
    // The receiver moves in, so that an early end of the work lets go of a reader that waits.
    std::thread::scope(move |scope| {
        scope.spawn(move || {
            for path in paths {
                let read = catch_unwind(AssertUnwindSafe(|| read(path)));
                let read =
                    read.unwrap_or_else(|_| Err(anyhow!("reading it failed unexpectedly; export it again")));
                if sender.send(read).is_err() {
                    return;
                }
            }
        });
        let mut taken = 0;
        for (path, read) in paths.iter().zip(&receiver) {
            taken += 1;
            if !work(path, read)? {
                break;
            }
        }
        drop(receiver);
        Ok(taken)
    })
}

/// Refuses scans whose samples would overwrite each other.
pub fn check_names(paths: &[PathBuf]) -> Result<()> {
    let mut seen: HashMap<String, &Path> = HashMap::new();
    for path in paths {
        if let Some(other) = seen.insert(crate::scan::name(path), path) {
            bail!(
                "{} and {} have the same name, so their results would overwrite each other; rename one \
                 or use two output folders",
                other.display(),
                path.display()
            );
        }
    }
    Ok(())
}

/// Does the work for one scan; a panic in it, of a dependency for example, is that scan's failure and no more.
pub fn guarded<T>(work: impl FnOnce() -> Result<T>) -> Result<T> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|cause| {
        let text = cause.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| cause.downcast_ref::<&str>().copied()).unwrap_or("no reason given");
        Err(anyhow!("it could not be analysed: an error in this program ({text}); please report it"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shards_deal_a_list_out() {
        let list: Vec<usize> = (0..10).collect();
        let parts: Vec<Vec<usize>> =
            (1..=3).map(|number| Shard { number, of: 3 }.part(list.clone())).collect();
        assert_eq!(parts[1], [1, 4, 7]);
        let mut all = parts.concat();
        all.sort_unstable();
        assert_eq!(all, list);
        assert_eq!("2/8".parse::<Shard>().unwrap(), Shard { number: 2, of: 8 });
        for wrong in ["0/2", "3/2", "1", "a/b", "1/0"] {
            assert!(wrong.parse::<Shard>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn every_scan_is_worked_on_once_and_failures_are_listed_in_order() {
        let paths: Vec<PathBuf> = (0..40).map(|i| PathBuf::from(format!("{i:02}"))).collect();
        let count = AtomicUsize::new(0);
        let failures = for_each(&paths, |_, path| {
            count.fetch_add(1, Ordering::Relaxed);
            if path.ends_with("07") || path.ends_with("31") { bail!("it is broken") } else { Ok(()) }
        });
        assert_eq!(count.into_inner(), 40);
        assert_eq!(failures.sentences(), ["07: it is broken", "31: it is broken"]);
        let text = failures.into_result(40).unwrap_err().to_string();
        assert_eq!(text, "2 of 40 scans could not be used:\n  07: it is broken\n  31: it is broken");
    }

    #[test]
    fn the_next_path_is_read_while_one_is_worked_on_and_a_panic_is_a_bad_scan() {
        let paths: Vec<PathBuf> = (0..10).map(|i| PathBuf::from(i.to_string())).collect();
        let begun = AtomicUsize::new(0);
        let read = |path: &Path| -> Result<usize> {
            begun.fetch_add(1, Ordering::SeqCst);
            let number = path.to_string_lossy().parse()?;
            assert!(number != 3, "a library gives up");
            Ok(number)
        };
        let mut seen = Vec::new();
        let work = |_: &Path, number: Result<usize>| {
            // Wait until the reader is ahead, but no further than one.
            let at = seen.len();
            while begun.load(Ordering::SeqCst) < at + 2 {
                std::thread::yield_now();
            }
            assert!(begun.load(Ordering::SeqCst) <= at + 2);
            seen.push(number.map_err(|error| error.to_string()));
            Ok(seen.len() < 6)
        };
        assert_eq!(read_ahead(&paths, read, work).unwrap(), 6);
        assert_eq!(seen[2], Ok(2));
        assert!(seen[3].as_ref().unwrap_err().contains("failed unexpectedly"));
        assert_eq!(seen[5], Ok(5));
    }

    #[test]
    fn equal_names_in_different_folders_are_refused() {
        let paths = ["a/x.nii.gz", "b/x.nii"].map(PathBuf::from);
        let error = check_names(&paths).unwrap_err().to_string();
        assert!(error.contains("a/x.nii.gz and b/x.nii have the same name"), "{error}");
        assert!(check_names(&paths[..1]).is_ok());
    }

    #[test]
    fn a_panic_is_one_scans_failure() {
        let error = guarded(|| -> Result<()> { panic!("an index of {}", 7) }).unwrap_err().to_string();
        assert!(error.contains("an index of 7"), "{error}");
        assert_eq!(guarded(|| Ok(1)).unwrap(), 1);
    }
}
