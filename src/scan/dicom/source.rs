//! What a result refers to: the slices a volume was made of, and what their header says of the patient.

use anyhow::Result;
use dicom_object::InMemDicomObject;

use super::Series;
use super::slice::Slice;

/// The slices that a volume was read from.
#[derive(Clone, Debug)]
pub struct Source {
    /// The series that they are of.
    pub series: Series,
    /// For each plane of the grid, the slice that it shows; of one that was made of its neighbours, none.
    pub planes: Vec<Option<Reference>>,
    first: Slice,
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

impl Source {
    /// Of slices in order, and which of them each plane shows.
    pub(super) fn of(slices: &[Slice], planes: &[Option<usize>]) -> Source {
        let first = slices[0].clone();
        let reference = |slice: &Slice| Reference {
            class: slice.class.clone(),
            instance: slice.instance.clone(),
            frame: slice.frame.map(|frame| frame + 1),
        };
        let (study, series, title) = (first.study.clone(), first.series.clone(), first.title.clone());
        Source {
            series: Series { study, series, title },
            planes: planes.iter().map(|plane| plane.map(|index| reference(&slices[index]))).collect(),
            first,
        }
    }

    /// Everything in the first slice's file but its pixels.
    pub fn header(&self) -> Result<InMemDicomObject> {
        self.first.header()
    }

    /// The slices, each file once.
    pub fn files(&self) -> Vec<&Reference> {
        let mut files: Vec<&Reference> = self.planes.iter().flatten().collect();
        files.dedup_by_key(|slice| &slice.instance);
        files
    }
}
