//! Words with an agreed meaning: SNOMED CT, DICOM's own (PS3.16), units (UCUM).

use dicom_core::VR;
use dicom_dictionary_std::tags;
use dicom_object::InMemDicomObject;

use super::elements::text;
use crate::anatomy::Level;

/// A word of a coding scheme.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Code {
    pub value: &'static str,
    pub scheme: &'static str,
    pub meaning: &'static str,
}

/// A word of SNOMED CT.
pub(super) const fn sct(value: &'static str, meaning: &'static str) -> Code {
    Code { value, scheme: "SCT", meaning }
}

/// A word of DICOM.
pub(super) const fn dcm(value: &'static str, meaning: &'static str) -> Code {
    Code { value, scheme: "DCM", meaning }
}

/// A unit.
pub(super) const fn unit(value: &'static str, meaning: &'static str) -> Code {
    Code { value, scheme: "UCUM", meaning }
}

impl Code {
    /// The code as an item of a sequence.
    pub fn item(&self) -> InMemDicomObject {
        InMemDicomObject::from_element_iter([
            text(tags::CODE_VALUE, VR::SH, self.value),
            text(tags::CODING_SCHEME_DESIGNATOR, VR::SH, self.scheme),
            text(tags::CODE_MEANING, VR::LO, self.meaning),
        ])
    }
}

/// SNOMED CT of the levels from C1 on, T13 and L6 left out (PS3.16 CID 7603; the sacrum's from SNOMED CT itself).
const LEVELS: [Code; 26] = [
    sct("14806007", "C1 vertebra"),
    sct("39976000", "C2 vertebra"),
    sct("113205007", "C3 vertebra"),
    sct("5329002", "C4 vertebra"),
    sct("36978003", "C5 vertebra"),
    sct("36054005", "C6 vertebra"),
    sct("87391001", "C7 vertebra"),
    sct("64864005", "T1 vertebra"),
    sct("53733008", "T2 vertebra"),
    sct("1626008", "T3 vertebra"),
    sct("73071006", "T4 vertebra"),
    sct("56401006", "T5 vertebra"),
    sct("45296009", "T6 vertebra"),
    sct("62487009", "T7 vertebra"),
    sct("11068009", "T8 vertebra"),
    sct("82687006", "T9 vertebra"),
    sct("7610001", "T10 vertebra"),
    sct("12989004", "T11 vertebra"),
    sct("23215003", "T12 vertebra"),
    sct("66794005", "L1 vertebra"),
    sct("14293000", "L2 vertebra"),
    sct("36470004", "L3 vertebra"),
    sct("11994002", "L4 vertebra"),
    sct("49668003", "L5 vertebra"),
    sct("65985001", "S1 vertebra"),
    sct("11808007", "S2 vertebra"),
];

/// What any vertebra is called: T13 and L6 have no word of their own.
const ANY: Code = sct("51282000", "Vertebra");

/// The code of a level.
pub(super) fn vertebra(level: Level) -> Code {
    let own = LEVELS.iter().find(|code| code.meaning.split(' ').next() == Some(level.name()));
    own.cloned().unwrap_or(ANY)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_level_has_a_code_and_only_the_rare_ones_share_theirs() {
        let rare: Vec<&str> =
            Level::every().filter(|&level| vertebra(level) == ANY).map(|level| level.name()).collect();
        assert_eq!(rare, ["T13", "L6"]);
        assert_eq!(vertebra("L1".parse().unwrap()).value, "66794005");
        let mut values: Vec<&str> = LEVELS.iter().map(|code| code.value).collect();
        values.sort_unstable();
        values.dedup();
        assert_eq!(values.len(), LEVELS.len());
    }
}
