//! From a labelled volume to single bodies: the spine is cut where its labels change.
//!
//! The original's networks label a tube without gaps. Going down slice by slice, the label most voxels
//! carry changes at the discs; a change that does not last is noise, and a run that is too long holds
//! several bodies.

use ndarray::{Array3, Axis};

use super::candidate::Candidate;
use crate::anatomy::{Level, between};
use crate::scan::Grid;

/// Slices with fewer labelled mm² hold no body.
const LEAST_AREA: f64 = 60.0;
/// Runs shorter than this share of the usual distance belong to a neighbour.
const SHORT: f64 = 0.4;
/// Usual distance of S2 to what follows, in mm.
const LAST: f64 = 28.0;
const VALUES: usize = Level::MAX_VALUE as usize;

/// What one transverse slice holds.
#[derive(Clone)]
struct Slice {
    /// Voxels of each label value.
    counts: [f64; VALUES],
    /// Sums of their x and y.
    sums: [f64; 2],
    z: usize,
}

impl Slice {
    fn total(&self) -> f64 {
        self.counts.iter().sum()
    }

    fn most(&self) -> usize {
        let largest = (0..VALUES).max_by(|&a, &b| self.counts[a].total_cmp(&self.counts[b]));
        largest.unwrap_or(0) + 1
    }
}

/// Usual distance from one level value to the next, in mm.
fn usual(value: usize) -> f64 {
    let level = u8::try_from(value).ok().and_then(Level::from_value);
    level.and_then(between).map_or(LAST, |spacing| spacing.mean)
}

/// The bodies of a volume of label values (0 elsewhere) on a grid, from the head down; positions in mm as the
/// grid counts them.
pub fn candidates(levels: &Array3<u8>, grid: &Grid) -> Vec<Candidate> {
    let spacing = grid.spacing;
    let slices: Vec<Slice> = levels
        .axis_iter(Axis(2))
        .enumerate()
        .rev()
        .map(|(z, plane)| {
            let mut slice = Slice { counts: [0.0; VALUES], sums: [0.0; 2], z };
            for ((x, y), &value) in plane.indexed_iter() {
                if let Some(count) = usize::from(value).checked_sub(1).and_then(|at| slice.counts.get_mut(at))
                {
                    *count += 1.0;
                    slice.sums[0] += x as f64;
                    slice.sums[1] += y as f64;
                }
            }
            slice
        })
        .filter(|slice| slice.total() * spacing * spacing >= LEAST_AREA)
        .collect();
    let mut runs: Vec<Vec<Slice>> = Vec::new();
    for slice in slices {
        match runs.last_mut() {
            Some(run) if run[run.len() - 1].most() == slice.most() && run[run.len() - 1].z == slice.z + 1 => {
                run.push(slice);
            }
            _ => runs.push(vec![slice]),
        }
    }
    joined(runs, spacing)
        .into_iter()
        .flat_map(|run| split(run, spacing))
        .map(|run| candidate(&run, grid))
        .collect()
}

/// Gives runs that are too short to their longer neighbour, if it touches them.
fn joined(mut runs: Vec<Vec<Slice>>, spacing: f64) -> Vec<Vec<Slice>> {
    loop {
        let short = |run: &Vec<Slice>| (run.len() as f64) * spacing < SHORT * usual(run[0].most());
        let touch = |a: &Vec<Slice>, b: &Vec<Slice>| a[a.len() - 1].z == b[0].z + 1;
        let candidate = (0..runs.len()).filter(|&at| short(&runs[at])).min_by_key(|&at| runs[at].len());
        let Some(at) = candidate else { return runs };
        let above = at.checked_sub(1).filter(|&above| touch(&runs[above], &runs[at]));
        let below = Some(at + 1).filter(|&below| below < runs.len() && touch(&runs[at], &runs[below]));
        let neighbour = [above, below].into_iter().flatten().max_by_key(|&other| runs[other].len());
        let run = runs.remove(at);
        match neighbour {
            Some(other) if other < at => runs[other].extend(run),
            Some(_) => {
                let rest = std::mem::replace(&mut runs[at], run);
                runs[at].extend(rest);
            }
            // A short piece that stands alone is noise.
            None => {}
        }
    }
}

/// Cuts a run that is as long as several bodies into equal parts.
fn split(run: Vec<Slice>, spacing: f64) -> Vec<Vec<Slice>> {
    let length = run.len() as f64 * spacing;
    let middle = run[run.len() / 2].most();
    let parts = (length / usual(middle)).round().max(1.0) as usize;
    run.chunks(run.len().div_ceil(parts)).map(<[Slice]>::to_vec).collect()
}

fn candidate(run: &[Slice], grid: &Grid) -> Candidate {
    let total: f64 = run.iter().map(Slice::total).sum();
    let sum = |part: &dyn Fn(&Slice) -> f64| run.iter().map(part).sum::<f64>() / total;
    let centre = [
        sum(&|slice| slice.sums[0]),
        sum(&|slice| slice.sums[1]),
        sum(&|slice| slice.z as f64 * slice.total()),
    ];
    let volume = total * grid.spacing.powi(3);
    let expected = usual(run[run.len() / 2].most()).powi(3) * 0.25;
    Candidate {
        mm: grid.mm(centre),
        levels: std::array::from_fn(|value| sum(&|slice| slice.counts[value])),
        volume,
        presence: (volume / expected).min(1.0) * 0.95,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A tube of labels along z, one number of voxels a value, from the head down.
    fn tube(parts: &[(u8, usize)]) -> Array3<u8> {
        let height: usize = parts.iter().map(|(_, length)| length).sum();
        let mut levels = Array3::zeros((40, 40, height + 4));
        let mut z = height + 2;
        for &(value, length) in parts {
            for _ in 0..length {
                z -= 1;
                levels.slice_mut(ndarray::s![10..24, 12..24, z]).fill(value);
            }
        }
        levels
    }

    fn grid(levels: &Array3<u8>, origin: f64) -> Grid {
        Grid { shape: levels.dim().into(), spacing: 2.0, origin: [origin; 3] }
    }

    #[test]
    fn positions_are_the_grids_own() {
        // As of a volume of 5 mm slices, whose middle the grid shares and not its first voxel.
        let levels = tube(&[(20, 17)]);
        let [here, there] = [0.0, -2.0].map(|origin| candidates(&levels, &grid(&levels, origin))[0].mm);
        assert_eq!(there, here.map(|part| part - 2.0));
    }

    #[test]
    fn a_tube_is_cut_where_its_labels_change_and_noise_is_not() {
        let levels = tube(&[(20, 17), (21, 3), (20, 1), (21, 14), (22, 17)]);
        let found = candidates(&levels, &grid(&levels, 0.0));
        let likeliest = |candidate: &Candidate| {
            (0..VALUES).max_by(|&a, &b| candidate.levels[a].total_cmp(&candidate.levels[b])).unwrap() + 1
        };
        assert_eq!(found.iter().map(likeliest).collect::<Vec<_>>(), [20, 21, 22]);
        assert_eq!(found[2].mm, [33.0, 35.0, 20.0]);
    }

    #[test]
    fn a_label_over_two_bodies_makes_two() {
        let levels = tube(&[(20, 17), (21, 35)]);
        let found = candidates(&levels, &grid(&levels, 0.0));
        assert_eq!(found.len(), 3);
        assert!((found[1].mm[2] - found[2].mm[2] - 35.0).abs() < 2.0, "{found:?}");
        let nothing = Array3::zeros((4, 4, 4));
        assert!(candidates(&nothing, &grid(&nothing, 0.0)).is_empty());
    }
}
