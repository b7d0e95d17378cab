//! Measured end plates as lines in a picture.

use super::canvas::Rgb;
use crate::measurement::{Endplate, Measured};

/// Their colour, which no name has.
pub(super) const PLATE: Rgb = [90, 210, 255];

/// From where a line is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Seen {
    /// The midline, from the front wall to the back wall.
    FromTheSide,
    /// From the right wall to the left one.
    FromTheFront,
}

/// The ends of a body's end plates in mm from the volume's first voxel, LPS; none of a body whose end plates or walls were not seen.
pub(super) fn lines(measured: &Measured, seen: Seen) -> Vec<[[f64; 3]; 2]> {
    let (size, axis) = match seen {
        Seen::FromTheSide => (measured.depth, 1),
        Seen::FromTheFront => (measured.width, 0),
    };
    let Some(size) = size else { return Vec::new() };
    let plates = [measured.upper_plate, measured.lower_plate];
    plates.into_iter().flatten().filter_map(|plate| line(&plate, size, axis)).collect()
}

/// A line within a plate through its middle, along the patient's axis as far as the plate allows.
fn line(plate: &Endplate, size: f64, axis: usize) -> Option<[[f64; 3]; 2]> {
    let Endplate { centre, normal } = plate;
    let mut way: [f64; 3] = std::array::from_fn(|i| f64::from(i == axis) - normal[axis] * normal[i]);
    let length = way.iter().map(|part| part * part).sum::<f64>().sqrt();
    if length < 0.1 {
        return None;
    }
    way = way.map(|part| part / length);
    Some([-0.5, 0.5].map(|share| std::array::from_fn(|i| centre[i] + share * size * way[i])))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_lies_in_its_plate_and_is_as_long_as_the_body_is_deep_or_wide() {
        let tilt = 20f64.to_radians();
        let plate = Endplate { centre: [50.0, 60.0, 70.0], normal: [0.0, tilt.sin(), tilt.cos()] };
        let body = Measured {
            upper_plate: Some(plate),
            depth: Some(30.0),
            width: Some(40.0),
            ..Measured::default()
        };
        let [[front, back]] = lines(&body, Seen::FromTheSide)[..] else { panic!("one plate, one line") };
        assert!((back[1] - front[1] - 30.0 * tilt.cos()).abs() < 1e-9);
        // It leans to the back, so it falls to the back.
        assert!((back[2] - front[2] + 30.0 * tilt.sin()).abs() < 1e-9);
        let [[right, left]] = lines(&body, Seen::FromTheFront)[..] else { panic!("one plate, one line") };
        assert_eq!(([right[0], left[0]], right[2], left[2]), ([30.0, 70.0], 70.0, 70.0));
        assert!(lines(&Measured { width: None, ..body }, Seen::FromTheFront).is_empty());
    }
}
