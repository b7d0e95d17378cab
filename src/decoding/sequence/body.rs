//! Candidates for vertebral bodies with what is known of each.

use crate::scan::distance;

/// A body that may be a vertebra.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Body {
    /// Its centre in mm, LPS.
    pub mm: [f64; 3],
    /// How likely it looks cervical, thoracic, lumbar; each from 0 to 1 on its own.
    pub segments: [f64; 3],
    /// Where its left and its right pedicle stand relative to its centre in mm, LPS, if found.
    pub pedicles: [Option<[f64; 3]>; 2],
    /// Whether the body itself was seen, or only its pedicles.
    pub seen: bool,
}

impl Body {
    /// A body that was seen at a place in mm, LPS, and of which nothing else is known.
    pub fn at(mm: [f64; 3]) -> Body {
        Body { mm, segments: [0.0; 3], pedicles: [None; 2], seen: true }
    }

    /// Both pedicles.
    pub fn pair(&self) -> Option<[[f64; 3]; 2]> {
        let [left, right] = self.pedicles;
        Some([left?, right?])
    }
}

/// Pedicles lie so far behind and above the centres of their bodies, about.
const BEHIND: f64 = 20.0;
const ABOVE: f64 = 4.0;
/// Pedicles further off belong to another body, in mm.
const FAR: f64 = 14.0;
/// A pair's members differ in height by less, in mm, and stand so far apart.
const UNEVEN: f64 = 9.0;
const WIDTHS: std::ops::Range<f64> = 14.0..70.0;
/// A body closer than this in height owns the pair, in mm; so does one this close to where the pair's
/// own body would be.
const OWNED: f64 = 11.0;
const TAKEN: f64 = 16.0;
/// Bodies of one row are at most so far apart, in mm (two in a loin with a missed one between), and
/// stand above each other: so far to the side at most for every mm of height, and so many mm more.
const NEXT: f64 = 80.0;
const STEEP: f64 = 0.9;
const LEEWAY: f64 = 6.0;
/// So many bodies make a row, if a scan has no longer one. Another row beside the longest one, or further away
/// from it than this in mm, is no part of the spine.
const ROW: usize = 3;
const APART: f64 = 200.0;

fn minus(a: [f64; 3], b: [f64; 3]) -> [f64; 3] {
    std::array::from_fn(|axis| a[axis] - b[axis])
}

/// The candidates from the head down: detections `[x, y, z, cervical, thoracic, lumbar]` with their
/// pedicles, and bodies whose pedicles alone were found.
pub fn bodies(detections: &[[f64; 6]], left: &[[f64; 3]], right: &[[f64; 3]]) -> Vec<Body> {
    let mut bodies: Vec<Body> = detections
        .iter()
        .map(|&[x, y, z, c, t, l]| {
            let mm = [x, y, z];
            Body {
                mm,
                segments: [c, t, l],
                pedicles: [left, right].map(|side| own_pedicle(mm, side)),
                seen: true,
            }
        })
        .collect();
    bodies.sort_by(|a, b| b.mm[2].total_cmp(&a.mm[2]));
    let inferred: Vec<Body> = right.iter().filter_map(|&right| orphan(&bodies, left, right)).collect();
    bodies.extend(inferred);
    bodies.sort_by(|a, b| b.mm[2].total_cmp(&a.mm[2]));
    without_strays(bodies)
}

/// The bodies that stand in a row with others: hips, shoulders and arms are found now and then, far to
/// the side of the spine, and legs far below it.
fn without_strays(bodies: Vec<Body>) -> Vec<Body> {
    let mut row: Vec<usize> = (0..bodies.len()).collect();
    for i in 0..bodies.len() {
        for j in 0..i {
            let [x, y, z] = minus(bodies[i].mm, bodies[j].mm);
            let steep = x.hypot(y) <= STEEP * z.abs() + LEEWAY;
            let (a, b) = (row[i], row[j]);
            if steep && distance(bodies[i].mm, bodies[j].mm) <= NEXT && a != b {
                row.iter_mut().filter(|row| **row == a).for_each(|row| *row = b);
            }
        }
    }
    let length = |of: usize| row.iter().filter(|&&row| row == of).count();
    let Some(longest) = row.iter().copied().max_by_key(|&row| length(row)) else { return bodies };
    // Bodies stand from the head down.
    let heights = |of: usize| {
        let mut members = bodies.iter().zip(&row).filter(|(_, row)| **row == of).map(|(body, _)| body.mm[2]);
        let top = members.next().unwrap_or(f64::NAN);
        (top, members.next_back().unwrap_or(top))
    };
    let (top, bottom) = heights(longest);
    let goes_on = |of: usize| {
        let (other_top, other_bottom) = heights(of);
        of == longest || (0.0..APART).contains(&(other_bottom - top).max(bottom - other_top))
    };
    let keep: Vec<bool> =
        row.iter().map(|&row| length(row) >= length(longest).min(ROW) && goes_on(row)).collect();
    bodies.into_iter().zip(keep).filter(|(_, keep)| *keep).map(|(body, _)| body).collect()
}

/// The pedicle of one side that stands where this body's should, relative to the body.
fn own_pedicle(body: [f64; 3], side: &[[f64; 3]]) -> Option<[f64; 3]> {
    let off = |point: &[f64; 3]| {
        let [_, y, z] = minus(*point, body);
        (z - ABOVE).hypot((y - BEHIND) / 2.0)
    };
    let nearest = side.iter().min_by(|a, b| off(a).total_cmp(&off(b)))?;
    (off(nearest) < FAR).then(|| minus(*nearest, body))
}

/// The body that a right pedicle and its left neighbour belong to, if no detection does.
fn orphan(bodies: &[Body], left: &[[f64; 3]], right: [f64; 3]) -> Option<Body> {
    let off = |point: &[f64; 3]| {
        let [_, y, z] = minus(*point, right);
        z.abs() + 0.3 * y.abs()
    };
    let left = *left.iter().min_by(|a, b| off(a).total_cmp(&off(b)))?;
    let width = distance(left, right);
    if off(&left) > UNEVEN || !WIDTHS.contains(&width) {
        return None;
    }
    let middle: [f64; 3] = std::array::from_fn(|axis| (left[axis] + right[axis]) / 2.0);
    let height = |body: &Body| (body.mm[2] - middle[2]).abs();
    if bodies.iter().any(|body| (body.mm[2] - (middle[2] - ABOVE)).abs() < OWNED) {
        return None;
    }
    // The closest body's pedicles tell where this person's stand.
    let closest = bodies.iter().min_by(|a, b| height(a).total_cmp(&height(b)));
    let (behind, above) = closest
        .and_then(Body::pair)
        .map_or((BEHIND + 2.0, ABOVE - 1.0), |[a, b]| ((a[1] + b[1]) / 2.0, (a[2] + b[2]) / 2.0));
    let mm = [middle[0], middle[1] - behind, middle[2] - above];
    if bodies.iter().any(|body| distance(body.mm, mm) < TAKEN) {
        return None;
    }
    let pedicles = [left, right].map(|point| Some(minus(point, mm)));
    Some(Body { mm, segments: [0.3; 3], pedicles, seen: false })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_stand_in_order_with_their_pedicles_and_orphans_get_a_body() {
        let detections = [[0.0, 0.0, 70.0, 0.0, 0.0, 1.0], [0.0, 0.0, 105.0, 0.0, 1.0, 0.0]];
        let side = |x: f64| [[x, 20.0, 109.0], [x, 20.0, 74.0], [x, 20.0, 38.0]];
        let found = bodies(&detections, &side(15.0), &side(-15.0));
        assert_eq!(found.len(), 3);
        assert_eq!(found[0].mm[2], 105.0);
        assert_eq!(found[1].pair(), Some([[15.0, 20.0, 4.0], [-15.0, 20.0, 4.0]]));
        assert!(!found[2].seen && found[2].mm == [0.0, 0.0, 34.0], "{:?}", found[2]);
        assert!(bodies(&[], &[], &[]).is_empty());
    }

    #[test]
    fn a_stray_far_to_the_side_is_left_out_and_a_gap_is_not_the_end() {
        let spine = [0.0, -25.0, -50.0, -100.0, -130.0].map(|z| [0.0, 0.0, z, 0.0, 1.0, 0.0]);
        let stray = [150.0, 20.0, -60.0, 0.1, 0.1, 0.1];
        let mut all = spine.to_vec();
        all.push(stray);
        assert_eq!(bodies(&all, &[], &[]), bodies(&spine, &[], &[]));
        // Nor is a row of strays, beside the spine or far below it; but one that goes on after a long gap is.
        let row = |x: f64, z: f64| [0.0, -25.0, -50.0].map(|step| [x, 0.0, z + step, 0.0, 1.0, 0.0]);
        for stray in [row(120.0, -40.0), row(0.0, -400.0)] {
            assert_eq!(bodies(&[&spine[..], &stray].concat(), &[], &[]), bodies(&spine, &[], &[]));
        }
        assert_eq!(bodies(&[&spine[..], &row(5.0, -230.0)].concat(), &[], &[]).len(), 8);
        assert_eq!(bodies(&spine, &[], &[]).len(), 5);
    }
}
