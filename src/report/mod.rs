//! What a person gets to see: the README's text, pictures, numbers.

mod boxplot;
mod canvas;
pub mod collection;
pub mod colours;
pub mod dicom;
mod evidence;
pub mod layout;
mod measure;
pub mod measurements;
pub mod numbers;
mod page;
mod picture;
pub mod prediction;
pub mod run;
mod thumbnail;

pub use boxplot::boxplot;
pub use evidence::evidence;
pub use measure::MeasureText;
pub use picture::{preview, sagittal};
