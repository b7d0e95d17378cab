//! Distances per level as a box plot (docs/original.md §8).

use std::path::Path;

use anyhow::Result;

use super::canvas::{Anchor, Canvas};
use crate::anatomy::Level;

const BLACK: [u8; 3] = [0, 0, 0];
const ORANGE: [u8; 3] = [255, 127, 14];

/// Picture size and the frame of the plot inside it, in pixels.
const SIZE: [usize; 2] = [1000, 500];
const FRAME: [f32; 4] = [80.0, 40.0, 980.0, 440.0];

/// Quartiles, whiskers and outliers of one box, matplotlib's convention.
#[derive(Debug, PartialEq)]
struct Quartiles {
    lower: f64,
    median: f64,
    upper: f64,
    /// The outermost values within 1.5 interquartile ranges of the box.
    whiskers: [f64; 2],
    outliers: Vec<f64>,
}

impl Quartiles {
    /// `values` is not empty.
    fn of(values: &[f64]) -> Quartiles {
        let mut sorted = values.to_vec();
        sorted.sort_by(f64::total_cmp);
        let at = |share: f64| {
            let position = share * (sorted.len() - 1) as f64;
            let (low, high) = (sorted[position.floor() as usize], sorted[position.ceil() as usize]);
            low + (high - low) * position.fract()
        };
        let (lower, median, upper) = (at(0.25), at(0.5), at(0.75));
        let reach = 1.5 * (upper - lower);
        let near = |value: &&f64| (lower - reach..=upper + reach).contains(*value);
        let whiskers = [
            sorted.iter().find(near).copied().unwrap_or(lower).min(lower),
            sorted.iter().rev().find(near).copied().unwrap_or(upper).max(upper),
        ];
        let outliers = sorted.iter().filter(|value| !near(value)).copied().collect();
        Quartiles { lower, median, upper, whiskers, outliers }
    }
}

/// Draws one box per level that has distances (mm), from the head down.
pub fn boxplot(path: &Path, distances: &[(Level, Vec<f64>)]) -> Result<()> {
    let mut canvas = Canvas::new(SIZE[0], SIZE[1], [255; 3])?;
    let [left, top, right, bottom] = FRAME;
    let largest = distances.iter().flat_map(|(_, values)| values).copied().fold(0.0, f64::max);
    let step = tick(largest);
    let limit = ((largest / step).floor() + 1.0) * step;
    let y = |value: f64| bottom - (bottom - top) * (value / limit) as f32;

    canvas.rectangle([left, top], [right, bottom], 1.0, BLACK);
    let mut value = 0.0;
    while value <= limit {
        canvas.line([left - 5.0, y(value)], [left, y(value)], 1.0, BLACK);
        canvas.text([left - 9.0, y(value)], &format!("{value}"), 15.0, Anchor::Right, BLACK);
        value += step;
    }
    let middle = (left + right) / 2.0;
    canvas.text(
        [middle, 20.0],
        "Distance of found from annotated centroids (mm)",
        17.0,
        Anchor::Middle,
        BLACK,
    );
    canvas.text([middle, bottom + 42.0], "Vertebra", 15.0, Anchor::Middle, BLACK);

    let width = (right - left) / distances.len().max(1) as f32;
    for (index, (level, values)) in distances.iter().enumerate() {
        let x = left + width * (index as f32 + 0.5);
        let half = (width * 0.25).min(20.0);
        canvas.line([x, bottom], [x, bottom + 5.0], 1.0, BLACK);
        canvas.text([x, bottom + 17.0], level.name(), 14.0, Anchor::Middle, BLACK);
        if values.is_empty() {
            continue;
        }
        let quartiles = Quartiles::of(values);
        canvas.rectangle([x - half, y(quartiles.upper)], [x + half, y(quartiles.lower)], 1.2, BLACK);
        for (edge, whisker) in
            [(quartiles.lower, quartiles.whiskers[0]), (quartiles.upper, quartiles.whiskers[1])]
        {
            canvas.line([x, y(edge)], [x, y(whisker)], 1.2, BLACK);
            canvas.line([x - half / 2.0, y(whisker)], [x + half / 2.0, y(whisker)], 1.2, BLACK);
        }
        canvas.line([x - half, y(quartiles.median)], [x + half, y(quartiles.median)], 1.5, ORANGE);
        for outlier in quartiles.outliers {
            canvas.circle([x, y(outlier)], 4.0, 1.0, BLACK);
        }
    }
    canvas.save(path)
}

/// A round step that divides the axis into some five to ten parts.
fn tick(largest: f64) -> f64 {
    let rough = (largest / 6.0).max(1e-3);
    let power = 10f64.powf(rough.log10().floor());
    let round = [1.0, 2.0, 5.0, 10.0].into_iter().find(|factor| factor * power >= rough);
    round.unwrap_or(10.0) * power
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn boxes_follow_matplotlibs_convention() {
        // matplotlib.cbook.boxplot_stats([1, 2, 3, 4, 20]): q1 2, med 3, q3 4, whislo 1, whishi 4, fliers [20].
        let quartiles = Quartiles::of(&[20.0, 1.0, 3.0, 2.0, 4.0]);
        let expected =
            Quartiles { lower: 2.0, median: 3.0, upper: 4.0, whiskers: [1.0, 4.0], outliers: vec![20.0] };
        assert_eq!(quartiles, expected);
        assert_eq!(Quartiles::of(&[7.0]).whiskers, [7.0, 7.0]);
    }

    #[test]
    fn a_plot_is_saved_with_and_without_distances() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("plots/boxplot.png");
        let level: Level = "T5".parse().unwrap();
        for distances in [vec![(level, vec![1.0, 2.0, 30.0])], vec![]] {
            boxplot(&path, &distances).unwrap();
            let picture = tiny_skia::Pixmap::load_png(&path).unwrap();
            // Red pixels are the median's line; a plot of nothing has its axes only.
            let shades: std::collections::BTreeSet<[u8; 3]> =
                picture.pixels().iter().map(|p| [p.red(), p.green(), p.blue()]).collect();
            let coloured = shades.iter().any(|[r, g, b]| r.abs_diff(*g).max(g.abs_diff(*b)) > 60);
            assert_eq!(coloured, !distances.is_empty());
            assert!(shades.len() > 2, "{shades:?}");
        }
    }
}
