//! Results as DICOM, for archives and viewers: the bodies as a segmentation, names and measurements as a structured report.

mod codes;
mod content;
mod elements;
mod header;
mod segmentation;
mod structured;

pub use self::header::{Moment, Origin};
pub use self::segmentation::segmentation;
pub use self::structured::structured;
