//! What a person gets to see: the README's text, pictures, numbers.

mod boxplot;
mod canvas;
pub mod collection;
mod measure;
pub mod numbers;
mod page;
mod picture;
pub mod prediction;
pub mod run;
mod thumbnail;

pub use boxplot::boxplot;
pub use measure::MeasureText;
pub use picture::{preview, sagittal};
