//! How far a long piece of work has come, told to whoever wants to know.

use std::fmt;

use anyhow::Result;

/// What is being done.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Stage {
    /// The spine is looked for in a whole scan.
    Course,
    /// Its bodies are located.
    Bodies,
    /// They are named.
    Names,
    /// They are measured.
    Measuring,
    /// The published way: voxels of bodies are marked, in pieces of a volume.
    Detection {
        /// Voxels that the network sees at once, `[x, y, z]`.
        patch: [usize; 3],
        /// Of these, what is kept.
        kept: [usize; 3],
        /// Voxels of the volume.
        shape: [usize; 3],
        /// Voxels of the volume after padding to whole pieces.
        padded: [usize; 3],
    },
    /// The published way: the level of every voxel on the slices around the spine.
    Identification,
    /// The published way: the voxels of a level become a centroid.
    Aggregation,
    /// An epoch of a training, from 1.
    Epoch(usize),
    /// The check after it.
    Validation(usize),
    /// Something is timed.
    Timing(String),
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Stage::Course => f.write_str("course"),
            Stage::Bodies => f.write_str("bodies"),
            Stage::Names => f.write_str("names"),
            Stage::Measuring => f.write_str("measuring"),
            Stage::Detection { .. } => f.write_str("detection"),
            Stage::Identification => f.write_str("identification"),
            Stage::Aggregation => f.write_str("aggregation"),
            Stage::Validation(number) => write!(f, "validation {number}"),
            Stage::Epoch(number) => write!(f, "epoch {number}"),
            Stage::Timing(name) => f.write_str(name),
        }
    }
}

/// Is told by whoever does the work, at the time. An error, such as of a text that cannot be written, ends the work.
pub trait Observer {
    /// A stage of so many steps begins; the one before is done. 0 steps: nobody can say how many.
    fn begins(&mut self, stage: Stage, steps: usize) -> Result<()> {
        let _ = (stage, steps);
        Ok(())
    }

    /// So many more steps are done.
    fn advances(&mut self, steps: usize) {
        let _ = steps;
    }

    /// Nothing is under way any longer; what was done may be printed.
    fn ends(&mut self) {}

    /// Something worth a short remark, such as the loss so far.
    fn remarks(&mut self, text: &str) {
        let _ = text;
    }
}

/// For those who do not want to know.
impl Observer for () {}
