//! What a DICOM file claims to hold against what it holds.
//!
//! The library that reads elements takes memory for as many bytes as an element's header claims, up to 4 GiB,
//! before it looks whether they are there. A damaged file must not cost that, so headers are walked first, by
//! the same library's reader of headers.

use std::fs::File;
use std::io::{BufReader, Cursor, Read, Seek, SeekFrom};
use std::path::Path;

use anyhow::{Result, bail, ensure};
use dicom_core::header::{HasLength, Header};
use dicom_core::{Tag, VR};
use dicom_encoding::TransferSyntaxIndex;
use dicom_encoding::decode::{Decode, file_header_decoder};
use dicom_encoding::transfer_syntax::{Codec, TransferSyntax};
use dicom_parser::StatefulDecode;
use dicom_parser::dataset::LazyDataToken;
use dicom_parser::dataset::lazy_read::LazyDataSetReader;
use dicom_transfer_syntax_registry::TransferSyntaxRegistry;

/// Bytes before the first element: the preamble and `DICM`.
const PREAMBLE: u64 = 132;
const TRANSFER_SYNTAX: Tag = Tag(0x0002, 0x0010);
/// A deflated file may unfold to so many bytes.
const INFLATED: u64 = 256 << 20;

/// Refuses a file in which an element claims more bytes than follow it, and one whose elements cannot be told
/// apart; `bare` is the transfer syntax of one without the header of a file.
pub fn check(path: &Path, bare: Option<&str>) -> Result<()> {
    let mut file = BufReader::new(File::open(path)?);
    let end = file.get_ref().metadata()?.len();
    let syntax = match bare {
        Some(syntax) => syntax.to_owned(),
        None => {
            file.seek(SeekFrom::Start(PREAMBLE))?;
            let Some(syntax) = transfer_syntax(&mut file, end)? else { return Ok(()) };
            syntax
        }
    };
    let Some(syntax) = TransferSyntaxRegistry.get(syntax.trim_end_matches(['\0', ' '])) else {
        return Ok(());
    };
    if let Codec::Dataset(adapter) = syntax.codec() {
        let Some(adapter) = adapter else { return Ok(()) };
        let mut bytes = Vec::new();
        // A stream that breaks off is the reader's to complain of.
        let _ = adapter.adapt_reader(Box::new(file)).take(INFLATED + 1).read_to_end(&mut bytes);
        ensure!(bytes.len() as u64 <= INFLATED, "it unfolds to more than {} MiB", INFLATED >> 20);
        let end = bytes.len() as u64;
        return elements(Cursor::new(bytes), end, syntax);
    }
    elements(file, end, syntax)
}

/// Walks the file's first elements, which say how the others are written.
fn transfer_syntax(file: &mut (impl Read + Seek), end: u64) -> Result<Option<String>> {
    let decoder = file_header_decoder();
    let mut group_end = None;
    let mut syntax = None;
    while group_end.is_none_or(|group_end| group_end > file.stream_position().unwrap_or(u64::MAX)) {
        let Ok((header, _)) = decoder.decode_header(file) else { return Ok(None) };
        let Some(length) = header.length().get() else { return Ok(None) };
        let position = file.stream_position()?;
        claim(header.tag(), length, position, end)?;
        let mut value = vec![0; length as usize];
        file.read_exact(&mut value)?;
        match (group_end, header.tag()) {
            (None, Tag(2, 0)) => {
                let Ok(length) = value.try_into().map(u32::from_le_bytes) else { return Ok(None) };
                group_end = Some(position + 4 + u64::from(length));
            }
            (None, _) => return Ok(None),
            (_, TRANSFER_SYNTAX) => syntax = Some(String::from_utf8_lossy(&value).into_owned()),
            _ => {}
        }
    }
    Ok(syntax)
}

/// Walks the rest.
fn elements(source: impl Read + Seek, end: u64, syntax: &TransferSyntax) -> Result<()> {
    let mut reader = LazyDataSetReader::new_with_ts(source, syntax)?;
    while let Some(token) = reader.advance() {
        let token = token?;
        match &token {
            LazyDataToken::LazyValue { header, decoder } => {
                let length = header.len.get().unwrap_or(0);
                claim(header.tag, length, decoder.position(), end)?;
                // A part of a number would be left unread, and what follows be taken for something else.
                ensure!(
                    length.is_multiple_of(number_size(header.vr)),
                    "its element {} has {length} bytes, which hold no whole number",
                    header.tag
                );
                // Nothing follows. As a rule these are the pixels, which need not be read to be passed over.
                if decoder.position() + u64::from(length) == end {
                    return Ok(());
                }
            }
            LazyDataToken::LazyItemValue { len, decoder } => {
                claim(Tag(0xfffe, 0xe000), *len, decoder.position(), end)?;
            }
            _ => {}
        }
        token.skip()?;
    }
    Ok(())
}

/// Bytes of a number of a kind; 1 for what is no number.
fn number_size(kind: VR) -> u32 {
    match kind {
        VR::US | VR::SS | VR::OW => 2,
        VR::UL | VR::SL | VR::FL | VR::OF | VR::OL | VR::AT => 4,
        VR::FD | VR::OD | VR::OV | VR::SV | VR::UV => 8,
        _ => 1,
    }
}

fn claim(tag: Tag, length: u32, position: u64, end: u64) -> Result<()> {
    let left = end.saturating_sub(position);
    if u64::from(length) > left {
        bail!("its element {tag} claims {length} bytes and {left} follow");
    }
    Ok(())
}
