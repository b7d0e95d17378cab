//! Names and measurements as a structured report: TID 1500 of PS3.16 in a Comprehensive 3D SR document.
//!
//! All it says is taken from the scan's [`Document`], so that both say the same.

use std::path::Path;

use anyhow::Result;
use dicom_core::VR;
use dicom_dictionary_std::{tags, uids};

use super::codes::{Code, dcm, sct, unit, vertebra};
use super::content::{Is, Item};
use super::elements::{group, sequence, text};
use super::header::{self, Kind, MANUFACTURER, MODEL, Moment, Origin, VERSION};
use crate::measurement::Angle;
use crate::report::measurements::{Figures, Grade, ScanFigures};
use crate::report::prediction::{Document, Vertebra, word};
use crate::scan::dicom::Reference;

const KIND: Kind = Kind {
    class: uids::COMPREHENSIVE3_DSR_STORAGE,
    modality: "SR",
    series: 8000,
    description: "Vertebrae: names and measurements",
};

const MILLIMETRE: Code = unit("mm", "millimeter");
const DEGREE: Code = unit("deg", "degree");
const HOUNSFIELD: Code = unit("[hnsf'U]", "Hounsfield unit");
const PERCENT: Code = unit("%", "percent");

const SITE: Code = sct("363698007", "Finding Site");
const FINDING: Code = dcm("121071", "Finding");
const SPINE: Code = sct("421060004", "Spine");
const AORTA: Code = sct("15825003", "Aorta");
const ATTENUATION: Code = dcm("112031", "Attenuation Coefficient");
const CERTAINTY: Code = dcm("111012", "Certainty of Finding");
const MODIFIER: Code = sct("106233006", "Topographical modifier");
const DERIVATION: Code = dcm("121401", "Derivation");
const REGION: Code = dcm("111030", "Image Region");
const GROUP: Code = dcm("125007", "Measurement Group");
const MEAN: Code = sct("373098007", "Mean");
const MEDIAN: Code = sct("373099004", "Median");
const DEVIATION: Code = sct("386136009", "Standard Deviation");
const COMMENT: Code = dcm("121106", "Comment");
const OTHERWISE: Code = dcm("111023", "Differential Diagnosis/Impression");
const SEVERITY: Code = sct("246112005", "Severity");
/// Genant's grades.
const GRADES: [Code; 4] = [
    sct("260413007", "None"),
    sct("255604002", "Mild"),
    sct("6736007", "Moderate"),
    sct("24484000", "Severe"),
];

/// Writes what a document says of a scan with vertebrae.
pub fn structured(path: &Path, origin: &Origin, document: &Document, now: &Moment) -> Result<()> {
    let content = serde_json::to_string(&(origin.series(), &document.models, &document.shift))?
        + &serde_json::to_string(&(&document.measurements, &document.vertebrae))?;
    let mut object = header::header(origin, &KIND, &format!("{VERSION} {content}"), now);
    for element in [
        text(tags::COMPLETION_FLAG, VR::CS, "COMPLETE"),
        text(tags::VERIFICATION_FLAG, VR::CS, "UNVERIFIED"),
        sequence(tags::REFERENCED_PERFORMED_PROCEDURE_STEP_SEQUENCE, Vec::new()),
        sequence(tags::PERFORMED_PROCEDURE_CODE_SEQUENCE, Vec::new()),
        evidence(origin),
    ] {
        object.put(element);
    }
    for element in tree(origin, document).object(true) {
        object.put(element);
    }
    header::save(path, object)
}

/// The slices that the report speaks of.
fn evidence(origin: &Origin) -> dicom_object::mem::InMemElement {
    let series = [
        text(tags::SERIES_INSTANCE_UID, VR::UI, origin.series()),
        sequence(tags::REFERENCED_SOP_SEQUENCE, origin.references()),
    ];
    let study = [
        group(tags::REFERENCED_SERIES_SEQUENCE, series),
        text(tags::STUDY_INSTANCE_UID, VR::UI, &origin.source.series.study),
    ];
    group(tags::CURRENT_REQUESTED_PROCEDURE_EVIDENCE_SEQUENCE, study)
}

/// TID 1500.
fn tree(origin: &Origin, document: &Document) -> Item {
    let english = Item::code(
        Is::Modifier,
        &dcm("121049", "Language of Content Item and Descendants"),
        &Code { value: "en", scheme: "RFC5646", meaning: "English" },
    );
    let observer = [
        Item::code(Is::Context, &dcm("121005", "Observer Type"), &dcm("121007", "Device")),
        Item::uid(Is::Context, &dcm("121012", "Device Observer UID"), header::uid(&["observer", VERSION])),
        Item::text(Is::Context, &dcm("121013", "Device Observer Name"), MODEL),
        Item::text(Is::Context, &dcm("121014", "Device Observer Manufacturer"), MANUFACTURER),
        Item::text(Is::Context, &dcm("121015", "Device Observer Model Name"), MODEL),
        Item::text(Is::Context, &dcm("121016", "Device Observer Serial Number"), VERSION),
    ];
    let procedure = Item::code(
        Is::Modifier,
        &dcm("121058", "Procedure reported"),
        &sct("77477000", "Computed tomography"),
    );
    let library = Item::container(Is::Contained, &dcm("111028", "Image Library"), Some("1600")).holding([
        Item::container(Is::Contained, &dcm("126200", "Image Library Group"), Some("1602"))
            .holding([Item::code(Is::Context, &dcm("121139", "Modality"), &dcm("CT", "Computed Tomography"))])
            .holding(origin.source.files().into_iter().map(|slice| {
                // A library lists files; which of their frames matter is not said here.
                Item::image(Is::Contained, &Reference { frame: None, ..slice.clone() })
            })),
    ]);
    let frame = header::frame_of_reference(origin);
    let groups = document.vertebrae.iter().map(|found| vertebra_group(found, origin, &frame));
    let whole = scan_groups(document, origin);
    let measured = Item::container(Is::Contained, &dcm("126010", "Imaging Measurements"), None)
        .holding(groups)
        .holding(whole);
    Item::container(Is::Contained, &dcm("126000", "Imaging Measurement Report"), Some("1500"))
        .holding([english])
        .holding(observer)
        .holding([procedure, library, measured])
}

/// A measurement group with its name and what computed it.
fn measurement_group(template: &str, name: &str, origin: &Origin) -> Item {
    Item::container(Is::Contained, &GROUP, Some(template)).holding([
        Item::text(Is::Context, &dcm("112039", "Tracking Identifier"), name),
        Item::uid(
            Is::Context,
            &dcm("112040", "Tracking Unique Identifier"),
            header::uid(&["segment", origin.series(), name]),
        ),
    ])
}

fn algorithm() -> [Item; 2] {
    [
        Item::text(Is::Modifier, &dcm("111001", "Algorithm Name"), MODEL),
        Item::text(Is::Modifier, &dcm("111003", "Algorithm Version"), VERSION),
    ]
}

/// A vertebra: a planar region of interest that is a point (TID 1410), what its name is worth, and its measurements.
fn vertebra_group(found: &Vertebra, origin: &Origin, frame: &str) -> Item {
    let name = vertebra(found.label);
    let mut items = vec![Item::code(Is::Contained, &FINDING, &name)];
    items.extend(algorithm());
    items.push(Item::code(Is::Modifier, &SITE, &name));
    items.push(Item::point(Is::Contained, &REGION, found.lps, frame));
    items.push(certainty(Is::Contained, found.confidence));
    if let Some(figures) = &found.measured {
        items.extend(figure_items(figures));
    }
    for other in &found.alternatives {
        let level = Item::code(Is::Contained, &OTHERWISE, &vertebra(other.label));
        items.push(level.holding([certainty(Is::Property, other.confidence)]));
    }
    items.extend(found.all_flags().into_iter().map(comment));
    measurement_group("1410", found.label.name(), origin).holding(items)
}

fn comment(text: impl Into<String>) -> Item {
    Item::text(Is::Contained, &COMMENT, text)
}

/// A share, which has three decimals at most, in percent.
fn percent(share: f64) -> f64 {
    (share * 1000.0).round() / 10.0
}

fn certainty(is: Is, confidence: f64) -> Item {
    Item::number(is, &CERTAINTY, percent(confidence), &PERCENT)
}

fn figure_items(figures: &Figures) -> Vec<Item> {
    let number = |name: &Code, value: f64, unit: &Code| Item::number(Is::Contained, name, value, unit);
    let mut items = Vec::new();
    if let Some(heights) = &figures.heights_mm {
        let places = [
            (sct("255549009", "Anterior"), heights.anterior),
            (sct("255562008", "Mid"), heights.middle),
            (sct("255551008", "Posterior"), heights.posterior),
        ];
        for (place, height) in places {
            let where_ = Item::code(Is::Modifier, &MODIFIER, &place);
            items.push(number(&dcm("121207", "Height"), height, &MILLIMETRE).holding([where_]));
        }
    }
    items.extend(figures.width_mm.map(|width| number(&sct("103355008", "Width"), width, &MILLIMETRE)));
    items.extend(figures.depth_mm.map(|depth| number(&sct("131197000", "Depth"), depth, &MILLIMETRE)));
    if let Some(hu) = &figures.hu {
        for (derivation, value) in [(MEAN, hu.mean), (MEDIAN, hu.median), (DEVIATION, hu.sd)] {
            items.push(attenuation(value, &derivation));
        }
        items.push(comment(format!("the attenuation is that of {} voxels", hu.voxels)));
    }
    if let Some(Grade { grade, form, loss }) = &figures.genant {
        items.push(Item::code(Is::Contained, &SEVERITY, &GRADES[usize::from(*grade).min(3)]));
        let form = word(form).unwrap_or_default();
        items.push(comment(format!(
            "the severity is that of lost height after Genant, grade {grade}: {form}, {:.0} % of the height",
            100.0 * loss
        )));
    }
    items.push(certainty_of_edges(figures.quality));
    items
}

fn certainty_of_edges(quality: f64) -> Item {
    let feature = dcm("111011", "Certainty of Feature");
    Item::number(Is::Contained, &feature, percent(quality), &PERCENT)
}

fn attenuation(hu: f64, derivation: &Code) -> Item {
    Item::number(Is::Contained, &ATTENUATION, hu, &HOUNSFIELD).holding([Item::code(
        Is::Modifier,
        &DERIVATION,
        derivation,
    )])
}

/// What belongs to the scan as a whole, in groups without a region (TID 1501).
fn scan_groups(document: &Document, origin: &Origin) -> Vec<Item> {
    let mut groups = Vec::new();
    let mut spine = Vec::new();
    if let Some(shift) = &document.shift {
        spine.push(comment(format!(
            "all names may be one off: {:.1} %, then the first one is {}",
            100.0 * shift.confidence,
            shift.first
        )));
    }
    if let Some(ScanFigures { contrast, alignment, bone_density }) = &document.measurements {
        let mut aorta: Vec<Item> = contrast.aorta.map(|hu| attenuation(hu, &MEAN)).into_iter().collect();
        let phase = word(&contrast.phase).unwrap_or_default();
        aorta.push(Item::text(Is::Contained, &dcm("109058", "Contrast Phase"), phase));
        groups.push(whole_group("Contrast", &AORTA, aorta, origin));
        let angle = sct("1483009", "Angle");
        let curves = [
            ("Kyphosis", sct("122495006", "Thoracic spine"), &angle, &alignment.kyphosis),
            ("Lordosis", sct("122496007", "Lumbar spine"), &angle, &alignment.lordosis),
            ("Scoliosis", SPINE, &sct("285285000", "Cobb angle"), &alignment.cobb),
        ];
        for (title, site, name, angle) in curves {
            if let Some(angle) = angle {
                groups.push(whole_group(title, &site, curve(name, angle), origin));
            }
        }
        if let Some(density) = bone_density {
            let reading = word(&density.reading).unwrap_or_default();
            spine.push(comment(format!("bone density of {}: {reading} (research use)", density.label)));
        }
    }
    if !spine.is_empty() {
        groups.push(whole_group("Spine", &SPINE, spine, origin));
    }
    groups
}

fn whole_group(name: &str, site: &Code, items: Vec<Item>, origin: &Origin) -> Item {
    measurement_group("1501", name, origin)
        .holding(algorithm())
        .holding([Item::code(Is::Modifier, &SITE, site)])
        .holding(items)
}

fn curve(name: &Code, angle: &Angle) -> Vec<Item> {
    let ends = format!("from {} to {}, lying down", angle.from, angle.to);
    vec![Item::number(Is::Contained, name, angle.degrees, &DEGREE), comment(ends)]
}
