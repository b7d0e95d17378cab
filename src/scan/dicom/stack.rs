//! Slices in their order, and whether they fill a box without gaps.

use anyhow::{Result, ensure};

use super::slice::Slice;
use crate::scan::Geometry;

/// Distances of neighbouring slices may differ from the usual one by this share, or by so many mm.
const UNEVEN: [f64; 2] = [0.05, 0.1];
/// Slices closer than this in mm show the same place.
const SAME: f64 = 1e-3;
/// A slice may lie so many mm to the side of the line through the first and the last.
const ASIDE: f64 = 1.0;
/// One of so many slices may be missing, and one of so many may be there twice: more is no accident.
pub(super) const FEW: usize = 20;

/// Slices that fill a box.
pub(crate) struct Stacked {
    /// The slices in order.
    pub slices: Vec<Slice>,
    /// For each plane of the grid, which slice shows it; of one that is missing, none.
    pub planes: Vec<Option<usize>>,
    /// The grid, indexed `[column, row, slice]`.
    pub geometry: Geometry,
    /// What was put right, a sentence each.
    pub warnings: Vec<String>,
}

fn dot(a: [f64; 3], b: [f64; 3]) -> f64 {
    (0..3).map(|axis| a[axis] * b[axis]).sum()
}

fn difference(a: [f64; 3], b: [f64; 3]) -> [f64; 3] {
    std::array::from_fn(|axis| a[axis] - b[axis])
}

/// Sorts the slices of one series along their normal, drops copies and finds the grid they fill, which is
/// sheared if the gantry was tilted; errors name gaps, doubles and slices that step aside.
pub(crate) fn stack(mut slices: Vec<Slice>) -> Result<Stacked> {
    let mut warnings = Vec::new();
    let normal = slices[0].normal();
    let height = |slice: &Slice| dot(slice.position, normal);
    slices.sort_by(|a, b| height(a).total_cmp(&height(b)).then_with(|| a.path.cmp(&b.path)));
    drop_doubles(&mut slices, height, &mut warnings)?;
    ensure!(
        slices.len() > 1,
        "the series has one slice ({}); a 3-D volume is needed",
        slices[0].path.display()
    );
    let steps: Vec<f64> = slices.windows(2).map(|pair| height(&pair[1]) - height(&pair[0])).collect();
    let mut sorted = steps.clone();
    sorted.sort_by(f64::total_cmp);
    let usual = sorted[sorted.len() / 2];
    let near = |step: f64, wanted: f64| (step - wanted).abs() <= (UNEVEN[0] * usual).max(UNEVEN[1]);
    let mut planes = vec![Some(0)];
    let mut missing = 0;
    for (index, &step) in steps.iter().enumerate() {
        let [a, b] = [&slices[index], &slices[index + 1]].map(Slice::name);
        if near(step, 2.0 * usual) && !near(step, usual) && missing < slices.len() / FEW {
            missing += 1;
            planes.push(None);
            warnings.push(format!("a slice is missing between {a} and {b}; it was made of its neighbours"));
        } else {
            ensure!(
                near(step, usual),
                "the slices are unevenly spaced: {step:.2} mm between {a} and {b}, {usual:.2} mm elsewhere; add what is \
                 missing, or resample the series to even slices"
            );
        }
        planes.push(Some(index + 1));
    }
    let (first, last) = (&slices[0], &slices[slices.len() - 1]);
    let way = difference(last.position, first.position);
    let along = dot(way, normal);
    aside(&slices, way, |slice| (height(slice) - height(first)) / along)?;
    let count = (planes.len() - 1) as f64;
    let [row, column] = first.directions;
    let affine: [[f64; 4]; 3] = std::array::from_fn(|world| {
        // DICOM's world is LPS, the geometry's RAS.
        let sign = if world < 2 { -1.0 } else { 1.0 };
        [
            sign * row[world] * first.spacing[0],
            sign * column[world] * first.spacing[1],
            sign * way[world] / count,
            sign * first.position[world],
        ]
    });
    let shape = [first.size[1], first.size[0], planes.len()];
    let step = dot(way, way).sqrt() / count;
    let geometry = Geometry { shape, spacing: [first.spacing[0], first.spacing[1], step], affine };
    Ok(Stacked { slices, planes, geometry, warnings })
}

/// Keeps one of several slices that show the same place. Copies go without a word, another slice or two with a
/// warning; more of them are another phase or reconstruction.
fn drop_doubles(
    slices: &mut Vec<Slice>,
    height: impl Fn(&Slice) -> f64,
    warnings: &mut Vec<String>,
) -> Result<()> {
    let mut doubles = Vec::new();
    slices.dedup_by(|later, earlier| {
        let same = (height(later) - height(earlier)).abs() <= SAME;
        let copy =
            !later.instance.is_empty() && later.instance == earlier.instance && later.frame == earlier.frame;
        if same && !copy {
            doubles.push([earlier.name(), later.name()]);
        }
        same
    });
    if let Some([a, b]) = doubles.first() {
        ensure!(
            doubles.len() <= slices.len() / FEW,
            "{a} and {b} show the same place; separate what the series holds (phases, reconstructions) into folders"
        );
        for [kept, dropped] in &doubles {
            warnings.push(format!("{kept} and {dropped} show the same place; {dropped} was left out"));
        }
    }
    Ok(())
}

/// Refuses slices that lie beside the line on which the others do.
fn aside(slices: &[Slice], way: [f64; 3], share: impl Fn(&Slice) -> f64) -> Result<()> {
    let first = slices[0].position;
    let off = |slice: &Slice| {
        let part = share(slice);
        let expected: [f64; 3] = std::array::from_fn(|axis| first[axis] + part * way[axis]);
        let off = difference(slice.position, expected);
        dot(off, off).sqrt()
    };
    let beside: Vec<&Slice> = slices.iter().filter(|slice| off(slice) > ASIDE).collect();
    if let (Some(from), Some(to)) = (beside.first(), beside.last()) {
        let most = beside.iter().map(|slice| off(slice)).fold(0.0, f64::max);
        anyhow::bail!(
            "{} slices between {} and {} lie up to {most:.0} mm beside the line of the others; export the series again",
            beside.len(),
            from.name(),
            to.name()
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slices(places: &[[f64; 3]]) -> Vec<Slice> {
        let slice = |(index, &position): (usize, &[f64; 3])| Slice {
            path: format!("{index}.dcm").into(),
            study: "1".into(),
            series: "1".into(),
            title: String::new(),
            class: "1.2.840.10008.5.1.4.1.1.2".into(),
            instance: format!("1.{index}"),
            size: [6, 5],
            position,
            directions: [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]],
            spacing: [0.5, 0.7],
            rescaled: true,
            bare: None,
            frame: None,
            rescale: None,
        };
        places.iter().enumerate().map(slice).collect()
    }

    fn column(count: usize) -> Vec<[f64; 3]> {
        (0..count).map(|index| [0.0, 0.0, 3.0 * index as f64]).collect()
    }

    fn sentence(places: &[[f64; 3]]) -> String {
        stack(slices(places)).err().unwrap().to_string()
    }

    #[test]
    fn slices_in_any_order_become_a_grid() {
        let mut slices = slices(&[[1.0, 2.0, 9.0], [1.0, 2.0, 3.0], [1.0, 2.0, 6.0]]);
        slices.push(Slice { path: "copy.dcm".into(), ..slices[2].clone() });
        let Stacked { geometry, planes, warnings, .. } = stack(slices).unwrap();
        assert_eq!(geometry.shape, [5, 6, 3]);
        assert_eq!(geometry.spacing, [0.5, 0.7, 3.0]);
        assert_eq!((planes, warnings.len()), (vec![Some(0), Some(1), Some(2)], 0));
        // The last row's and column's pixel of the middle slice, in RAS.
        assert_eq!(geometry.world([4.0, 5.0, 1.0]), [-(1.0 + 2.0), -(2.0 + 3.5), 6.0]);
    }

    #[test]
    fn slices_with_one_number_at_different_places_are_different_ones() {
        let mut same = slices(&column(4));
        same.iter_mut().for_each(|slice| slice.instance = "1".into());
        assert_eq!(stack(same).unwrap().geometry.shape[2], 4);
    }

    #[test]
    fn one_slice_that_is_missing_or_there_twice_is_put_right_with_a_warning() {
        let mut places = column(41);
        places.remove(17);
        let stacked = stack(slices(&places)).unwrap();
        assert_eq!((stacked.geometry.shape[2], stacked.planes[17], stacked.slices.len()), (41, None, 40));
        assert!(stacked.warnings[0].contains("missing between 16.dcm and 17.dcm"), "{:?}", stacked.warnings);
        let mut places = column(40);
        places.push(places[5]);
        let stacked = stack(slices(&places)).unwrap();
        assert_eq!(stacked.geometry.shape[2], 40);
        assert!(
            stacked.warnings[0].contains("40.dcm and 5.dcm show the same place; 5.dcm was"),
            "{:?}",
            stacked.warnings
        );
    }

    #[test]
    fn gaps_phases_and_steps_aside_are_refused_with_their_name() {
        let gap = sentence(&[[0.0; 3], [0.0, 0.0, 3.0], [0.0, 0.0, 9.0], [0.0, 0.0, 12.0]]);
        assert!(gap.contains("6.00 mm between 1.dcm and 2.dcm, 3.00 mm elsewhere"), "{gap}");
        let phases = sentence(&[column(30), column(30)].concat());
        assert!(phases.contains("show the same place"), "{phases}");
        let mut places = column(30);
        places[10..14].iter_mut().for_each(|place| place[0] += 60.0);
        let aside = sentence(&places);
        assert!(aside.contains("4 slices between 10.dcm and 13.dcm lie up to 60 mm beside"), "{aside}");
        assert!(sentence(&[[0.0; 3]]).contains("one slice (0.dcm)"));
    }

    #[test]
    fn a_tilted_gantry_makes_a_sheared_grid() {
        let places: Vec<[f64; 3]> = (0..10).map(|i| [0.0, 0.8 * i as f64, 3.0 * i as f64]).collect();
        let geometry = stack(slices(&places)).unwrap().geometry;
        assert_eq!([geometry.affine[1][2], geometry.affine[2][2]], [-0.8, 3.0]);
    }
}
