//! What was measured, as it is written: in the document of a scan, and as a table over all scans of a run.

use serde::{Deserialize, Serialize};

use super::prediction::{Document, Vertebra, rounded, word};
use super::trust::Trust;
use crate::anatomy::Level;
use crate::measurement::{
    Alignment, Angle, Contrast, Density, Endplate, Form, Fracture, Heights, Measured, Measurements, Mineral,
    Remark,
};
use crate::scan::Frame;

/// What was measured of a vertebra, `null` where the image does not show it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Figures {
    /// Heights in mm.
    pub heights_mm: Option<Heights>,
    /// Width and depth at the waist in mm.
    pub width_mm: Option<f64>,
    /// See [`Figures::width_mm`].
    pub depth_mm: Option<f64>,
    /// The end plates.
    pub upper_endplate: Option<Plane>,
    /// See [`Figures::upper_endplate`].
    pub lower_endplate: Option<Plane>,
    /// How good the edges are, from 0 to 1.
    pub quality: f64,
    /// How much height is lost, after Genant.
    pub genant: Option<Grade>,
    /// Hounsfield units of the spongy bone.
    pub hu: Option<Hounsfield>,
    /// What to look at.
    pub flags: Vec<Remark>,
}

/// A plane in the patient.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Plane {
    /// Its middle in mm, LPS.
    pub lps: [f64; 3],
    /// Its normal, to the head, of length 1, LPS.
    pub normal: [f64; 3],
}

/// A grade of height loss.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Grade {
    /// 0 to 3.
    pub grade: u8,
    /// Where most is lost.
    pub form: Form,
    /// The share that is lost there.
    pub loss: f64,
}

/// Hounsfield units of a region.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Hounsfield {
    /// Mean.
    pub mean: f64,
    /// Median.
    pub median: f64,
    /// Standard deviation.
    pub sd: f64,
    /// Voxels.
    pub voxels: usize,
}

/// What was measured of a scan as a whole.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ScanFigures {
    /// What the aorta says of contrast agent.
    pub contrast: Contrast,
    /// How the lying spine bends.
    pub alignment: Alignment,
    /// What L1 says of the skeleton.
    pub bone_density: Option<BoneDensity>,
}

/// The density of L1, with the doubt of its name.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct BoneDensity {
    /// The vertebra.
    pub label: Level,
    /// How likely it is that one.
    pub confidence: f64,
    /// Its mean density in HU.
    pub hu: f64,
    /// What literature makes of that.
    pub reading: Mineral,
}

impl Figures {
    /// A vertebra's measurements with the digits that are worth writing.
    pub fn of(measured: &Measured, frame: &Frame) -> Figures {
        let tenth = |value: f64| rounded(value, 1);
        let heights = |heights: Heights| Heights {
            anterior: tenth(heights.anterior),
            middle: tenth(heights.middle),
            posterior: tenth(heights.posterior),
        };
        let grade = |Fracture { grade, form, loss }: Fracture| Grade { grade, form, loss: rounded(loss, 2) };
        let hu = |Density { mean, median, deviation, voxels }: Density| Hounsfield {
            mean: tenth(mean),
            median: tenth(median),
            sd: tenth(deviation),
            voxels,
        };
        Figures {
            heights_mm: measured.heights.map(heights),
            width_mm: measured.width.map(tenth),
            depth_mm: measured.depth.map(tenth),
            upper_endplate: measured.upper_plate.map(|plate| Plane::of(&plate, frame)),
            lower_endplate: measured.lower_plate.map(|plate| Plane::of(&plate, frame)),
            quality: rounded(measured.quality, 2),
            genant: measured.fracture.map(grade),
            hu: measured.density.map(hu),
            flags: measured.remarks.clone(),
        }
    }
}

impl Plane {
    fn of(plate: &Endplate, frame: &Frame) -> Plane {
        let lps = frame.lps(plate.centre);
        // A direction is what lies between two points.
        let tip = frame.lps(std::array::from_fn(|axis| plate.centre[axis] + plate.normal[axis]));
        let off: [f64; 3] = std::array::from_fn(|axis| tip[axis] - lps[axis]);
        let length = off.iter().map(|part| part * part).sum::<f64>().sqrt().max(1e-9);
        Plane { lps: lps.map(|part| rounded(part, 2)), normal: off.map(|part| rounded(part / length, 4)) }
    }
}

impl ScanFigures {
    /// A scan's measurements; `names` are its vertebrae with their confidences, in the same order.
    pub fn of(measurements: &Measurements, names: &[(Level, f64)]) -> ScanFigures {
        let Measurements { contrast, alignment, vertebrae, .. } = measurements;
        let angle = |angle: &Option<Angle>| {
            angle.clone().map(|angle| Angle { degrees: rounded(angle.degrees, 1), ..angle })
        };
        let first = names.iter().zip(vertebrae).find(|((level, _), _)| level.name() == "L1");
        let density = first.and_then(|(&(label, confidence), measured)| {
            let hu = measured.density?.mean;
            let confidence = rounded(confidence, 3);
            Some(BoneDensity { label, confidence, hu: rounded(hu, 1), reading: Mineral::of(hu) })
        });
        ScanFigures {
            contrast: Contrast {
                aorta: contrast.aorta.map(|hu| rounded(hu, 1)),
                quality: rounded(contrast.quality, 2),
                ..*contrast
            },
            alignment: Alignment {
                kyphosis: angle(&alignment.kyphosis),
                lordosis: angle(&alignment.lordosis),
                cobb: angle(&alignment.cobb),
            },
            bone_density: density,
        }
    }
}

/// The columns of the table.
pub const COLUMNS: [&str; 16] = [
    "scan",
    "label",
    "confidence",
    "alternative",
    "hu_mean",
    "hu_median",
    "hu_sd",
    "hu_voxels",
    "height_anterior_mm",
    "height_middle_mm",
    "height_posterior_mm",
    "width_mm",
    "depth_mm",
    "genant",
    "contrast",
    "flags",
];

/// A row a vertebra of a measured scan; nothing of one that was not measured.
pub fn rows(document: &Document) -> Vec<[String; COLUMNS.len()]> {
    let Some(scan) = &document.measurements else { return Vec::new() };
    let phase = word(&scan.contrast.phase).unwrap_or_default();
    let text = |value: Option<f64>| value.map_or_else(String::new, |value| value.to_string());
    let row = |vertebra: &Vertebra| {
        let figures = vertebra.measured.as_ref();
        let hu = figures.and_then(|figures| figures.hu.as_ref());
        let heights = figures.and_then(|figures| figures.heights_mm.as_ref());
        let grade = figures.and_then(|figures| figures.genant.as_ref()).map(|genant| genant.grade);
        [
            document.input.path.display().to_string(),
            vertebra.label.to_string(),
            vertebra.confidence.to_string(),
            vertebra.alternatives.first().map_or_else(String::new, |other| other.label.to_string()),
            text(hu.map(|hu| hu.mean)),
            text(hu.map(|hu| hu.median)),
            text(hu.map(|hu| hu.sd)),
            hu.map_or_else(String::new, |hu| hu.voxels.to_string()),
            text(heights.map(|heights| heights.anterior)),
            text(heights.map(|heights| heights.middle)),
            text(heights.map(|heights| heights.posterior)),
            text(figures.and_then(|figures| figures.width_mm)),
            text(figures.and_then(|figures| figures.depth_mm)),
            grade.map_or_else(String::new, |grade| grade.to_string()),
            phase.clone(),
            vertebra.all_flags().join(" "),
        ]
    };
    document.vertebrae.iter().map(row).collect()
}

/// What a reader of many scans should see of a scan's measurements: the density of L1, bodies that may be broken or hold
/// something, contrast agent. A name that may be wrong is doubted beside each figure.
pub fn remarkable(document: &Document) -> Vec<String> {
    let Some(scan) = &document.measurements else { return Vec::new() };
    let named = |vertebra: &Vertebra| match vertebra.alternatives.first() {
        Some(other) if Trust::of(vertebra.confidence) != Trust::Sure => {
            format!("{} ({:.2}, or {})", vertebra.label, vertebra.confidence, other.label)
        }
        _ => vertebra.label.to_string(),
    };
    let mut lines = Vec::new();
    let with_density = |vertebra: &&Vertebra| vertebra.label.name() == "L1";
    if let (Some(density), Some(first)) = (&scan.bone_density, document.vertebrae.iter().find(with_density)) {
        let reading = word(&density.reading).unwrap_or_default();
        lines.push(format!("{}: {:.0} HU, {reading}", named(first), density.hu));
    }
    for vertebra in &document.vertebrae {
        let Some(figures) = &vertebra.measured else { continue };
        if let Some(genant) = figures.genant.as_ref().filter(|genant| genant.grade > 0) {
            let form = word(&genant.form).unwrap_or_default();
            lines.push(format!("{}: suspected fracture, {form}, grade {}", named(vertebra), genant.grade));
        }
        for flag in figures.flags.iter().filter(|flag| matches!(flag, Remark::Sclerotic | Remark::Metal)) {
            lines.push(format!("{}: {}", named(vertebra), flag));
        }
    }
    if scan.contrast.phase.is_enhanced() {
        lines.push(format!("contrast: {}", word(&scan.contrast.phase).unwrap_or_default()));
    }
    lines
}
