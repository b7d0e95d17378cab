//! Annotated scans in memory, drawn by folder.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use anyhow::{Result, ensure};

use crate::annotation::{Annotated, Centroid, lml};
use crate::artifact;
use crate::batch;
use crate::learning::lineage;
use crate::random::Legacy;
use crate::scan;
use crate::straighten::Even;

/// An annotated scan.
pub struct Source {
    /// The scan's file.
    pub path: PathBuf,
    /// Its voxels.
    pub even: Even,
    /// Its bodies from the head down, in mm from the volume's first voxel, LPS.
    pub bodies: Vec<Centroid>,
}

impl Source {
    /// Reads a scan and the annotation beside it; errors name the file.
    pub fn read(path: &Path, spacing: f64) -> Result<Source> {
        let Annotated { scan, centroids: mut bodies, .. } = Annotated::read(path, true)?;
        ensure!(
            bodies.len() > 1,
            "{} names one vertebra; annotate at least two",
            lml::beside(path).display()
        );
        bodies.sort_by_key(|body| body.level);
        Ok(Source { path: path.to_owned(), even: Even::of(&scan.volume, spacing), bodies })
    }

    /// The bodies' centres.
    pub fn centres(&self) -> Vec<[f64; 3]> {
        self.bodies.iter().map(|body| body.mm).collect()
    }
}

/// All annotated scans below a folder.
///
/// A folder that directly holds scans is drawn from as often as its share says, and there a scan in
/// proportion to the root of its number of bodies: a long spine shows more, but is one patient.
pub struct Sources {
    /// The scans, by path.
    pub all: Vec<Source>,
    /// Where each scan's part of all draws ends, from 0 to 1.
    ends: Vec<f64>,
}

impl Sources {
    /// Reads all scans below `folder` with voxels of `spacing` mm; one that cannot be read is an error.
    /// `shares` gives folders by their name how often they are drawn from; others share what is left.
    pub fn read(folder: &Path, spacing: f64, shares: &[(String, f64)]) -> Result<Sources> {
        let paths = scan::find(folder)?;
        let read: Mutex<BTreeMap<PathBuf, Source>> = Mutex::default();
        let failures = batch::for_each(&paths, |_, path| {
            let source = Source::read(path, spacing)?;
            read.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).insert(path.to_owned(), source);
            Ok(())
        });
        failures.into_result(paths.len())?;
        let read = read.into_inner().unwrap_or_else(|poisoned| poisoned.into_inner());
        let all: Vec<Source> = read.into_values().collect();
        let ends = ends(&all, shares)?;
        Ok(Sources { all, ends })
    }

    /// Which scans these are, and how often each is drawn.
    pub fn lineage(&self) -> String {
        let names = lineage::of(self.all.iter().map(|source| source.path.as_path()));
        let ends: Vec<String> = self.ends.iter().map(|end| format!("{end:.6}")).collect();
        format!("{names} in shares {}", &artifact::sha256_of(ends.join(" ").as_bytes())[..8])
    }

    /// A scan, some more often than others.
    pub(crate) fn pick(&self, random: &mut Legacy) -> &Source {
        let at = random.uniform();
        let index = self.ends.partition_point(|&end| end <= at).min(self.all.len() - 1);
        &self.all[index]
    }
}

fn ends(all: &[Source], shares: &[(String, f64)]) -> Result<Vec<f64>> {
    let folder = |source: &Source| source.path.parent().map(Path::to_owned).unwrap_or_default();
    let weight = |source: &Source| (source.bodies.len() as f64).sqrt();
    let mut folders: BTreeMap<PathBuf, f64> = BTreeMap::new();
    for source in all {
        *folders.entry(folder(source)).or_default() += weight(source);
    }
    let asked = |folder: &Path| {
        let name = folder.file_name()?.to_str()?;
        shares.iter().find(|(share, _)| share == name).map(|(_, share)| *share)
    };
    for (name, _) in shares {
        let known = folders.keys().any(|folder| folder.file_name().is_some_and(|file| file == name.as_str()));
        ensure!(known, "no folder named {name} holds scans; a share names one that does");
    }
    let taken: f64 = folders.keys().filter_map(|folder| asked(folder)).sum();
    let others = folders.keys().filter(|folder| asked(folder).is_none()).count();
    ensure!(taken <= 1.0 + 1e-9, "the shares add up to {taken}; they are parts of 1");
    let rest = if others > 0 { (1.0 - taken).max(0.0) / others as f64 } else { 0.0 };
    let mut ends = Vec::with_capacity(all.len());
    let mut end = 0.0;
    for source in all {
        let folder = folder(source);
        end += asked(&folder).unwrap_or(rest) * weight(source) / folders[&folder];
        ends.push(end);
    }
    ensure!(end > 0.0, "no scan has a share");
    Ok(ends.into_iter().map(|part| part / end).collect())
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::scan::Grid;
    use ndarray::Array3;

    /// A scan of 2 mm voxels with a straight spine: balls of bone in flesh, a body every 26 mm.
    pub(crate) fn ladder(path: &str, levels: &[&str]) -> Source {
        let shape = [60, 60, 13 * levels.len() + 20];
        let bodies: Vec<Centroid> = levels
            .iter()
            .enumerate()
            .map(|(index, level)| Centroid {
                level: level.parse().unwrap(),
                mm: [60.0, 60.0, 2.0 * shape[2] as f64 - 33.0 - 26.0 * index as f64],
            })
            .collect();
        let voxels = Array3::from_shape_fn(shape, |(x, y, z)| {
            let mm = [x, y, z].map(|index| 2.0 * index as f64);
            let inside = bodies.iter().any(|body| {
                let off = |axis: usize| (mm[axis] - body.mm[axis]).powi(2);
                off(0) + off(1) + off(2) < 100.0
            });
            if inside { 500 } else { 40 }
        });
        let even = Even { voxels, grid: Grid { shape, spacing: 2.0, origin: [0.0; 3] } };
        Source { path: path.into(), even, bodies }
    }

    pub fn sources(all: Vec<Source>) -> Sources {
        let ends = ends(&all, &[]).unwrap();
        Sources { all, ends }
    }

    #[test]
    fn folders_are_drawn_from_by_their_shares_and_scans_by_the_root_of_their_bodies() {
        let levels = ["T10", "T11", "T12", "L1"];
        let all = vec![
            ladder("a/necks/1", &levels),
            ladder("b/trunks/1", &levels[..1]),
            ladder("b/trunks/2", &levels),
        ];
        let share = |name: &str, share| (name.to_owned(), share);
        let ends = super::ends(&all, &[share("necks", 0.4)]).unwrap();
        assert!((ends[0] - 0.4).abs() < 1e-9 && (ends[1] - 0.6).abs() < 1e-9 && (ends[2] - 1.0).abs() < 1e-9);
        let equal = super::ends(&all, &[]).unwrap();
        assert!((equal[0] - 0.5).abs() < 1e-9);
        let error = super::ends(&all, &[share("legs", 0.4)]).unwrap_err().to_string();
        assert!(error.contains("no folder named legs"), "{error}");
        assert!(super::ends(&all, &[share("necks", 0.7), share("trunks", 0.7)]).is_err());
    }
}
