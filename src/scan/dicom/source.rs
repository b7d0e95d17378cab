//! What a result refers to: the slices a volume was made of, and what their header says of the patient.

use std::path::Path;

use anyhow::{Context, Result};
use dicom_object::InMemDicomObject;

use super::choose;
use super::stack::Stacked;
use crate::scan::Geometry;

/// The series that a volume was read from.
pub struct Source {
    /// StudyInstanceUID.
    pub study: String,
    /// SeriesInstanceUID.
    pub series: String,
    /// The first slice's header, everything but the pixels.
    pub header: InMemDicomObject,
    /// For each plane of the grid, the slice that it shows; of one that was made of its neighbours, none.
    pub planes: Vec<Option<Reference>>,
    /// The grid, indexed `[column, row, slice]`.
    pub geometry: Geometry,
}

/// A slice: a file, or a frame of one.
#[derive(Clone, Debug, PartialEq)]
pub struct Reference {
    /// SOPClassUID.
    pub class: String,
    /// SOPInstanceUID.
    pub instance: String,
    /// Which frame of the file, from 1 on, of an enhanced CT.
    pub frame: Option<u32>,
}

/// What [`read_series`](super::read_series) would read, without its pixels.
pub fn source(folder: &Path, wanted: Option<&str>) -> Result<Source> {
    let read = || -> Result<Source> {
        let Stacked { slices, planes, geometry, .. } = choose(folder, wanted)?;
        let reference = |index: usize| {
            let slice = &slices[index];
            let frame = slice.frame.map(|frame| frame + 1);
            Reference { class: slice.class.clone(), instance: slice.instance.clone(), frame }
        };
        let planes = planes.into_iter().map(|plane| plane.map(reference)).collect();
        let first = &slices[0];
        let (study, series) = (first.study.clone(), first.series.clone());
        Ok(Source { study, series, header: first.header()?, planes, geometry })
    };
    read().with_context(|| format!("{} cannot be used", folder.display()))
}
