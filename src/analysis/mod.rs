//! A scan through both networks: detect → identify → decode.

mod looks;

use anyhow::Result;
use ndarray::Array3;
use serde::Serialize;

use self::looks::Answers;
use crate::anatomy::Level;
use crate::decoding::candidate::{self, Candidate};
use crate::decoding::sequence::{Flag, Named};
use crate::decoding::{self, Thresholds, Vertebra, by_median, runs};
use crate::inference::cutting::Cutting;
use crate::inference::detect::detect;
use crate::inference::identify::identify;
use crate::inference::network::Network;
use crate::progress::{Observer, Stage};
use crate::scan::{Grid, Scale, Scan};

/// How voxels become vertebrae.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Decode {
    /// The original's way: the middle of all voxels of a label, whatever stands beside it.
    Median(Thresholds),
    /// The most likely sequence of levels that a spine can have.
    Sequence,
}

/// How a scan is analysed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Settings {
    /// Voxels of the analysed volume in mm.
    pub spacing: f64,
    /// Pieces that networks of patches and slabs see.
    pub cutting: Cutting,
    /// How voxels become vertebrae.
    pub decode: Decode,
}

/// What only a sequence knows of a label.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Certainty {
    /// How likely the label is right, from 0 to 1.
    pub confidence: f64,
    /// Other labels above 2 %, the likeliest first.
    pub alternatives: Vec<(Level, f64)>,
    /// What to look at.
    pub flags: Vec<Flag>,
}

/// A vertebra found in a scan.
#[derive(Clone, Debug, PartialEq)]
pub struct Found {
    /// Which one, where (mm from the first voxel in LPS order) and how large.
    pub vertebra: Vertebra,
    /// How sure that is, if a sequence was decoded.
    pub certainty: Option<Certainty>,
}

/// A scan analysed.
pub struct Analysis {
    /// The normalised volume, `[x, y, z]` in LPS order, at the settings' spacing.
    pub volume: Array3<f32>,
    /// What it was normalised with.
    pub scale: Scale,
    /// Where its voxels lie, in mm from the scan's first voxel.
    pub grid: Grid,
    /// What the positions of [`Analysis::found`] are counted from, in mm from the scan's first voxel: the first voxel of
    /// the volume in the original's way (docs/original.md §8.3), else the scan's own.
    pub counted_from: [f64; 3],
    /// Its voxels that the detection network marked.
    pub detected_voxels: usize,
    /// From the head down.
    pub found: Vec<Found>,
}

/// Finds and names the vertebrae of a scan with a detection and an identification network.
pub fn analyse(
    scan: Scan,
    networks: &[Network; 2],
    settings: &Settings,
    observer: &mut dyn Observer,
) -> Result<Analysis> {
    let (spacing, extent) = (settings.spacing, scan.volume.geometry.extent());
    let answers = Answers::of(&scan.volume, networks)?;
    let grid = Grid::over(&scan.volume, spacing);
    let (volume, scale) = scan.normalised(spacing);
    let shape = volume.dim().into();
    let [detector, identifier] = networks.each_ref().map(|network| network.predictor.as_ref());
    let plan = settings.cutting.plan(&volume, scale, [detector, identifier]);
    let mask = match &answers.bodies {
        Some(field) => {
            observer.begins(plan.tiling.stage(shape), 0)?;
            field.mask(&grid)
        }
        None => detect(&volume, detector, &plan, observer)?,
    };
    let mut levels = match &answers.names {
        Some(field) => {
            observer.begins(Stage::Identification, 0)?;
            field.levels(&grid)
        }
        None => identify(&volume, &mask, identifier, settings.cutting.slices(spacing), observer)?,
    };
    levels.zip_mut_with(&mask, |level, &inside| *level *= inside);
    observer.begins(Stage::Aggregation, 0)?;
    let found = match (settings.decode, &answers.names) {
        // The original counts from the first voxel of its resampled volume, and so do the figures compared with it:
        // where slices are thick, that is a millimetre or two beside the scan's first voxel.
        (Decode::Median(thresholds), _) => {
            by_median(&levels, &Grid { origin: [0.0; 3], ..grid }, &thresholds)
                .into_iter()
                .map(|vertebra| Found { vertebra, certainty: None })
                .collect()
        }
        // A network of whole volumes parts the bodies itself.
        (Decode::Sequence, Some(_)) => {
            sequence(decoding::bodies::candidates(&answers.fields()), spacing, extent)
        }
        (Decode::Sequence, None) => sequence(runs::candidates(&levels, &grid), spacing, extent),
    };
    let detected_voxels = mask.iter().filter(|&&value| value > 0).count();
    let counted_from = match settings.decode {
        Decode::Median(_) => grid.origin,
        Decode::Sequence => [0.0; 3],
    };
    Ok(Analysis { volume, scale, grid, counted_from, detected_voxels, found })
}

/// The most likely sequence over candidate bodies of a scan that ends at `extent`, in mm.
fn sequence(mut candidates: Vec<Candidate>, spacing: f64, extent: [f64; 3]) -> Vec<Found> {
    let named = candidate::name(&mut candidates);
    let vertebra = |named: Named| {
        let half = named.level.diameter() / 2.0;
        let cut = (0..3).any(|axis| !(half..=extent[axis] - half).contains(&named.mm[axis]));
        let mut flags = named.flags;
        flags.extend(cut.then_some(Flag::TouchesBorder));
        let voxels = (candidates[named.body].volume / spacing.powi(3)).round() as usize;
        Found {
            vertebra: Vertebra { level: named.level, mm: named.mm, voxels },
            certainty: Some(Certainty {
                confidence: named.confidence,
                alternatives: named.alternatives,
                flags,
            }),
        }
    };
    named.into_iter().map(vertebra).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::Device;
    use crate::inference::tiling::Tiling;
    use crate::network::{Architecture, Kind, Weights};
    use crate::scan::{Frame, Geometry, Orientation, Volume};

    /// A network that gives one answer everywhere.
    fn constant(kind: Kind) -> Network {
        let mut weights = Weights::initial(Architecture { kind, filters: 1 }, 4);
        for layer in &mut weights.layers {
            layer.kernel.fill(0.0);
        }
        let output = weights.layers.last_mut().unwrap();
        // Everything is a vertebra, and everything is L2 by the labels' values.
        output.bias.fill(if kind == Kind::Detection { -50.0 } else { 21.0 });
        if kind == Kind::Detection {
            *output.bias.last_mut().unwrap() = 50.0;
        }
        Network::of(&weights, Device::Cpu).unwrap()
    }

    /// 40 x 36 x 35 mm in slices of 5 mm, from the first voxel's middle to the last one's.
    fn scan() -> Scan {
        let geometry = Geometry { shape: [21, 19, 8], spacing: [2.0, 2.0, 5.0], affine: [[0.0; 4]; 3] };
        let voxels = Array3::from_shape_fn((21, 19, 8), |(x, y, z)| (x * 7 + y * 3 + z) as f32);
        let frame = Frame::new(Orientation::IDENTITY, geometry.clone());
        Scan { volume: Volume { voxels, geometry, warnings: Vec::new() }, frame, source: None }
    }

    fn run(decode: Decode) -> Analysis {
        let networks = [constant(Kind::Detection), constant(Kind::Identification)];
        let tiling = Tiling::of([32; 3], [16; 3]).unwrap();
        let settings = Settings { spacing: 1.0, cutting: Cutting::Exact(tiling), decode };
        analyse(scan(), &networks, &settings, &mut ()).unwrap()
    }

    #[test]
    fn what_fills_a_scan_lies_in_its_middle_where_slices_are_thick_too() {
        let analysis = run(Decode::Sequence);
        let [found] = &analysis.found[..] else { panic!("{:?}", analysis.found) };
        assert_eq!(found.vertebra.level.name(), "L2");
        for (mm, middle) in found.vertebra.mm.into_iter().zip([20.0, 18.0, 17.5]) {
            assert!((mm - middle).abs() < 0.5, "{:?}", found.vertebra.mm);
        }
        assert_eq!(analysis.detected_voxels, analysis.volume.len());
        let flags = &found.certainty.as_ref().unwrap().flags;
        assert!(flags.contains(&Flag::TouchesBorder) || found.vertebra.level.diameter() < 35.0, "{flags:?}");
    }

    #[test]
    fn the_originals_way_counts_from_the_first_resampled_voxel() {
        let analysis = run(Decode::Median(Thresholds::default()));
        let [found] = &analysis.found[..] else { panic!("{:?}", analysis.found) };
        let shape: [usize; 3] = analysis.volume.dim().into();
        let expected = shape.map(|count| (count as f64 - 1.0) / 2.0);
        // Slabs of eight planes name the middle ones: four are left at either side.
        let named = (shape[0] - 8) * shape[1] * shape[2];
        assert_eq!((found.vertebra.level.name(), found.vertebra.voxels), ("L2", named));
        for (mm, middle) in found.vertebra.mm.into_iter().zip(expected) {
            assert!((mm - middle).abs() <= 0.5, "{:?} {expected:?}", found.vertebra.mm);
        }
        assert!(found.certainty.is_none());
        // The first resampled voxel lies two millimetres below the first slice's middle; together both lie in the scan's middle.
        assert_eq!(analysis.counted_from, [-0.5, -0.5, -2.0]);
        for axis in 0..3 {
            let mm = found.vertebra.mm[axis] + analysis.counted_from[axis];
            assert!((mm - [20.0, 18.0, 17.5][axis]).abs() <= 0.5, "{mm}");
        }
    }
}
