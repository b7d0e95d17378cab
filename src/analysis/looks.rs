//! Two looks of volume networks at a scan: at all of it, then at the spine and what is around it.

use std::ops::Range;
use std::rc::Rc;

use anyhow::Result;

use crate::decoding::{bodies, candidate};
use crate::inference::network::Network;
use crate::inference::volume::Field;
use crate::scan::{Geometry, Volume};

/// Millimetres around the spine that the second look keeps, to the sides, the front and the back: the ribs' and
/// the pelvis's roots, but neither arms nor table. On unseen phantoms with arms and hips it names 97.3 % right
/// where one look names 93.8 (docs/accuracy.md).
const MARGIN: f64 = 75.0;

/// The second look must leave out this share of the scan at least: of a scan that was cut to the spine before, it
/// shows nothing new.
const LEFT_OUT: f64 = 0.25;

/// What the detection and the identification network say of a whole volume, of those that see one.
pub(crate) struct Answers {
    /// The detection network's answer.
    pub bodies: Option<Rc<Field>>,
    /// The identification network's answer.
    pub names: Option<Rc<Field>>,
}

impl Answers {
    /// Asks both networks; `volume` holds Hounsfield units in LPS order.
    pub fn of(volume: &Volume, networks: &[Network; 2]) -> Result<Answers> {
        let whole = Answers::at(volume, networks)?;
        let Some(cut) = whole.spine(&volume.geometry) else { return Ok(whole) };
        let mut close = Answers::at(&volume.cut(&cut), networks)?;
        let first = std::array::from_fn(|axis| cut[axis].start as f64 * volume.geometry.spacing[axis]);
        for field in close.bodies.iter_mut().chain(&mut close.names) {
            *field = Rc::new(field.moved(first));
        }
        Ok(close)
    }

    fn at(volume: &Volume, [detector, identifier]: &[Network; 2]) -> Result<Answers> {
        let names = identifier.answer(volume)?.map(Rc::new);
        let bodies = match &names {
            // One network for both stages is asked once.
            Some(names) if detector.is(identifier) => Some(Rc::clone(names)),
            _ => detector.answer(volume)?.map(Rc::new),
        };
        Ok(Answers { bodies, names })
    }

    /// All answers, each once.
    pub fn fields(&self) -> Vec<&Field> {
        let shared = self.bodies.as_ref().zip(self.names.as_ref()).is_some_and(|(a, b)| Rc::ptr_eq(a, b));
        let bodies = self.bodies.iter().filter(|_| !shared);
        bodies.chain(&self.names).map(Rc::as_ref).collect()
    }

    /// Voxels around the spine, if the volume shows much more.
    fn spine(&self, geometry: &Geometry) -> Option<[Range<usize>; 3]> {
        self.names.as_ref()?;
        let mut candidates = bodies::candidates(&self.fields());
        let spine: Vec<[f64; 3]> = candidate::name(&mut candidates).iter().map(|named| named.mm).collect();
        around(&spine, geometry)
    }
}

/// Voxels within [`MARGIN`] of a spine to the sides, the front and the back; `None` where that is
/// most of the scan, or where less than two bodies are no spine.
fn around(spine: &[[f64; 3]], geometry: &Geometry) -> Option<[Range<usize>; 3]> {
    if spine.len() < 2 {
        return None;
    }
    let cut = geometry.around(spine, MARGIN);
    let share = |axis: usize| cut[axis].len() as f64 / geometry.shape[axis] as f64;
    (share(0) * share(1) <= 1.0 - LEFT_OUT).then_some(cut)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_look_keeps_the_spine_and_its_surroundings() {
        let geometry = Geometry { shape: [200, 100, 50], spacing: [2.0, 2.0, 5.0], affine: [[0.0; 4]; 3] };
        let spine = [[190.0, 120.0, 20.0], [210.0, 100.0, 230.0]];
        assert_eq!(around(&spine, &geometry), Some([57..143, 12..98, 0..50]));
        assert_eq!(around(&spine[..1], &geometry), None);
        let narrow = Geometry { shape: [60, 60, 50], ..geometry };
        assert_eq!(around(&[[60.0, 60.0, 20.0], [62.0, 58.0, 50.0]], &narrow), None);
    }
}
