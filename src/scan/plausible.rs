//! Whether a grid can be that of a CT, asked before memory is.

use anyhow::{Result, ensure};

use super::Geometry;

/// Voxels in mm that bodies can be told apart with; larger ones are warned of up to the second number.
const COARSE: f64 = 6.0;
const TOO_COARSE: f64 = 20.0;
/// Voxels in mm smaller than any scanner's.
const FINEST: f64 = 0.02;
/// Millimetres from one end of a scan to the other: a whole person with room.
const LONGEST: f64 = 3000.0;
/// Axes that span less than this share of a box of their lengths span no volume.
const FLAT: f64 = 0.1;

/// Refuses a grid that is none of a CT, in a sentence; warns of one that is too coarse to be read well.
pub fn check(geometry: &Geometry, warnings: &mut Vec<String>) -> Result<()> {
    let Geometry { shape, spacing, affine } = geometry;
    ensure!(
        spacing.iter().all(|mm| mm.is_finite()) && affine.iter().flatten().all(|value| value.is_finite()),
        "its header places voxels at no finite distance; export the scan again"
    );
    ensure!(
        spacing.iter().all(|mm| (FINEST..=TOO_COARSE).contains(mm)),
        "its voxels are {spacing:?} mm apart, which no CT of a spine is (between {FINEST} and {TOO_COARSE}); check the \
         unit of lengths in its header"
    );
    let extent = geometry.extent();
    ensure!(
        extent.iter().all(|&mm| mm <= LONGEST),
        "it is {:.0} x {:.0} x {:.0} mm large, more than a person; check the unit of lengths in its header",
        extent[0],
        extent[1],
        extent[2]
    );
    let columns: [[f64; 3]; 3] = std::array::from_fn(|axis| std::array::from_fn(|row| affine[row][axis]));
    let length = |v: [f64; 3]| v.iter().map(|part| part * part).sum::<f64>().sqrt();
    let cross = |a: [f64; 3], b: [f64; 3]| -> [f64; 3] {
        std::array::from_fn(|i| a[(i + 1) % 3] * b[(i + 2) % 3] - a[(i + 2) % 3] * b[(i + 1) % 3])
    };
    let normal = cross(columns[0], columns[1]);
    let volume = (0..3).map(|i| normal[i] * columns[2][i]).sum::<f64>().abs();
    let full: f64 = columns.iter().map(|&column| length(column)).product();
    ensure!(
        volume >= FLAT * full && full > 0.0,
        "its axes span no volume (two of them run along one line); repair the orientation in its header"
    );
    if let Some(thick) = spacing.iter().copied().filter(|&mm| mm > COARSE).reduce(f64::max) {
        warnings.push(format!(
            "its voxels are {thick:.1} mm apart (bodies are told apart up to {COARSE:.0}); names mean little"
        ));
    }
    ensure!(shape.iter().all(|&size| size > 0), "it holds no voxel");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grid(spacing: [f64; 3], shape: [usize; 3]) -> Geometry {
        let affine =
            std::array::from_fn(|row| std::array::from_fn(|i| if i == row { spacing[row] } else { 0.0 }));
        Geometry { shape, spacing, affine }
    }

    fn sentence(geometry: &Geometry) -> String {
        check(geometry, &mut Vec::new()).unwrap_err().to_string()
    }

    #[test]
    fn a_grid_of_a_ct_passes_and_thick_slices_are_warned_of() {
        let mut warnings = Vec::new();
        check(&grid([0.7, 0.7, 5.0], [512, 512, 300]), &mut warnings).unwrap();
        assert!(warnings.is_empty());
        check(&grid([0.7, 0.7, 8.0], [512, 512, 90]), &mut warnings).unwrap();
        assert!(warnings[0].contains("8.0 mm apart"), "{warnings:?}");
    }

    #[test]
    fn what_no_scanner_makes_is_refused_before_memory_is_asked_for() {
        assert!(sentence(&grid([2000.0; 3], [72, 86, 200])).contains("[2000.0, 2000.0, 2000.0] mm apart"));
        assert!(sentence(&grid([0.002; 3], [72, 86, 200])).contains("check the unit"));
        assert!(sentence(&grid([2.0, 2.0, 100.0], [72, 86, 60])).contains("mm apart"));
        assert!(sentence(&grid([6.0; 3], [512, 512, 600])).contains("more than a person"));
        assert!(sentence(&grid([f64::NAN, 1.0, 1.0], [9, 9, 9])).contains("no finite distance"));
        let mut flat = grid([1.0; 3], [9, 9, 9]);
        flat.affine[1][1] = 0.0;
        flat.affine[0][1] = 1.0;
        assert!(sentence(&flat).contains("span no volume"));
    }
}
