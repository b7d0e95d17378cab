//! A spine straightened: its course through the patient, what lies around it, and flat views of that.
//!
//! Along a course every step is as far below the one before; across it the axes follow the patient's
//! left and back. In such a frame vertebrae stand above each other like the rungs of a ladder,
//! whatever the curves of the spine, and a few projections show what a reader counts by: bodies,
//! ribs, the sacrum, lungs.

mod block;
mod course;
mod even;
mod spline;
mod view;

pub use block::{Across, Block};
pub use course::{Course, Place};
pub use even::{Even, UNSEEN};
pub use view::{Kind, NOTHING, Range, View, Views, Window};
