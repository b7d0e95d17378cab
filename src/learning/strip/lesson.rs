//! What a strip network is taught.

use anyhow::Result;
use ndarray::{Array2, Array3};

use crate::learning::metrics::Scores;
use crate::network::{StripArchitecture, StripPredictor};
use crate::random::Legacy;

/// One spine to learn from.
pub struct Example<T> {
    /// Views from the front `[view, left, along]` and from the side `[view, back, along]`.
    pub views: [Array3<f32>; 2],
    /// Marks `[mark, step]`, if the network takes any.
    pub marks: Option<Array2<f32>>,
    /// What the answer should be.
    pub truth: T,
}

/// How wrong an answer is.
pub struct Verdict {
    /// The loss, a mean over the batch.
    pub loss: f64,
    /// Its gradient with respect to the answer, `[spine, output, step]`.
    pub gradient: Array3<f32>,
    /// Figures to watch.
    pub scores: Scores,
}

/// A network's purpose: where its examples come from, what is wrong with an answer, and how well a
/// trained network does.
pub trait Lesson: Sync {
    /// What the answer to an example should be.
    type Truth: Send;

    /// What the network looks like.
    fn architecture(&self) -> StripArchitecture;

    /// An example; the same random numbers give the same one.
    fn draw(&self, random: &mut Legacy) -> Example<Self::Truth>;

    /// How wrong the answers `[spine, output, step]` of a batch are.
    fn judge(&self, answers: &Array3<f32>, truths: &[Self::Truth]) -> Verdict;

    /// How well the network does on the scans kept for that, used as it will be used.
    fn examine(&self, network: Box<dyn StripPredictor>) -> Result<Scores>;
}
