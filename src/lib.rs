//! Finds, locates and names the vertebrae in CT scans.
//!
//! The modules stand in the order in which data flows: a CT and its annotation are read
//! ([`scan`], [`annotation`]), training samples are cut from them ([`sampling`]), two networks
//! learn from those ([`network`], [`learning`]) and then mark and name the vertebral bodies of a
//! new scan ([`inference`]), whose voxels are reduced to centroids ([`decoding`]; all three together are
//! an [`analysis`]), compared with the annotation ([`evaluation`]) and reported ([`report`]).
#![warn(missing_docs)]

pub mod analysis;
pub mod anatomy;
pub mod annotation;
pub mod artifact;
pub mod batch;
pub mod benchmark;
pub mod decoding;
pub mod device;
pub mod evaluation;
pub mod inference;
pub mod kernels;
pub mod learning;
pub mod memory;
pub mod network;
pub mod phantom;
pub mod progress;
pub mod random;
pub mod report;
pub mod sampling;
pub mod scan;
pub mod spine;
pub mod straighten;
