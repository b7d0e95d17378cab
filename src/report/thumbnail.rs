//! A small copy of a picture for a page that must stand alone.

use std::path::Path;

use anyhow::Result;
use jpeg_encoder::{ColorType, Encoder};
use tiny_skia::Pixmap;

use super::html::jpeg_address;

/// Height of the copy in pixels at most, and its JPEG quality. Names are put over it, as they are too small in it.
const HEIGHT: u32 = 320;
const QUALITY: u8 = 70;

/// A PNG file as a small JPEG in a `data:` address.
pub(crate) fn data_address(png: &Path) -> Result<String> {
    let picture = Pixmap::load_png(png)?;
    let factor = picture.height().div_ceil(HEIGHT).max(1);
    let (width, height) = ((picture.width() / factor).max(1), (picture.height() / factor).max(1));
    let pixels = picture.pixels();
    let mut small = Vec::with_capacity((3 * width * height) as usize);
    for y in 0..height {
        for x in 0..width {
            // The mean of a square of pixels.
            let mut sums = [0u32; 3];
            let mut count = 0;
            for (dx, dy) in (0..factor).flat_map(|dy| (0..factor).map(move |dx| (dx, dy))) {
                let (px, py) = (x * factor + dx, y * factor + dy);
                if px < picture.width() && py < picture.height() {
                    let pixel = pixels[(py * picture.width() + px) as usize];
                    for (sum, part) in sums.iter_mut().zip([pixel.red(), pixel.green(), pixel.blue()]) {
                        *sum += u32::from(part);
                    }
                    count += 1;
                }
            }
            small.extend(sums.map(|sum| (sum / count) as u8));
        }
    }
    let mut jpeg = Vec::new();
    Encoder::new(&mut jpeg, QUALITY).encode(&small, width as u16, height as u16, ColorType::Rgb)?;
    Ok(jpeg_address(&jpeg))
}

#[cfg(test)]
mod tests {
    use super::*;
    use base64::Engine;

    #[test]
    fn a_picture_becomes_a_small_one_of_the_same_shape() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.png");
        let mut picture = Pixmap::new(500, 1000).unwrap();
        picture.fill(tiny_skia::Color::from_rgba8(200, 100, 50, 255));
        picture.save_png(&path).unwrap();
        let address = data_address(&path).unwrap();
        let jpeg = address.strip_prefix("data:image/jpeg;base64,").unwrap();
        let jpeg = base64::engine::general_purpose::STANDARD.decode(jpeg).unwrap();
        // Start of frame: height and width follow its marker, length and precision.
        let frame = jpeg.windows(2).position(|pair| pair == [0xff, 0xc0]).unwrap();
        let number = |at: usize| u32::from(jpeg[at]) << 8 | u32::from(jpeg[at + 1]);
        assert_eq!([number(frame + 5), number(frame + 7)], [250, 125]);
        assert!(data_address(&folder.path().join("b.png")).is_err());
    }
}
