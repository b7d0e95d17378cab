//! Training: samples on disk become weights.

mod adam;
mod batches;
mod centring;
mod checkpoint;
mod learner;
pub(crate) mod lineage;
mod losses;
mod metrics;
mod moments;
mod objective;
mod spine_loss;
pub mod strip;
mod tensorboard;
mod trainer;
mod volumes;

pub use adam::Adam;
pub use batches::{Batch, Examples, Samples};
pub use checkpoint::Checkpoint;
pub use learner::Learner;
pub use losses::{DetectionLoss, combined, dice, masked_distance, weighted_cross_entropy};
pub use metrics::{Scores, detection_scores, identification_scores};
pub use objective::Objective;
pub use tensorboard::ScalarLog;
pub use trainer::{Epoch, Options, train};
pub use volumes::{Use, Volumes};
