//! Finds, locates and names the vertebrae in CT scans.
//!
//! ```
//! use vertebrae::device::Device;
//! use vertebrae::pipeline::{Models, Pipeline};
//! use vertebrae::scan::Scan;
//!
//! # fn main() -> anyhow::Result<()> {
//! # let folder = tempfile::tempdir()?;
//! # let path = folder.path().join("scan.nii.gz");
//! # let phantom = vertebrae::phantom::generate(1, 0, vertebrae::phantom::Cohort::Hospital, Some(3.0));
//! # vertebrae::scan::nifti::write(&path, &phantom.voxels, &phantom.geometry)?;
//! let pipeline = Pipeline::load(&Models::built_in()?, Device::Cpu)?;
//! let scan = Scan::read(&path)?;
//! for vertebra in pipeline.predict(&scan)?.vertebrae {
//!     println!("{} {:?}", vertebra.level, vertebra.lps);
//! }
//! # assert!(pipeline.predict(&scan)?.vertebrae.len() > 2);
//! # Ok(())
//! # }
//! ```
//!
//! The modules stand in the order in which data flows. A CT and its annotation are read ([`scan`], [`annotation`]). The spine is
//! found, straightened and read ([`straighten`], [`spine`]) with networks ([`network`]) on a [`device`]; [`pipeline`] is all of
//! that behind one door, and [`report`] writes what it found.
//! The published two-stage pipeline stands beside it: samples are cut from annotated scans ([`sampling`]), two networks learn from
//! them ([`learning`]), mark and name the bodies of a new scan ([`inference`]), and their voxels are reduced to centroids
//! ([`decoding`]; all three together are an [`analysis`]), which are compared with the annotation ([`evaluation`]).
//!
//! Points are millimetres in the frame that their description names: the patient's (LPS), or from the first voxel of a
//! volume along its axes. Arrays are indexed `[x, y, z]`: to the patient's left, to the back, to the head.
#![warn(missing_docs)]

pub mod analysis;
pub mod anatomy;
pub mod annotation;
pub mod artifact;
pub mod batch;
pub mod benchmark;
#[cfg(feature = "cli")]
pub mod cli;
pub mod decoding;
pub mod device;
pub mod evaluation;
pub mod inference;
pub mod kernels;
pub mod learning;
pub mod measurement;
pub mod memory;
pub mod network;
pub mod phantom;
pub mod pipeline;
pub mod progress;
pub mod random;
pub mod report;
pub mod sampling;
pub mod scan;
pub mod spine;
pub mod straighten;
