//! What a person gets to see: the README's text, pictures, numbers.

mod boxplot;
mod canvas;
mod measure;
pub mod numbers;
mod picture;
pub mod prediction;

pub use boxplot::boxplot;
pub use measure::MeasureText;
pub use picture::sagittal;
