//! Sunken bodies, graded by how much height they have lost.

use serde::{Deserialize, Serialize};

/// How a body has lost height: after Genant et al., J Bone Miner Res 1993;8:1137, read off measured heights instead of by
/// eye.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Fracture {
    /// 0 less than a fifth of the height, 1 mild, 2 moderate, 3 severe.
    pub grade: u8,
    /// Where; of a body of grade 0 where it lost most.
    pub form: Form,
    /// The share of the height that is missing there.
    pub loss: f64,
}

/// Where height is missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Form {
    /// At the front, against the back.
    Wedge,
    /// In the middle, against the back.
    Biconcave,
    /// At the back, against the neighbours.
    Crush,
}

/// Losses from which on a body is of grade 1, 2, 3.
const GRADES: [f64; 3] = [0.20, 0.25, 0.40];

/// Grades a body by its heights in front, in the middle and at the back, and those at the back of its neighbours above and
/// below, as far as they are known.
///
/// A crush is told from the neighbours' mean, as a spine's bodies grow downwards; beside a neighbour that is sunken
/// itself nothing can be told.
pub fn grade([front, middle, back]: [f64; 3], neighbours: &[f64]) -> Fracture {
    let lost = |height: f64, of: f64| (1.0 - height / of.max(1e-9)).max(0.0);
    let mut forms = vec![(Form::Wedge, lost(front, back)), (Form::Biconcave, lost(middle, back))];
    if neighbours.len() == 2 {
        let usual = (neighbours[0] + neighbours[1]) / 2.0;
        let lowest = front.min(middle).min(back);
        // What is lost in front or in the middle as well is lost of the neighbours' height.
        if lost(back, usual) >= GRADES[0] {
            forms.push((Form::Crush, lost(lowest, usual)));
        }
    }
    let (form, loss) =
        forms.into_iter().fold((Form::Wedge, 0.0), |best, next| if next.1 > best.1 { next } else { best });
    Fracture { grade: GRADES.iter().filter(|&&least| loss >= least).count() as u8, form, loss }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_are_graded_by_what_they_lost() {
        let of = |heights, neighbours: &[f64]| {
            let Fracture { grade, form, .. } = grade(heights, neighbours);
            (grade, form)
        };
        assert_eq!(of([24.0, 25.0, 26.0], &[25.0, 27.0]).0, 0);
        assert_eq!(of([20.0, 24.0, 26.0], &[25.0, 27.0]), (1, Form::Wedge));
        assert_eq!(of([18.0, 22.0, 26.0], &[25.0, 27.0]), (2, Form::Wedge));
        assert_eq!(of([25.0, 15.0, 26.0], &[]), (3, Form::Biconcave));
        assert_eq!(of([19.0, 19.0, 19.0], &[25.0, 27.0]), (2, Form::Crush));
        // Without both neighbours a crush cannot be told.
        assert_eq!(of([19.0, 19.0, 19.0], &[25.0]).0, 0);
    }
}
