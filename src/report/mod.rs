//! What a person gets to see: the README's text, pictures, numbers.

mod boxplot;
mod canvas;
pub mod collection;
pub mod colours;
pub mod dicom;
mod evidence;
mod html;
pub mod layout;
mod measure;
pub mod measurements;
pub mod numbers;
mod page;
mod picture;
mod plates;
pub mod prediction;
pub mod run;
mod scan_page;
mod thumbnail;
mod trust;

pub use boxplot::boxplot;
pub use evidence::evidence;
pub use measure::MeasureText;
pub use picture::{preview, sagittal};
pub use scan_page::scan_page;
