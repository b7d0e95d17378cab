//! A spine read along its course: where it runs, exact centres of its bodies, their names.
//!
//! [`course`] takes a coarse look at the whole scan, from one body on enough to begin with. The spine
//! is then straightened ([`crate::straighten`]) and read with two strip networks
//! ([`crate::network::Strip`]): [`bodies`] walks along it and puts a centre into every body, [`names`]
//! looks at all of it at once and says how likely each body is each level. The [`chain`] makes the most
//! likely spine of that.

pub mod bodies;
pub mod chain;
pub mod course;
pub mod names;
mod reader;
pub mod turned;

pub use chain::Chain;
pub use reader::{BODIES_SPACING, NAMES_SPACING, Reader, Shift, Spine, Vertebra};
