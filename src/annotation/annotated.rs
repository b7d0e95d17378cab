//! A scan with the annotation that lies beside it.

use std::path::Path;

use anyhow::{Context, Result};

use super::{Centroid, lml};
use crate::scan::Scan;

/// A scan with its annotation.
pub struct Annotated {
    /// The scan, in LPS order unless that was declined.
    pub scan: Scan,
    /// The annotation in mm along the scan's oriented axes.
    pub centroids: Vec<Centroid>,
    /// The annotation as it is written, in mm along the stored axes.
    pub stored: Vec<Centroid>,
}

impl Annotated {
    /// Reads a scan and the annotation beside it; `reorient` says whether axes are brought to LPS. Errors name the
    /// scan or the annotation, and what is wrong with it.
    pub fn read(path: &Path, reorient: bool) -> Result<Annotated> {
        let beside = lml::beside(path);
        let stored = lml::read(&beside)?;
        let scan = Scan::read_as(path, reorient, None)?;
        lml::check_inside(&stored, &scan.frame.stored).with_context(|| format!("{}", beside.display()))?;
        let oriented =
            |centroid: &Centroid| Centroid { mm: scan.frame.from_stored(centroid.mm), ..*centroid };
        let centroids = stored.iter().map(oriented).collect();
        Ok(Annotated { scan, centroids, stored })
    }
}
