//! Samples on disk → batches in memory, the next ones read while one is computed.

use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, sync_channel};

use anyhow::{Context, Result, ensure};
use ndarray::{Ix2, Ix3};

use super::lineage;
use crate::network::Kind;
use crate::random::Legacy;
use crate::sampling::npy::{self, LABELLING, SAMPLE};

/// Batches read ahead.
const AHEAD: usize = 2;

/// The samples of a folder, in order of their names.
#[derive(Debug)]
pub struct Samples {
    folder: PathBuf,
    kind: Kind,
    pairs: Vec<(PathBuf, PathBuf)>,
}

/// Some samples stacked for a network.
#[derive(Debug)]
pub struct Batch {
    /// `[n, inputs, x, y, z]`.
    pub input: Vec<f32>,
    /// Its shape.
    pub shape: [usize; 5],
    /// `[n, 1, x, y, z]`, or as many channels as the objective needs.
    pub labels: Vec<f32>,
}

impl Batch {
    /// The shape of the labels.
    pub(crate) fn label_shape(&self) -> [usize; 5] {
        let [n, _, x, y, z] = self.shape;
        [n, self.labels.len() / (n * x * y * z).max(1), x, y, z]
    }
}

/// What a network learns from: numbered examples that come in batches.
pub trait Examples: Sync {
    /// The folder they come from.
    fn folder(&self) -> &Path;

    /// Which they are: their number and a hash of their names.
    fn lineage(&self) -> String;

    /// How many an epoch holds.
    fn count(&self) -> usize;

    /// The numbers of an epoch's examples in the order in which it takes them; the same for the same
    /// seed and epoch, so that a resumed training takes the order it would have taken.
    fn order(&self, seed: u32, epoch: usize) -> Vec<usize>;

    /// Some examples, stacked.
    fn batch(&self, numbers: &[usize]) -> Result<Batch>;

    /// Makes the batches of `order` on a thread of its own and hands each to `work`.
    ///
    /// Batches hold `size` examples; a smaller last one is dropped if `whole`.
    fn for_each_batch(
        &self,
        order: &[usize],
        size: usize,
        whole: bool,
        work: &mut dyn FnMut(Batch) -> Result<()>,
    ) -> Result<()> {
        std::thread::scope(|scope| {
            let (send, receive) = sync_channel(AHEAD);
            scope.spawn(move || {
                for group in order.chunks(size).filter(|group| !whole || group.len() == size) {
                    // Sending fails when the receiver has given up; so does the reader then.
                    if send.send(self.batch(group)).is_err() {
                        return;
                    }
                }
            });
            let receive: Receiver<Result<Batch>> = receive;
            for batch in receive.iter() {
                work(batch?)?;
            }
            Ok(())
        })
    }
}

impl Samples {
    /// Finds the samples of a folder; a sample without a labelling is an error.
    pub fn find(folder: &Path, kind: Kind) -> Result<Samples> {
        let listing = std::fs::read_dir(folder)
            .with_context(|| format!("the sample folder {} cannot be listed", folder.display()))?;
        let mut pairs = Vec::new();
        for entry in listing {
            let sample = entry?.path();
            let name = sample.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let Some(stem) = name.strip_suffix(SAMPLE).filter(|stem| !stem.starts_with('.')) else {
                continue;
            };
            let labelling = folder.join(format!("{stem}{LABELLING}"));
            ensure!(
                labelling.is_file(),
                "{} is missing beside {}; generate the samples again",
                labelling.display(),
                sample.display()
            );
            pairs.push((sample, labelling));
        }
        ensure!(
            !pairs.is_empty(),
            "{} holds no sample (NAME-1{SAMPLE} with NAME-1{LABELLING}); make some with 'vertebrae gen-{kind}'",
            folder.display()
        );
        pairs.sort();
        Ok(Samples { folder: folder.to_owned(), kind, pairs })
    }
}

impl Examples for Samples {
    fn folder(&self) -> &Path {
        &self.folder
    }

    fn lineage(&self) -> String {
        lineage::of(self.pairs.iter().map(|(sample, _)| sample.as_path()))
    }

    fn count(&self) -> usize {
        self.pairs.len()
    }

    fn order(&self, seed: u32, epoch: usize) -> Vec<usize> {
        let mut order: Vec<usize> = (0..self.count()).collect();
        let mut random = Legacy::seeded(seed.wrapping_mul(1_000_003).wrapping_add(epoch as u32));
        for last in (1..order.len()).rev() {
            order.swap(last, random.integer(0, last as i64 + 1) as usize);
        }
        order
    }

    fn batch(&self, group: &[usize]) -> Result<Batch> {
        let mut batch = Batch { input: Vec::new(), shape: [group.len(), 0, 0, 0, 0], labels: Vec::new() };
        for &index in group {
            let (sample, labelling) = &self.pairs[index];
            let shape = match self.kind {
                Kind::Detection => {
                    let input = npy::read::<Ix3>(sample)?;
                    let (x, y, z) = input.dim();
                    let labels = npy::read::<Ix3>(labelling)?;
                    ensure!(labels.dim() == input.dim(), "{} does not fit its sample", labelling.display());
                    batch.input.extend(input);
                    batch.labels.extend(labels);
                    [1, x, y, z]
                }
                Kind::Identification | Kind::Volume => {
                    let input = npy::read::<Ix3>(sample)?;
                    let (slices, y, z) = input.dim();
                    let labels = npy::read::<Ix2>(labelling)?;
                    ensure!(labels.dim() == (y, z), "{} does not fit its sample", labelling.display());
                    batch.input.extend(input);
                    batch.labels.extend(labels);
                    [slices, 1, y, z]
                }
            };
            ensure!(
                batch.shape[1] == 0 || batch.shape[1..] == shape,
                "{} has another size than the samples beside it; generate all with one --sample-size",
                sample.display()
            );
            batch.shape[1..].copy_from_slice(&shape);
        }
        Ok(batch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::{Array2, Array3};

    fn folder(count: usize) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for number in 1..=count {
            let (sample, labelling) = npy::paths(folder.path(), "scan", number);
            npy::write(&sample, &Array3::<f32>::from_elem((8, 2, 3), number as f32)).unwrap();
            npy::write(&labelling, &Array2::<u8>::from_elem((2, 3), number as u8)).unwrap();
        }
        folder
    }

    #[test]
    fn batches_hold_whole_groups_of_samples_with_their_labels() {
        let folder = folder(5);
        let samples = Samples::find(folder.path(), Kind::Identification).unwrap();
        let mut seen = Vec::new();
        samples
            .for_each_batch(&[4, 0, 1, 2, 3], 2, true, &mut |batch| {
                assert_eq!(batch.shape, [2, 8, 1, 2, 3]);
                assert_eq!(batch.label_shape(), [2, 1, 1, 2, 3]);
                assert_eq!((batch.input[0], batch.input[48]), (batch.labels[0], batch.labels[6]));
                seen.push(batch.labels[0]);
                Ok(())
            })
            .unwrap();
        assert_eq!(seen, [5.0, 2.0]);
    }

    #[test]
    fn every_epoch_has_its_own_order_and_the_same_one_each_time() {
        let folder = folder(9);
        let samples = Samples::find(folder.path(), Kind::Identification).unwrap();
        let mut order = samples.order(1, 3);
        assert_eq!(order, samples.order(1, 3));
        assert_ne!(order, samples.order(1, 4));
        order.sort_unstable();
        assert_eq!(order, (0..9).collect::<Vec<_>>());
    }

    #[test]
    fn a_folder_without_samples_or_with_an_orphan_is_named() {
        let empty = tempfile::tempdir().unwrap();
        let error = Samples::find(empty.path(), Kind::Detection).unwrap_err().to_string();
        assert!(error.contains("make some with 'vertebrae gen-detection'"), "{error}");
        let folder = folder(2);
        std::fs::remove_file(folder.path().join("scan-2-labelling.npy")).unwrap();
        let error = Samples::find(folder.path(), Kind::Identification).unwrap_err().to_string();
        assert!(error.contains("scan-2-labelling.npy is missing"), "{error}");
    }

    #[test]
    fn a_damaged_sample_ends_the_epoch_with_its_name() {
        let folder = folder(3);
        std::fs::write(folder.path().join("scan-2-sample.npy"), b"nothing").unwrap();
        let samples = Samples::find(folder.path(), Kind::Identification).unwrap();
        let error = samples.for_each_batch(&[0, 1, 2], 1, true, &mut |_| Ok(())).unwrap_err().to_string();
        assert!(error.contains("scan-2-sample.npy"), "{error}");
    }
}
