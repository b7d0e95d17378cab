//! DICOM data sets in files that lack the header of a file (PS3.10): 128 bytes, `DICM`, and how the rest is written.
//!
//! Old archives and network captures hold them. What they are is told by how they begin.

use std::io::{Cursor, Read};
use std::path::Path;

use anyhow::Result;
use dicom_dictionary_std::uids;
use dicom_object::FileMetaTableBuilder;

/// Bytes of the header before the first element.
const START: usize = 132;
/// The first element of a data set is short: a length, a character set, an image type, a UID.
const SHORT: u32 = 1024;

/// The first bytes of a file; `None` of one that has fewer.
pub fn begins(path: &Path) -> Option<[u8; START]> {
    let mut start = [0; START];
    std::fs::File::open(path).and_then(|mut file| file.read_exact(&mut start)).ok()?;
    Some(start)
}

/// The transfer syntax of a data set that begins like this, if it is one without a header: little endian, with an
/// element of group 0008 up to its SOPInstanceUID first.
pub fn of(start: &[u8; START]) -> Option<&'static str> {
    if start.ends_with(b"DICM") || start[..2] != [8, 0] || start[3] != 0 || start[2] > 0x18 {
        return None;
    }
    if start[4..6].iter().all(u8::is_ascii_uppercase) {
        return Some(uids::EXPLICIT_VR_LITTLE_ENDIAN);
    }
    let length = u32::from_le_bytes([start[4], start[5], start[6], start[7]]);
    (length <= SHORT && length.is_multiple_of(2)).then_some(uids::IMPLICIT_VR_LITTLE_ENDIAN)
}

/// The transfer syntax of a file without a header; `None` if it has one, or is no data set.
pub fn syntax(path: &Path) -> Option<&'static str> {
    of(&begins(path)?)
}

/// The header that such a file lacks.
pub fn header(syntax: &str) -> Result<Cursor<Vec<u8>>> {
    let mut bytes = vec![0; START - 4];
    bytes.extend(b"DICM");
    let meta = FileMetaTableBuilder::new()
        .transfer_syntax(syntax)
        .media_storage_sop_class_uid(uids::CT_IMAGE_STORAGE)
        .media_storage_sop_instance_uid("0");
    meta.build()?.write(&mut bytes)?;
    Ok(Cursor::new(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn starting(with: &[u8]) -> [u8; START] {
        std::array::from_fn(|index| with.get(index).copied().unwrap_or(0))
    }

    #[test]
    fn a_data_set_is_told_from_other_files_by_its_first_element() {
        let explicit = starting(b"\x08\0\x05\0CS\x0a\0ISO_IR 100");
        assert_eq!(of(&explicit), Some(uids::EXPLICIT_VR_LITTLE_ENDIAN));
        let implicit = starting(b"\x08\0\x08\0\x16\0\0\0ORIGINAL");
        assert_eq!(of(&implicit), Some(uids::IMPLICIT_VR_LITTLE_ENDIAN));
        for other in [
            &b"\x5c\x01\0\0"[..],
            b"\x1f\x8b\x08\0",
            b"\x08\0\x05\0\xff\xff\xff\xff",
            b"{\"a\": 1}",
            b"\x08\0\x60\0CS",
        ] {
            assert_eq!(of(&starting(other)), None, "{other:?}");
        }
        let mut whole = starting(b"\x08\0\x05\0CS");
        whole[128..].copy_from_slice(b"DICM");
        assert_eq!(of(&whole), None);
    }
}
