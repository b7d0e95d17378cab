//! Why the vertebrae have their names: the straightened spine with what a reader counts by.

use std::path::Path;

use anyhow::Result;
use ndarray::{Array2, s};

use super::canvas::{Anchor, Canvas};
use super::plates::{PLATE, Seen, lines};
use super::trust::Trust;
use crate::measurement::Measured;
use crate::spine::{Spine, Vertebra};
use crate::straighten::{Block, Course, Kind, View, Views, Window};

/// Millimetres a pixel of the views shows, and pixels of the picture for each.
const PITCH: f64 = 1.25;
const SCALE: usize = 2;
/// Millimetres beyond the first and the last body.
pub(super) const BEYOND: f64 = 45.0;
/// Widths of the margins for names, in pixels.
const MIDDLE: usize = 150;
/// The second reading is shown if it is at least this likely.
pub(super) const CLOSE: f64 = 0.1;

/// From the front: all bone from the bodies' front to the back, so that ribs, arches and sacrum show.
/// From the side: the midline.
fn views() -> Views {
    let bone = Window { centre: 50.0, width: 700.0, limits: [0.0, 1.0] };
    let flesh = Window { centre: -150.0, width: 650.0, limits: [0.0, 1.0] };
    Views {
        pitch: PITCH,
        across: [176, 112],
        front: -70.0,
        coronal: vec![View { window: bone, range: [-14.0, 55.0], kind: Kind::Brightest }],
        sagittal: vec![View { window: flesh, range: [-5.0, 5.0], kind: Kind::Mean }],
    }
}

/// Saves the straightened spine from the front (the patient's right on the left) and from the side, with
/// names between them, how sure each is, and what else it may be; with measured end plates, where there are any.
pub fn evidence(path: &Path, spine: &Spine, measured: &[Measured]) -> Result<()> {
    drawn(spine, measured)?.save(path)
}

/// The same picture, not yet saved.
pub(super) fn drawn(spine: &Spine, measured: &[Measured]) -> Result<Canvas> {
    let centres: Vec<[f64; 3]> = spine.vertebrae.iter().map(|vertebra| vertebra.mm).collect();
    let line = match centres[..] {
        [[x, y, z]] => vec![[x, y, z + 13.0], [x, y, z - 13.0]],
        _ => centres,
    };
    let course = Course::through(&line, BEYOND, BEYOND, PITCH);
    let (Some(even), Some(course)) = (&spine.even, course) else {
        let mut canvas = Canvas::new(400, 60, [0, 0, 0])?;
        canvas.label([200.0, 30.0], "no vertebra was found", 17.0, Anchor::Middle, Trust::Unsure.colour());
        return Ok(canvas);
    };
    let views = views();
    let [coronal, sagittal] = views.of(&Block::of(even, &course, &views.columns()));
    let (front, side) = (coronal.slice(s![0, .., ..]).to_owned(), sagittal.slice(s![0, .., ..]).to_owned());
    let [wide, deep] = views.across.map(|pixels| pixels * SCALE);
    let height = course.len() * SCALE;
    let mut canvas = Canvas::new(wide + MIDDLE + deep, height, [0, 0, 0])?;
    paint(&mut canvas, &front, 0);
    paint(&mut canvas, &side, wide + MIDDLE);
    let pixels_per_mm = SCALE as f32 / PITCH as f32;
    canvas.bearings([0, wide], ["R", "L"], pixels_per_mm);
    canvas.bearings([wide + MIDDLE, wide + MIDDLE + deep], ["A", "P"], pixels_per_mm);
    let columns = views.columns();
    let at = |mm: f64, first: f64| (((mm - first) / PITCH + 0.5) * SCALE as f64) as f32;
    // A point's pixel from the front and from the side.
    let pixels = |mm: [f64; 3]| {
        let place = course.place(mm);
        let y = ((place.along + 0.5) * SCALE as f64) as f32;
        let z = at(place.across[1], columns.back[0]) + (wide + MIDDLE) as f32;
        [[at(place.across[0], columns.left[0]), y], [z, y]]
    };
    for body in measured {
        for (view, seen) in [Seen::FromTheFront, Seen::FromTheSide].into_iter().enumerate() {
            for ends in lines(body, seen) {
                let [from, to] = ends.map(|end| pixels(end)[view]);
                canvas.line(from, to, 1.2, PLATE);
            }
        }
    }
    for vertebra in &spine.vertebrae {
        let [[x, y], [z, _]] = pixels(vertebra.mm);
        let colour = Trust::of(vertebra.confidence).colour();
        canvas.circle([x, y], 3.0, 1.5, colour);
        canvas.circle([z, y], 3.0, 1.5, colour);
        canvas.line([x + 5.0, y], [wide as f32 + 4.0, y], 0.4, colour);
        canvas.line([(wide + MIDDLE) as f32 - 4.0, y], [z - 5.0, y], 0.4, colour);
        let middle = wide as f32 + MIDDLE as f32 / 2.0;
        canvas.label([middle, y], &text(vertebra), 15.0, Anchor::Middle, colour);
    }
    Ok(canvas)
}

/// How the names of such pictures end.
pub(super) const ENDING: &str = "_evidence.png";

/// Whether a file is named like one.
pub(super) fn is_evidence(path: &Path) -> bool {
    path.to_string_lossy().ends_with(ENDING)
}

/// `T12 0.81 (L1 0.17)`.
fn text(vertebra: &Vertebra) -> String {
    let own = format!("{} {:.2}", vertebra.level, vertebra.confidence);
    match vertebra.alternatives.first() {
        Some((level, chance)) if *chance >= CLOSE => format!("{own} ({level} {chance:.2})"),
        _ => own,
    }
}

/// Grey values from 0 to 1, `[across, along]`, the head up.
fn paint(canvas: &mut Canvas, view: &Array2<f32>, left: usize) {
    for ((across, along), &value) in view.indexed_iter() {
        let grey = (value.clamp(0.0, 1.0) * 255.0) as u8;
        for (dx, dy) in (0..SCALE).flat_map(|dx| (0..SCALE).map(move |dy| (dx, dy))) {
            canvas.grey(left + across * SCALE + dx, along * SCALE + dy, grey);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measurement::Endplate;
    use crate::scan::Grid;
    use crate::straighten::Even;
    use ndarray::Array3;

    fn vertebra(name: &str, z: f64, confidence: f64) -> Vertebra {
        Vertebra {
            level: name.parse().unwrap(),
            mm: [60.0, 60.0, z],
            confidence,
            alternatives: vec![("L1".parse().unwrap(), 1.0 - confidence)],
            flags: vec![],
        }
    }

    #[test]
    fn a_bone_is_bright_where_it_lies_and_every_name_has_its_line() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a_evidence.png");
        let mut voxels = Array3::zeros((60, 60, 80));
        // Bone at the height of T12, 30 mm to the patient's left.
        voxels.slice_mut(s![44..47, 28..33, 38..42]).fill(1200);
        let even = Even { voxels, grid: Grid { shape: [60, 60, 80], spacing: 2.0, origin: [0.0; 3] } };
        let spine = Spine {
            vertebrae: vec![vertebra("T11", 110.0, 0.95), vertebra("T12", 80.0, 0.8)],
            even: Some(even),
            ..Spine::default()
        };
        let plate = |z: f64| Some(Endplate { centre: [60.0, 60.0, z], normal: [0.0, 0.0, 1.0] });
        let measured = Measured {
            upper_plate: plate(92.0),
            width: Some(40.0),
            depth: Some(30.0),
            ..Measured::default()
        };
        evidence(&path, &spine, &[Measured::default(), measured]).unwrap();
        let picture = tiny_skia::Pixmap::load_png(&path).unwrap();
        let grey = |left: f64, along: f64| {
            let x = ((left / PITCH + 87.5 + 0.5) * SCALE as f64) as u32;
            let y = ((along / PITCH + 0.5) * SCALE as f64) as u32;
            picture.pixel(x, y + 3).unwrap().red()
        };
        // T12 is 45 + 30 mm along; the course stands at x = 60.
        assert!(grey(30.0, 75.0) > 230 && grey(-30.0, 75.0) < 40 && grey(30.0, 45.0) < 40);
        // Its upper end plate lies 12 mm above its centre, in the colour of end plates.
        let plate = picture
            .pixel((87.5 * SCALE as f64) as u32, ((63.0 / PITCH + 0.5) * SCALE as f64) as u32)
            .unwrap();
        assert!(plate.blue() > plate.red() + 80, "{plate:?}");
        assert_eq!(text(&spine.vertebrae[1]), "T12 0.80 (L1 0.20)");
        assert_eq!(text(&spine.vertebrae[0]), "T11 0.95");
        evidence(&path, &Spine::default(), &[]).unwrap();
    }
}
