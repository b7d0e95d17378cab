//! Slices in their order, and whether they fill a box without gaps.

use anyhow::{Result, ensure};

use super::slice::Slice;
use crate::scan::Geometry;

/// Distances of neighbouring slices may differ from the usual one by this share, or by so many mm.
const UNEVEN: [f64; 2] = [0.05, 0.1];
/// Degrees by which slices may be shifted against the direction they are stacked in.
const TILT: f64 = 1.0;

fn dot(a: [f64; 3], b: [f64; 3]) -> f64 {
    (0..3).map(|axis| a[axis] * b[axis]).sum()
}

fn difference(a: [f64; 3], b: [f64; 3]) -> [f64; 3] {
    std::array::from_fn(|axis| a[axis] - b[axis])
}

/// Sorts the slices of one series along their normal, drops copies and returns the grid they fill,
/// indexed `[column, row, slice]`; errors name gaps and tilt.
pub fn stack(slices: &mut Vec<Slice>) -> Result<Geometry> {
    let normal = slices[0].normal();
    let height = |slice: &Slice| dot(slice.position, normal);
    slices.sort_by(|a, b| height(a).total_cmp(&height(b)).then_with(|| a.path.cmp(&b.path)));
    slices.dedup_by(|a, b| !a.instance.is_empty() && a.instance == b.instance);
    ensure!(
        slices.len() > 1,
        "the series has one slice ({}); a 3-D volume is needed",
        slices[0].path.display()
    );
    let steps: Vec<f64> = slices.windows(2).map(|pair| height(&pair[1]) - height(&pair[0])).collect();
    let mut sorted = steps.clone();
    sorted.sort_by(f64::total_cmp);
    let usual = sorted[sorted.len() / 2];
    for (pair, &step) in slices.windows(2).zip(&steps) {
        let [a, b] = [&pair[0], &pair[1]].map(|slice| slice.path.file_name().unwrap_or_default().display());
        ensure!(
            step > 1e-3,
            "{a} and {b} show the same place; separate what the series holds (phases, reconstructions) into folders"
        );
        ensure!(
            (step - usual).abs() <= (UNEVEN[0] * usual).max(UNEVEN[1]),
            "the slices are unevenly spaced: {step:.2} mm between {a} and {b}, {usual:.2} mm elsewhere; add what is \
             missing, or resample the series to even slices"
        );
    }
    let (first, last) = (&slices[0], &slices[slices.len() - 1]);
    let way = difference(last.position, first.position);
    let along = dot(way, normal);
    let sideways = (dot(way, way) - along * along).max(0.0).sqrt();
    let tilt = sideways.atan2(along).to_degrees();
    ensure!(
        tilt <= TILT,
        "the gantry was tilted by {tilt:.1} degrees, so that the slices form no box; correct the tilt first (dcm2niix \
         does)"
    );
    let step = along / (slices.len() - 1) as f64;
    let [row, column] = first.directions;
    let affine = std::array::from_fn(|world| {
        // DICOM's world is LPS, the geometry's RAS.
        let sign = if world < 2 { -1.0 } else { 1.0 };
        let along_slices = way[world] / (slices.len() - 1) as f64;
        [
            sign * row[world] * first.spacing[0],
            sign * column[world] * first.spacing[1],
            sign * along_slices,
            sign * first.position[world],
        ]
    });
    let shape = [first.size[1], first.size[0], slices.len()];
    Ok(Geometry { shape, spacing: [first.spacing[0], first.spacing[1], step], affine })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slices(places: &[[f64; 3]]) -> Vec<Slice> {
        let slice = |(index, &position): (usize, &[f64; 3])| Slice {
            path: format!("{index}.dcm").into(),
            series: "1".into(),
            title: String::new(),
            instance: format!("1.{index}"),
            size: [6, 5],
            position,
            directions: [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]],
            spacing: [0.5, 0.7],
            rescaled: true,
        };
        places.iter().enumerate().map(slice).collect()
    }

    fn sentence(places: &[[f64; 3]]) -> String {
        stack(&mut slices(places)).unwrap_err().to_string()
    }

    #[test]
    fn slices_in_any_order_become_a_grid() {
        let mut slices = slices(&[[1.0, 2.0, 9.0], [1.0, 2.0, 3.0], [1.0, 2.0, 6.0]]);
        slices.push(Slice { path: "copy.dcm".into(), ..slices[2].clone() });
        let geometry = stack(&mut slices).unwrap();
        assert_eq!(geometry.shape, [5, 6, 3]);
        assert_eq!(geometry.spacing, [0.5, 0.7, 3.0]);
        // The last row's and column's pixel of the middle slice, in RAS.
        assert_eq!(geometry.world([4.0, 5.0, 1.0]), [-(1.0 + 2.0), -(2.0 + 3.5), 6.0]);
    }

    #[test]
    fn gaps_doubles_and_tilt_are_refused_with_their_name() {
        let gap = sentence(&[[0.0; 3], [0.0, 0.0, 3.0], [0.0, 0.0, 9.0], [0.0, 0.0, 12.0]]);
        assert!(gap.contains("6.00 mm between 1.dcm and 2.dcm, 3.00 mm elsewhere"), "{gap}");
        let double = sentence(&[[0.0; 3], [0.0, 0.0, 3.0], [0.0, 0.0, 3.0]]);
        assert!(double.contains("show the same place"), "{double}");
        let tilt = sentence(&[[0.0; 3], [0.0, 0.8, 3.0], [0.0, 1.6, 6.0]]);
        assert!(tilt.contains("tilted by 14.9 degrees"), "{tilt}");
        assert!(sentence(&[[0.0; 3]]).contains("one slice (0.dcm)"));
    }
}
