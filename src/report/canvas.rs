//! A small drawing surface: lines, circles, text and grey pictures, saved as PNG.

use std::path::Path;

use ab_glyph::{Font, FontRef, ScaleFont, point};
use anyhow::{Context, Result};
use tiny_skia::{Color, Paint, PathBuilder, Pixmap, PremultipliedColorU8, Rect, Stroke, Transform};

/// DejaVu Sans, cut down to Latin letters, digits and signs.
const FONT: &[u8] = include_bytes!("../../assets/DejaVuSans-ascii.ttf");

/// Red, green and blue.
pub(crate) type Rgb = [u8; 3];

/// Which part of a text stands at its position.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Anchor {
    /// Its left end.
    Left,
    /// Its middle.
    Middle,
    /// Its right end.
    Right,
}

/// Colour of the letters that say where a view lies, and length of the bar that says how large it is, in mm.
const BEARING: Rgb = [120, 170, 255];
const BAR: f32 = 50.0;

/// A picture under construction; coordinates are pixels from the upper left corner.
pub(crate) struct Canvas {
    pixels: Pixmap,
    font: FontRef<'static>,
}

impl Canvas {
    /// A picture filled with one colour.
    pub fn new(width: usize, height: usize, background: Rgb) -> Result<Self> {
        let mut pixels = Pixmap::new(width as u32, height as u32)
            .with_context(|| format!("a picture of {width} x {height} pixels cannot be made"))?;
        pixels.fill(color(background));
        Ok(Canvas { pixels, font: FontRef::try_from_slice(FONT)? })
    }

    /// A straight line.
    pub fn line(&mut self, from: [f32; 2], to: [f32; 2], width: f32, colour: Rgb) {
        let mut path = PathBuilder::new();
        path.move_to(from[0], from[1]);
        path.line_to(to[0], to[1]);
        self.stroke(path, width, colour);
    }

    /// Says how a view between two columns lies in the patient: what is to its left and right, head up and feet down, and how
    /// long 50 mm are.
    pub(crate) fn bearings(&mut self, columns: [usize; 2], sides: [&str; 2], pixels_per_mm: f32) {
        let height = self.pixels.height() as f32;
        let [left, right] = columns.map(|column| column as f32);
        // A view of a few slices has no room for them.
        if height < 2.0 * BAR * pixels_per_mm {
            return;
        }
        let middle = height / 2.0;
        self.label([left + 6.0, middle], sides[0], 15.0, Anchor::Left, BEARING);
        self.label([right - 6.0, middle], sides[1], 15.0, Anchor::Right, BEARING);
        self.label([(left + right) / 2.0, 11.0], "H", 15.0, Anchor::Middle, BEARING);
        self.label([(left + right) / 2.0, height - 11.0], "F", 15.0, Anchor::Middle, BEARING);
        let (x, foot) = (left + 10.0, height - 10.0);
        let head = foot - BAR * pixels_per_mm;
        self.line([x, foot], [x, head], 1.5, BEARING);
        for end in [foot, head] {
            self.line([x - 3.0, end], [x + 3.0, end], 1.5, BEARING);
        }
        self.label([x + 7.0, (foot + head) / 2.0], "5 cm", 12.0, Anchor::Left, BEARING);
    }

    /// The outline of a box.
    pub(crate) fn rectangle(&mut self, corner: [f32; 2], opposite: [f32; 2], width: f32, colour: Rgb) {
        let corners = Rect::from_ltrb(
            corner[0].min(opposite[0]),
            corner[1].min(opposite[1]),
            corner[0].max(opposite[0]),
            corner[1].max(opposite[1]),
        );
        if let Some(corners) = corners {
            let mut path = PathBuilder::new();
            path.push_rect(corners);
            self.stroke(path, width, colour);
        } else {
            self.line(corner, opposite, width, colour);
        }
    }

    /// The outline of a circle.
    pub(crate) fn circle(&mut self, centre: [f32; 2], radius: f32, width: f32, colour: Rgb) {
        let mut path = PathBuilder::new();
        path.push_circle(centre[0], centre[1], radius);
        self.stroke(path, width, colour);
    }

    fn stroke(&mut self, path: PathBuilder, width: f32, colour: Rgb) {
        let Some(path) = path.finish() else { return };
        let mut paint = Paint::default();
        paint.set_color(color(colour));
        paint.anti_alias = true;
        let stroke = Stroke { width, ..Stroke::default() };
        self.pixels.stroke_path(&path, &paint, &stroke, Transform::identity(), None);
    }

    /// Width of a text in pixels.
    pub fn width(&self, text: &str, size: f32) -> f32 {
        let font = self.font.as_scaled(size);
        text.chars().map(|letter| font.h_advance(font.glyph_id(letter))).sum()
    }

    /// A text whose middle height is at `at`.
    pub fn text(&mut self, at: [f32; 2], text: &str, size: f32, anchor: Anchor, colour: Rgb) {
        let width = self.width(text, size);
        let shift = match anchor {
            Anchor::Left => 0.0,
            Anchor::Middle => width / 2.0,
            Anchor::Right => width,
        };
        let font = self.font.clone();
        let scaled = font.as_scaled(size);
        let mut x = at[0] - shift;
        // Digits and capitals reach up to about 0.73 of the ascent's line.
        let baseline = at[1] + scaled.ascent() * 0.38;
        for letter in text.chars() {
            let id = scaled.glyph_id(letter);
            let glyph = id.with_scale_and_position(size, point(x, baseline));
            if let Some(outline) = font.outline_glyph(glyph) {
                let bounds = outline.px_bounds();
                outline.draw(|dx, dy, cover| {
                    self.blend(
                        bounds.min.x as i64 + i64::from(dx),
                        bounds.min.y as i64 + i64::from(dy),
                        cover,
                        colour,
                    );
                });
            }
            x += scaled.h_advance(id);
        }
    }

    /// A text in one colour on a dark outline, readable on any picture.
    pub fn label(&mut self, at: [f32; 2], text: &str, size: f32, anchor: Anchor, colour: Rgb) {
        for (dx, dy) in [(-1.0, 0.0), (1.0, 0.0), (0.0, -1.0), (0.0, 1.0)] {
            self.text([at[0] + dx, at[1] + dy], text, size, anchor, [0, 0, 0]);
        }
        self.text(at, text, size, anchor, colour);
    }

    /// Sets one pixel to a grey value.
    pub(crate) fn grey(&mut self, x: usize, y: usize, value: u8) {
        let width = self.pixels.width() as usize;
        if let Some(pixel) = self.pixels.pixels_mut().get_mut(y * width + x).filter(|_| x < width) {
            *pixel = opaque([value; 3]);
        }
    }

    fn blend(&mut self, x: i64, y: i64, cover: f32, colour: Rgb) {
        let (width, height) = (i64::from(self.pixels.width()), i64::from(self.pixels.height()));
        if !(0..width).contains(&x) || !(0..height).contains(&y) {
            return;
        }
        let pixel = &mut self.pixels.pixels_mut()[(y * width + x) as usize];
        let under = [pixel.red(), pixel.green(), pixel.blue()];
        let cover = cover.clamp(0.0, 1.0);
        *pixel = opaque(std::array::from_fn(|channel| {
            (f32::from(under[channel]) * (1.0 - cover) + f32::from(colour[channel]) * cover).round() as u8
        }));
    }

    /// The picture as a JPEG, for a page.
    pub(crate) fn jpeg(&self, quality: u8) -> Result<Vec<u8>> {
        let (width, height) = (self.pixels.width() as u16, self.pixels.height() as u16);
        let mut jpeg = Vec::new();
        jpeg_encoder::Encoder::new(&mut jpeg, quality).encode(
            &self.opaque(),
            width,
            height,
            jpeg_encoder::ColorType::Rgb,
        )?;
        Ok(jpeg)
    }

    /// Red, green and blue of every pixel.
    fn opaque(&self) -> Vec<u8> {
        self.pixels.pixels().iter().flat_map(|pixel| [pixel.red(), pixel.green(), pixel.blue()]).collect()
    }

    /// Saves the picture; the file appears whole or not at all.
    pub(crate) fn save(&self, path: &Path) -> Result<()> {
        let opaque = self.opaque();
        crate::artifact::write(path, |file| {
            let mut encoder = png::Encoder::new(file, self.pixels.width(), self.pixels.height());
            encoder.set_color(png::ColorType::Rgb);
            // At the usual level a preview takes as long to compress as a small scan to analyse: of 50 scans
            // 6.5 s in all instead of 3.8 s, for a quarter fewer bytes.
            encoder.set_deflate_compression(png::DeflateCompression::Level(1));
            encoder.set_filter(png::Filter::Up);
            let mut writer = encoder.write_header()?;
            writer.write_image_data(&opaque)?;
            Ok(writer.finish()?)
        })
    }
}

fn color([red, green, blue]: Rgb) -> Color {
    Color::from_rgba8(red, green, blue, 255)
}

fn opaque([red, green, blue]: Rgb) -> PremultipliedColorU8 {
    PremultipliedColorU8::from_rgba(red, green, blue, 255).unwrap_or(PremultipliedColorU8::TRANSPARENT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_and_letters_are_where_they_were_put() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.png");
        let mut canvas = Canvas::new(60, 40, [0, 0, 0]).unwrap();
        canvas.line([5.0, 10.5], [55.0, 10.5], 1.0, [200, 0, 0]);
        canvas.text([30.0, 28.0], "H", 16.0, Anchor::Middle, [0, 200, 0]);
        canvas.grey(59, 39, 77);
        // Beside the picture there is nothing to be set.
        canvas.grey(60, 0, 255);
        canvas.save(&path).unwrap();
        let picture = Pixmap::load_png(&path).unwrap();
        let at = |x: u32, y: u32| picture.pixel(x, y).map(|p| [p.red(), p.green(), p.blue()]).unwrap();
        assert_eq!((at(30, 10), at(30, 12), at(2, 10)), ([200, 0, 0], [0, 0, 0], [0, 0, 0]));
        assert_eq!((at(59, 39), at(0, 1)), ([77; 3], [0; 3]));
        let green = |range: std::ops::Range<u32>| {
            range.flat_map(|x| (20..36).map(move |y| (x, y))).filter(|&(x, y)| at(x, y)[1] > 100).count()
        };
        // The letter has two uprights with a bar between them, about its middle.
        assert!(green(22..38) > 20 && green(0..20) == 0 && green(40..59) == 0);
        assert!(canvas.width("HH", 16.0) > 1.9 * canvas.width("H", 16.0));
        assert!(Canvas::new(0, 5, [0; 3]).is_err());
    }
}
