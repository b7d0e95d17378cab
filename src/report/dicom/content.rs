//! The content of a structured report: a tree of named values (PS3.3 C.17.3).

use dicom_core::value::DataSetSequence;
use dicom_core::{DataElement, PrimitiveValue, VR};
use dicom_dictionary_std::tags;
use dicom_object::InMemDicomObject;

use super::codes::Code;
use super::elements::{coded, decimal, group, text};
use super::header::reference;
use crate::scan::dicom::Reference;

/// What a value is to the one above it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Is {
    /// Part of it.
    Contained,
    /// The context it was observed in.
    Context,
    /// What makes its name narrower.
    Modifier,
    /// One of its properties.
    Property,
}

impl Is {
    fn name(self) -> &'static str {
        match self {
            Is::Contained => "CONTAINS",
            Is::Context => "HAS OBS CONTEXT",
            Is::Modifier => "HAS CONCEPT MOD",
            Is::Property => "HAS PROPERTIES",
        }
    }
}

/// A named value.
pub(super) struct Item {
    is: Is,
    kind: &'static str,
    elements: Vec<dicom_object::mem::InMemElement>,
    children: Vec<Item>,
}

impl Item {
    fn new(is: Is, kind: &'static str, name: &Code) -> Item {
        Item { is, kind, elements: vec![coded(tags::CONCEPT_NAME_CODE_SEQUENCE, name)], children: Vec::new() }
    }

    fn with(mut self, element: dicom_object::mem::InMemElement) -> Item {
        self.elements.push(element);
        self
    }

    /// Values under a heading, by a template of PS3.16 where one is named.
    pub fn container(is: Is, name: &Code, template: Option<&str>) -> Item {
        let item =
            Item::new(is, "CONTAINER", name).with(text(tags::CONTINUITY_OF_CONTENT, VR::CS, "SEPARATE"));
        match template {
            Some(template) => item.with(group(
                tags::CONTENT_TEMPLATE_SEQUENCE,
                [
                    text(tags::MAPPING_RESOURCE, VR::CS, "DCMR"),
                    text(tags::TEMPLATE_IDENTIFIER, VR::CS, template),
                ],
            )),
            None => item,
        }
    }

    /// A word.
    pub fn code(is: Is, name: &Code, value: &Code) -> Item {
        Item::new(is, "CODE", name).with(coded(tags::CONCEPT_CODE_SEQUENCE, value))
    }

    /// Words without an agreed meaning.
    pub fn text(is: Is, name: &Code, value: impl Into<String>) -> Item {
        Item::new(is, "TEXT", name).with(text(tags::TEXT_VALUE, VR::UT, value))
    }

    /// A UID.
    pub fn uid(is: Is, name: &Code, value: impl Into<String>) -> Item {
        Item::new(is, "UIDREF", name).with(text(tags::UID, VR::UI, value))
    }

    /// A number with its unit.
    pub fn number(is: Is, name: &Code, value: f64, unit: &Code) -> Item {
        Item::new(is, "NUM", name).with(group(
            tags::MEASURED_VALUE_SEQUENCE,
            [
                coded(tags::MEASUREMENT_UNITS_CODE_SEQUENCE, unit),
                text(tags::NUMERIC_VALUE, VR::DS, decimal(value)),
                // As a binary number too: a decimal string has no room for all digits of every number.
                DataElement::new(tags::FLOATING_POINT_VALUE, VR::FD, PrimitiveValue::from(value)),
            ],
        ))
    }

    /// A slice; it has no name of its own.
    pub fn image(is: Is, slice: &Reference) -> Item {
        let frame = slice.frame.map(|frame| text(tags::REFERENCED_FRAME_NUMBER, VR::IS, frame.to_string()));
        let elements = reference(&slice.class, &slice.instance).into_iter().chain(frame);
        Item {
            is,
            kind: "IMAGE",
            elements: vec![group(tags::REFERENCED_SOP_SEQUENCE, elements)],
            children: Vec::new(),
        }
    }

    /// A point in mm, LPS, of a frame of reference.
    pub fn point(is: Is, name: &Code, lps: [f64; 3], frame_of_reference: &str) -> Item {
        let place: Vec<f32> = lps.iter().map(|&part| part as f32).collect();
        Item::new(is, "SCOORD3D", name)
            .with(text(tags::GRAPHIC_TYPE, VR::CS, "POINT"))
            .with(DataElement::new(tags::GRAPHIC_DATA, VR::FL, PrimitiveValue::F32(place.into())))
            .with(text(tags::REFERENCED_FRAME_OF_REFERENCE_UID, VR::UI, frame_of_reference))
    }

    /// Puts values below it.
    pub fn holding(mut self, children: impl IntoIterator<Item = Item>) -> Item {
        self.children.extend(children);
        self
    }

    /// The item with all below it. The root of a tree is nothing to anything.
    pub fn object(self, root: bool) -> InMemDicomObject {
        let mut object = InMemDicomObject::from_element_iter(self.elements);
        if !root {
            object.put(text(tags::RELATIONSHIP_TYPE, VR::CS, self.is.name()));
        }
        object.put(text(tags::VALUE_TYPE, VR::CS, self.kind));
        if !self.children.is_empty() {
            let children: Vec<InMemDicomObject> =
                self.children.into_iter().map(|child| child.object(false)).collect();
            object.put(DataElement::new(tags::CONTENT_SEQUENCE, VR::SQ, DataSetSequence::from(children)));
        }
        object
    }
}
