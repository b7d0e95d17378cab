//! Elements of a DICOM data set in few words.

use dicom_core::value::DataSetSequence;
use dicom_core::{DataElement, PrimitiveValue, Tag, VR};
use dicom_object::InMemDicomObject;
use dicom_object::mem::InMemElement;

use super::codes::Code;

/// Characters that a decimal string may have.
const DECIMAL: usize = 16;

/// An element that holds text: names, UIDs, codes, dates, decimal strings.
pub(super) fn text(tag: Tag, vr: VR, text: impl Into<String>) -> InMemElement {
    DataElement::new(tag, vr, PrimitiveValue::from(text.into()))
}

/// An element without a value, where the standard asks for one that may be unknown.
pub(super) fn empty(tag: Tag, vr: VR) -> InMemElement {
    DataElement::new(tag, vr, PrimitiveValue::Empty)
}

/// Unsigned numbers of 16 bits.
pub(super) fn short(tag: Tag, value: u16) -> InMemElement {
    DataElement::new(tag, VR::US, PrimitiveValue::from(value))
}

/// Numbers as decimal strings.
pub(super) fn decimals(tag: Tag, values: &[f64]) -> InMemElement {
    let values: Vec<String> = values.iter().map(|&value| decimal(value)).collect();
    text(tag, VR::DS, values.join("\\"))
}

/// A sequence of items.
pub(super) fn sequence(tag: Tag, items: Vec<InMemDicomObject>) -> InMemElement {
    DataElement::new(tag, VR::SQ, DataSetSequence::from(items))
}

/// A sequence of one item.
pub(super) fn group(tag: Tag, elements: impl IntoIterator<Item = InMemElement>) -> InMemElement {
    sequence(tag, vec![InMemDicomObject::from_element_iter(elements)])
}

/// A sequence of one code.
pub(super) fn coded(tag: Tag, code: &Code) -> InMemElement {
    sequence(tag, vec![code.item()])
}

/// A number with as many digits as fit into 16 characters.
pub(super) fn decimal(value: f64) -> String {
    // An exact number is short as it is.
    let plain = value.to_string();
    if plain.len() <= DECIMAL {
        return plain;
    }
    let digits = (0..=12).rev().map(|digits| format!("{value:.digits$}"));
    digits.into_iter().find(|text| text.len() <= DECIMAL).unwrap_or_else(|| format!("{value:.8e}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimal_strings_are_short_enough_and_exact_enough() {
        for value in
            [0.0, -0.9765625, 1.0 / 3.0, -123.456_789_012_345_6, -1e-17, 98_765_432.123_456_78, 6.02e23]
        {
            let text = decimal(value);
            assert!(text.len() <= 16, "{text}");
            let back: f64 = text.parse().unwrap();
            assert!((back - value).abs() <= 1e-8 * value.abs().max(1.0), "{value} as {text}");
        }
    }
}
