//! JPEG-LS, which the library of DICOM reads through CharLS, a C++ library: here by a decoder in Rust.

use std::borrow::Cow;

use dicom_encoding::adapters::{DecodeResult, NeverPixelAdapter, PixelDataObject, PixelDataReader};
use dicom_encoding::snafu::{OptionExt, ensure_whatever};
use dicom_encoding::submit_ele_transfer_syntax;
use dicom_encoding::transfer_syntax::Codec;

/// Transfer syntaxes: without and with a small loss.
pub(crate) const LOSSLESS: &str = "1.2.840.10008.1.2.4.80";
/// See [`LOSSLESS`].
pub(crate) const NEAR_LOSSLESS: &str = "1.2.840.10008.1.2.4.81";

submit_ele_transfer_syntax!(LOSSLESS, "JPEG-LS Lossless", codec());
submit_ele_transfer_syntax!(NEAR_LOSSLESS, "JPEG-LS Lossy (Near-Lossless)", codec());

fn codec() -> Codec<dicom_encoding::NeverAdapter, JpegLs, NeverPixelAdapter> {
    Codec::EncapsulatedPixelData(Some(JpegLs), None)
}

/// Decodes grey pictures of 2 to 16 bits (ITU-T T.87).
struct JpegLs;

impl PixelDataReader for JpegLs {
    fn decode_frame(&self, src: &dyn PixelDataObject, frame: u32, dst: &mut Vec<u8>) -> DecodeResult<()> {
        let bits = src.bits_allocated().unwrap_or(0);
        ensure_whatever!(matches!(bits, 8 | 16), "its pixels have {bits} bits");
        ensure_whatever!(src.samples_per_pixel() == Some(1), "it is a picture in colours");
        let (rows, columns) = src
            .rows()
            .zip(src.cols())
            .whatever_context::<_, dicom_encoding::adapters::DecodeError>("Rows or Columns are missing")?;
        let stream: Cow<[u8]> = src
            .frame_pixel_data(frame)
            .whatever_context::<_, dicom_encoding::adapters::DecodeError>("the frame is missing")?;
        // The decoder checks the stream's size against these before it makes room.
        let pixels = match jpegls::decode(&stream, u32::from(columns), u32::from(rows)) {
            Ok((pixels, ..)) => pixels,
            Err(error) => dicom_encoding::snafu::whatever!("{error}"),
        };
        if bits == 8 {
            dst.extend(pixels.iter().map(|&pixel| pixel as u8));
        } else {
            dst.extend(pixels.iter().flat_map(|pixel| pixel.to_le_bytes()));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use dicom_encoding::TransferSyntaxIndex;
    use dicom_transfer_syntax_registry::TransferSyntaxRegistry;

    fn bytes(digits: &str) -> Vec<u8> {
        (0..digits.len()).step_by(2).map(|at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap()).collect()
    }

    #[test]
    fn the_standards_example_is_decoded() {
        // ITU-T T.87, H.3: an example of a picture of 4 x 4 pixels of 8 bits.
        let stream = "ffd8fff7000b0800040004010111 00ffda0008010100000000c000006c80208e01c0000057400000\
                      6ee6000001bc18000005d80000916 0ffd9"
            .replace(' ', "");
        let (pixels, ..) = jpegls::decode(&bytes(&stream), 4, 4).unwrap();
        assert_eq!(pixels, [0, 0, 90, 74, 68, 50, 43, 205, 64, 145, 145, 145, 100, 145, 145, 145]);
    }

    #[test]
    fn both_transfer_syntaxes_can_be_decoded() {
        for syntax in [super::LOSSLESS, super::NEAR_LOSSLESS] {
            assert!(TransferSyntaxRegistry.get(syntax).unwrap().can_decode_all(), "{syntax}");
        }
    }

    #[test]
    fn a_damaged_stream_is_an_error_or_another_picture_and_never_a_panic() {
        let mut random = crate::random::Legacy::seeded(7);
        let pixels: Vec<u16> = (0..40 * 30).map(|index| (index * index % 3000) as u16).collect();
        let mut stream = Vec::new();
        jpegls::encode(&pixels, 40, 30, &mut stream).unwrap();
        for _ in 0..2000 {
            let mut damaged = stream.clone();
            for _ in 0..random.integer(1, 4) {
                let at = random.integer(0, damaged.len() as i64) as usize;
                damaged[at] = random.integer(0, 256) as u8;
            }
            damaged.truncate(random.integer(1, damaged.len() as i64 + 1) as usize);
            if let Ok((decoded, ..)) = jpegls::decode(&damaged, 40, 30) {
                assert_eq!(decoded.len(), pixels.len());
            }
        }
    }
}
