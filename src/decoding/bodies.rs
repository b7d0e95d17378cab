//! From the answer of a volume network to single bodies: every voxel of a body points to its centre.

use ndarray::{Array3, s};

use super::candidate::Candidate;
use crate::anatomy::Level;
use crate::inference::volume::Field;
use crate::network::output;
use crate::network::output::sigmoid;
use crate::sampling::targets;
use crate::scan::distance;

/// A voxel votes if it is a body's with at least this probability.
const VOTES: f32 = 0.2;
/// Votes this close to a centre are its own, in mm: half the distance of cervical bodies.
const OWN: f64 = 8.0;
/// The smallest body that counts, in mm³ of votes: a third of a cervical one's ball.
const LEAST: f64 = 300.0;
/// Rounds that move a centre to the middle of its votes.
const ROUNDS: usize = 4;

struct Vote {
    /// In mm.
    at: [f64; 3],
    /// Volume in mm³ of the voxel times how likely it is a body's.
    weight: f64,
    /// That volume alone.
    volume: f64,
    levels: [f32; Level::MAX_VALUE as usize],
}

/// The bodies of a scan in no particular order; the voxels of all answers vote, a share each.
pub fn candidates(fields: &[&Field]) -> Vec<Candidate> {
    let Some(first) = fields.first() else { return Vec::new() };
    let shape = first.grid.shape;
    let mut votes = Vec::new();
    // Weight of the votes that meet in each voxel.
    let mut density = Array3::<f32>::zeros(shape);
    for field in fields {
        let volume = field.grid.spacing.powi(3) / fields.len() as f64;
        for ((x, y, z), &logit) in field.values.slice(s![output::BODY, .., .., ..]).indexed_iter() {
            let chance = sigmoid(logit);
            if chance < VOTES {
                continue;
            }
            let voxel = [x, y, z];
            let at = field.grid.mm(std::array::from_fn(|axis| {
                voxel[axis] as f64 + f64::from(field.values[[output::OFFSETS.start + axis, x, y, z]])
            }));
            let near = first.grid.index(at);
            let near: [usize; 3] =
                std::array::from_fn(|axis| near[axis].round().clamp(0.0, shape[axis] as f64 - 1.0) as usize);
            let weight = f64::from(chance) * volume;
            density[near] += weight as f32;
            votes.push(Vote { at, weight, volume, levels: field.chances(voxel) });
        }
    }
    let mut free: Vec<bool> = vec![true; votes.len()];
    let mut found = Vec::new();
    // The strongest meeting place first; its votes are spent.
    let mut peaks: Vec<([usize; 3], f32)> = density
        .indexed_iter()
        .filter(|(_, weight)| **weight > 0.0)
        .map(|((x, y, z), _)| ([x, y, z], around(&density, [x, y, z])))
        .collect();
    peaks.sort_by(|a, b| b.1.total_cmp(&a.1));
    for (peak, _) in peaks {
        let mut centre = first.grid.mm(peak.map(|index| index as f64));
        for _ in 0..ROUNDS {
            let own =
                votes.iter().zip(&free).filter(|(vote, free)| **free && distance(vote.at, centre) < OWN);
            let (mut sum, mut weight) = ([0.0; 3], 0.0);
            for (vote, _) in own {
                (0..3).for_each(|axis| sum[axis] += vote.weight * vote.at[axis]);
                weight += vote.weight;
            }
            if weight == 0.0 {
                break;
            }
            centre = sum.map(|part| part / weight);
        }
        let own: Vec<usize> = (0..votes.len())
            .filter(|&index| free[index] && distance(votes[index].at, centre) < OWN)
            .collect();
        let weight: f64 = own.iter().map(|&index| votes[index].weight).sum();
        if weight < LEAST {
            continue;
        }
        let mut levels = [0.0; Level::MAX_VALUE as usize];
        for &index in &own {
            free[index] = false;
            for (level, chance) in levels.iter_mut().zip(votes[index].levels) {
                *level += votes[index].weight * f64::from(chance) / weight;
            }
        }
        // A small lump of votes is the end of a rib more often than a body.
        let likeliest = (0..levels.len()).fold(0, |a, b| if levels[b] > levels[a] { b } else { a });
        let whole = targets::ball_volume(likeliest as u8 + 1);
        let voxels: f64 = own.iter().map(|&index| votes[index].volume).sum();
        let presence = weight / voxels * (weight / whole).min(1.0);
        found.push(Candidate { mm: centre, levels, volume: weight, presence });
    }
    found
}

/// The sum over a voxel and its neighbours.
fn around(density: &Array3<f32>, [x, y, z]: [usize; 3]) -> f32 {
    let size: [usize; 3] = density.dim().into();
    let span = |at: usize, axis: usize| at.saturating_sub(1)..(at + 2).min(size[axis]);
    density.slice(s![span(x, 0), span(y, 1), span(z, 2)]).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::annotation::Centroid;
    use crate::scan::Grid;
    use ndarray::Array4;

    #[test]
    fn a_perfect_answer_gives_back_every_body_with_its_level() {
        let grid = Grid { shape: [24, 24, 64], spacing: 4.0, origin: [0.5, -0.5, 0.0] };
        let names = ["C5", "C6", "C7", "T1", "T2"];
        let truth: Vec<Centroid> = names
            .iter()
            .enumerate()
            .map(|(index, name)| {
                let mm = [45.0, 43.0 + index as f64, 200.0 - 18.3 * index as f64];
                Centroid { level: name.parse().unwrap(), mm }
            })
            .collect();
        let balls: Vec<_> = targets::balls(&truth)
            .into_iter()
            .map(|ball| targets::Ball { centre: grid.index(ball.centre), radius: ball.radius / 4.0, ..ball })
            .collect();
        let labels =
            targets::paint(grid.shape, &balls, std::array::from_fn(|axis| 0.0..grid.shape[axis] as f64));
        let labels = Array4::from_shape_vec((targets::CHANNELS, 24, 24, 64), labels).unwrap();
        let mut values = Array4::zeros((output::CHANNELS, 24, 24, 64));
        for ((x, y, z), &body) in labels.slice(s![targets::BODY, .., .., ..]).indexed_iter() {
            values[[output::BODY, x, y, z]] = if body > 0.0 { 6.0 } else { -6.0 };
            if body > 0.0 {
                let level = labels[[targets::LEVEL, x, y, z]] as usize;
                values[[output::LEVELS.start + level - 1, x, y, z]] = 8.0;
                for axis in 0..3 {
                    values[[output::OFFSETS.start + axis, x, y, z]] =
                        labels[[targets::OFFSETS.start + axis, x, y, z]];
                }
            }
        }
        let field = Field { values, grid };
        let mut found = candidates(&[&field, &field]);
        found.sort_by(|a, b| b.mm[2].total_cmp(&a.mm[2]));
        assert_eq!(found.len(), truth.len());
        for (candidate, truth) in found.iter().zip(&truth) {
            assert!(distance(candidate.mm, truth.mm) < 0.01, "{candidate:?}");
            assert!(candidate.levels[truth.level.value() as usize - 1] > 0.9);
        }
    }
}
