//! What every DICOM file that the program writes has in common: the patient and the study of the scan it was made of, and what
//! made it.

use std::path::Path;

use anyhow::Result;
use dicom_core::{Tag, VR};
use dicom_dictionary_std::{tags, uids};
use dicom_object::mem::InMemElement;
use dicom_object::{FileMetaTableBuilder, InMemDicomObject};

use super::elements::{empty, text};
use crate::artifact;
use crate::scan::dicom::{Reference, Source};

/// Who and when: copied where the scan has them; those with a type have to be there, empty or not.
const COPIED: [(Tag, Option<VR>); 32] = [
    (tags::PATIENT_NAME, Some(VR::PN)),
    (tags::PATIENT_ID, Some(VR::LO)),
    (tags::ISSUER_OF_PATIENT_ID, None),
    (tags::PATIENT_BIRTH_DATE, Some(VR::DA)),
    (tags::PATIENT_SEX, Some(VR::CS)),
    (tags::PATIENT_AGE, None),
    (tags::PATIENT_SIZE, None),
    (tags::PATIENT_WEIGHT, None),
    (tags::PATIENT_SPECIES_DESCRIPTION, None),
    (tags::PATIENT_IDENTITY_REMOVED, None),
    (tags::DEIDENTIFICATION_METHOD, None),
    (tags::DEIDENTIFICATION_METHOD_CODE_SEQUENCE, None),
    (tags::LONGITUDINAL_TEMPORAL_INFORMATION_MODIFIED, None),
    (tags::CLINICAL_TRIAL_SPONSOR_NAME, None),
    (tags::CLINICAL_TRIAL_PROTOCOL_ID, None),
    (tags::CLINICAL_TRIAL_PROTOCOL_NAME, None),
    (tags::CLINICAL_TRIAL_SITE_ID, None),
    (tags::CLINICAL_TRIAL_SITE_NAME, None),
    (tags::CLINICAL_TRIAL_SUBJECT_ID, None),
    (tags::CLINICAL_TRIAL_SUBJECT_READING_ID, None),
    (tags::CLINICAL_TRIAL_TIME_POINT_ID, None),
    (tags::CLINICAL_TRIAL_TIME_POINT_DESCRIPTION, None),
    (tags::STUDY_DATE, Some(VR::DA)),
    (tags::STUDY_TIME, Some(VR::TM)),
    (tags::STUDY_ID, Some(VR::SH)),
    (tags::STUDY_DESCRIPTION, None),
    (tags::ACCESSION_NUMBER, Some(VR::SH)),
    (tags::REFERRING_PHYSICIAN_NAME, Some(VR::PN)),
    (tags::TIMEZONE_OFFSET_FROM_UTC, None),
    (tags::LOSSY_IMAGE_COMPRESSION_RATIO, None),
    (tags::LOSSY_IMAGE_COMPRESSION_METHOD, None),
    (tags::BODY_PART_EXAMINED, None),
];

/// What made the files.
pub(super) const MANUFACTURER: &str = "vertebrae";
pub(super) const MODEL: &str = "vertebrae predict";
pub(super) const VERSION: &str = env!("CARGO_PKG_VERSION");

/// A UID that belongs to what it names and to nothing else: made of a hash, so that the same result written again is the same
/// object to an archive, and another result another one (PS3.5 B.2: 2.25 and the number of a UUID).
pub(super) fn uid(parts: &[&str]) -> String {
    let digits = artifact::sha256_of(parts.join("\n").as_bytes());
    let number = u128::from_str_radix(&digits[..32], 16).unwrap_or_default();
    // The bits that say that this is a UUID, of a kind of its maker's own (RFC 9562: version 8, variant 10).
    let uuid = number & !(0xf << 76) & !(0x3 << 62) | 0x8 << 76 | 0x2 << 62;
    format!("2.25.{uuid}")
}

/// The scan that files are made of: its slices, and the header of the first.
pub struct Origin<'a> {
    pub(super) source: &'a Source,
    pub(super) header: InMemDicomObject,
}

impl Origin<'_> {
    /// Reads the header of the first slice.
    pub fn of(source: &Source) -> Result<Origin<'_>> {
        Ok(Origin { source, header: source.header()? })
    }

    /// SeriesInstanceUID.
    pub(super) fn series(&self) -> &str {
        &self.source.series.series
    }

    /// References to all slices, each file once.
    pub(super) fn references(&self) -> Vec<InMemDicomObject> {
        let item = |slice: &&Reference| {
            InMemDicomObject::from_element_iter(reference(&slice.class, &slice.instance))
        };
        self.source.files().iter().map(item).collect()
    }
}

/// What kind of file, and which one.
pub(super) struct Kind {
    /// SOPClassUID.
    pub class: &'static str,
    /// Modality.
    pub modality: &'static str,
    /// Put before the scan's series number, and the series' description.
    pub series: u32,
    pub description: &'static str,
}

/// When a file is written, as DICOM writes it.
#[derive(Clone, Debug)]
pub struct Moment {
    /// Year, month and day, eight digits.
    pub date: String,
    /// Hours, minutes and seconds, six digits.
    pub time: String,
}

/// A data set that says whose, when, of what kind and by what; `content` is what makes this result this one. Text is UTF-8.
pub(super) fn header(origin: &Origin, kind: &Kind, content: &str, now: &Moment) -> InMemDicomObject {
    let mut object = InMemDicomObject::from_element_iter([
        text(tags::SPECIFIC_CHARACTER_SET, VR::CS, "ISO_IR 192"),
        text(tags::SOP_CLASS_UID, VR::UI, kind.class),
        text(tags::SOP_INSTANCE_UID, VR::UI, uid(&[kind.modality, "instance", content])),
        text(tags::STUDY_INSTANCE_UID, VR::UI, &origin.source.series.study),
        text(tags::SERIES_INSTANCE_UID, VR::UI, uid(&[kind.modality, "series", content])),
        text(tags::SERIES_NUMBER, VR::IS, series_number(origin, kind.series)),
        text(tags::SERIES_DESCRIPTION, VR::LO, kind.description),
        text(tags::INSTANCE_NUMBER, VR::IS, "1"),
        text(tags::MODALITY, VR::CS, kind.modality),
        text(tags::MANUFACTURER, VR::LO, MANUFACTURER),
        text(tags::MANUFACTURER_MODEL_NAME, VR::LO, MODEL),
        text(tags::DEVICE_SERIAL_NUMBER, VR::LO, VERSION),
        text(tags::SOFTWARE_VERSIONS, VR::LO, VERSION),
    ]);
    for (date_tag, time_tag) in
        [(tags::CONTENT_DATE, tags::CONTENT_TIME), (tags::SERIES_DATE, tags::SERIES_TIME)]
    {
        object.put(text(date_tag, VR::DA, now.date.as_str()));
        object.put(text(time_tag, VR::TM, now.time.as_str()));
    }
    for (tag, needed) in COPIED {
        match (origin.header.get(tag), needed) {
            (Some(element), _) => {
                object.put(element.clone());
            }
            (None, Some(vr)) => {
                object.put(empty(tag, vr));
            }
            (None, None) => {}
        }
    }
    object
}

/// A number beside the scan's own, so that results stand behind the series they belong to.
fn series_number(origin: &Origin, kind: u32) -> String {
    let own = origin.header.get(tags::SERIES_NUMBER).and_then(|element| element.to_int::<u32>().ok());
    (kind + own.unwrap_or(0) % 1000).to_string()
}

/// The frame of reference of the scan, or one of its own where it names none.
pub(super) fn frame_of_reference(origin: &Origin) -> String {
    let own = origin.header.get(tags::FRAME_OF_REFERENCE_UID).and_then(|element| element.to_str().ok());
    let own = own.map(|uid| uid.trim_end_matches('\0').trim().to_owned()).filter(|uid| !uid.is_empty());
    own.unwrap_or_else(|| uid(&["frame of reference", origin.series()]))
}

/// References to slices: their class and their instance.
pub(super) fn reference(class: &str, instance: &str) -> [InMemElement; 2] {
    [
        text(tags::REFERENCED_SOP_CLASS_UID, VR::UI, class),
        text(tags::REFERENCED_SOP_INSTANCE_UID, VR::UI, instance),
    ]
}

/// Writes a data set as a file, whole or not at all.
pub(super) fn save(path: &Path, object: InMemDicomObject) -> Result<()> {
    let object =
        object.with_meta(FileMetaTableBuilder::new().transfer_syntax(uids::EXPLICIT_VR_LITTLE_ENDIAN))?;
    artifact::write(path, |file| Ok(object.write_all(file)?))
}
