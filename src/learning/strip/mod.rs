//! Teaching the networks that read a straightened spine.
//!
//! Examples are drawn on the fly from annotated scans: a run of a spine is straightened along a course that
//! is wrong in the ways rough courses are, its field of view is narrowed, and the picture is changed as
//! other scanners and other people would change it.

mod bodies;
pub mod chain;
mod checkpoint;
mod lesson;
mod names;
mod run;
mod scanner;
mod source;
mod trainer;

pub use bodies::BodyLesson;
pub use checkpoint::{State, StripCheckpoint};
pub use lesson::{Example, Lesson, Verdict};
pub use names::NameLesson;
pub use source::{Source, Sources};
pub use trainer::{StripEpoch, StripOptions, train_strip};
