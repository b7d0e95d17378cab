//! Bodies that have lost height, in every form that is told apart.

use super::randomness::between;
use super::skeleton::{Spine, Vertebra};
use crate::anatomy::Region;
use crate::random::Legacy;

/// Height that is lost in front, in the middle and everywhere, as shares: from just below what counts as a fracture to severe.
const WEDGE: [f64; 2] = [0.12, 0.5];
const BICONCAVE: [f64; 2] = [0.12, 0.45];
const CRUSH: [f64; 2] = [0.15, 0.5];

/// Breaks this share of the bodies from T4 on down, each in one of three forms; whatever height they had lost before is given back.
pub(super) fn fracture(spine: &mut Spine, share: f64, random: &mut Legacy) {
    let may_break = |vertebra: &Vertebra| match vertebra.level.region() {
        Region::Thoracic => vertebra.level.value() > 10,
        region => region == Region::Lumbar,
    };
    for vertebra in spine.vertebrae.iter_mut().filter(|vertebra| may_break(vertebra)) {
        if random.uniform() >= share {
            continue;
        }
        (vertebra.wedge, vertebra.dish) = (0.0, 0.0);
        match random.integer(0, 3) {
            0 => vertebra.wedge = between(random, WEDGE[0], WEDGE[1]),
            1 => vertebra.dish = between(random, BICONCAVE[0], BICONCAVE[1]),
            _ => vertebra.half[2] *= 1.0 - between(random, CRUSH[0], CRUSH[1]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::phantom::Cohort;

    #[test]
    fn bodies_break_in_every_form_and_those_of_the_neck_do_not() {
        let mut forms = [0; 3];
        for seed in 0..20 {
            let before = Spine::random(Cohort::Healthy, &mut Legacy::seeded(seed));
            let mut after = Spine::random(Cohort::Healthy, &mut Legacy::seeded(seed));
            fracture(&mut after, 0.3, &mut Legacy::seeded(seed));
            for (a, b) in before.vertebrae.iter().zip(&after.vertebrae) {
                let changed = [b.wedge > 0.0, b.dish > 0.0, b.half[2] < a.half[2]];
                assert!(changed.iter().filter(|&&form| form).count() <= 1);
                assert!(b.level.value() > 10 || changed == [false; 3]);
                forms.iter_mut().zip(changed).for_each(|(count, form)| *count += usize::from(form));
            }
        }
        assert!(forms.iter().all(|&count| count > 10), "{forms:?}");
    }
}
