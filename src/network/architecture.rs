//! What the two networks look like, independent of weights and backends.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::input::Windows;
use super::output;

/// Poolings on the way down, and upsamplings on the way up.
pub(crate) const DEPTH: usize = 4;

/// The first layer on the way up, and the last layer of all.
const UP: usize = 2 * DEPTH + 2;
pub(super) const OUTPUT: usize = UP + 2 * DEPTH;

/// The order in which a U-Net computes everything before its output: two layers and a pooling for each level down, two
/// layers on the floor, two for each level up, the first of which joins the skip of that level.
///
/// `layer` is given a layer's number, what it reads and the skip that it joins; `pool` the number of the layer that
/// reads the result, and what to pool.
pub(super) fn walk<V>(
    input: V,
    mut layer: impl FnMut(usize, V, Option<V>) -> V,
    mut pool: impl FnMut(usize, &V) -> V,
) -> V {
    let mut x = input;
    let mut skips = Vec::with_capacity(DEPTH);
    for index in (0..2 * DEPTH).step_by(2) {
        x = layer(index, x, None);
        let skip = layer(index + 1, x, None);
        x = pool(index + 2, &skip);
        skips.push(skip);
    }
    for index in 2 * DEPTH..UP {
        x = layer(index, x, None);
    }
    for (index, skip) in (UP..OUTPUT).step_by(2).zip(skips.into_iter().rev()) {
        x = layer(index, x, Some(skip));
        x = layer(index + 1, x, None);
    }
    x
}

/// Whether a layer joins a skip.
pub(super) fn joins(index: usize) -> bool {
    (UP..OUTPUT).contains(&index) && index.is_multiple_of(2)
}

/// Who reads what a layer writes, beside a pooling.
pub(super) enum Reader {
    /// The layer after it.
    Next,
    /// This one, as its skip.
    Join(usize),
}

/// Who reads the result of a layer before the output.
pub(super) fn reader(index: usize) -> Reader {
    if index < 2 * DEPTH && !index.is_multiple_of(2) {
        Reader::Join(OUTPUT - 1 - index)
    } else {
        Reader::Next
    }
}

/// What a network is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Where vertebral bodies are: 3-D patches → background or vertebra.
    Detection,
    /// Which level a voxel belongs to: slabs of sagittal slices → a regressed label value.
    Identification,
    /// Where bodies are, which level each is and where its centre lies: whole volumes → the channels
    /// of [`super::output`].
    Volume,
}

impl Kind {
    /// Whether a network of this kind can do the work of a stage, detection or identification.
    pub(crate) fn serves(self, stage: Kind) -> bool {
        self == stage || self == Kind::Volume
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Kind::Detection => "detection",
            Kind::Identification => "identification",
            Kind::Volume => "volume",
        })
    }
}

/// A U-Net of the original's design at any width.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Architecture {
    /// What the network is for.
    pub kind: Kind,
    /// Channels of the first level; each level down has twice as many.
    pub filters: usize,
}

/// One convolution with what follows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LayerShape {
    /// Input channels.
    pub inputs: usize,
    /// Output channels.
    pub outputs: usize,
    /// Kernel entries along x, y, z; 1 along x in the planar network.
    pub kernel: [usize; 3],
    /// Whether batch normalisation follows.
    pub normalised: bool,
    /// Whether a ReLU follows.
    pub rectified: bool,
}

impl Architecture {
    /// Channels of the input: one for patches, the slices of a slab for planes, one for each window
    /// of intensities for volumes.
    pub fn inputs(&self) -> usize {
        match self.kind {
            Kind::Detection => 1,
            Kind::Identification => 8,
            Kind::Volume => Windows::WINDOWS,
        }
    }

    /// Pooling and upsampling factors along x, y, z.
    pub(crate) fn pooling(&self) -> [usize; 3] {
        match self.kind {
            Kind::Detection | Kind::Volume => [2, 2, 2],
            Kind::Identification => [1, 2, 2],
        }
    }

    /// Every extent along an axis must be a multiple of this.
    pub(crate) fn granularity(&self) -> [usize; 3] {
        self.pooling().map(|factor| factor.pow(DEPTH as u32))
    }

    /// All convolutions in the order in which they are computed: two for each level down, two on
    /// the floor, two for each level up, the output.
    pub fn layers(&self) -> Vec<LayerShape> {
        let planar = self.kind == Kind::Identification;
        let kernel = if planar { [1, 3, 3] } else { [3, 3, 3] };
        let floor = if planar { [1, 5, 20] } else { kernel };
        let width = |level: usize| self.filters << level;
        let mut layers = Vec::new();
        let mut pair = |inputs: usize, outputs: usize, kernel: [usize; 3], rectified: bool| {
            layers.push(LayerShape { inputs, outputs, kernel, normalised: true, rectified });
            layers.push(LayerShape { inputs: outputs, outputs, kernel, normalised: true, rectified: true });
        };
        for level in 0..DEPTH {
            let inputs = if level == 0 { self.inputs() } else { width(level - 1) };
            // The original's identification network lacks this one activation (docs/original.md §6).
            let rectified = !(planar && level == DEPTH - 1);
            pair(inputs, width(level), kernel, rectified);
        }
        pair(width(DEPTH - 1), width(DEPTH), floor, true);
        for level in (0..DEPTH).rev() {
            pair(width(level) + width(level + 1), width(level), kernel, true);
        }
        layers.push(match self.kind {
            Kind::Detection => {
                LayerShape { inputs: width(0), outputs: 2, kernel, normalised: false, rectified: false }
            }
            Kind::Identification => LayerShape {
                inputs: width(0),
                outputs: 1,
                kernel: [1, 1, 1],
                normalised: false,
                rectified: true,
            },
            Kind::Volume => LayerShape {
                inputs: width(0),
                outputs: output::CHANNELS,
                kernel: [1, 1, 1],
                normalised: false,
                rectified: false,
            },
        });
        layers
    }

    /// Extent along x, y, z of what convolution `index` works on, given the network's input.
    pub fn extent(&self, index: usize, input: [usize; 3]) -> [usize; 3] {
        let block = index / 2;
        let level = if block <= DEPTH { block } else { 2 * DEPTH - block.min(2 * DEPTH) };
        let pooling = self.pooling();
        std::array::from_fn(|axis| input[axis] / pooling[axis].pow(level as u32))
    }

    /// Number of weights that training moves.
    pub(crate) fn trained_parameters(&self) -> usize {
        let running = |layer: &LayerShape| if layer.normalised { 2 * layer.outputs } else { 0 };
        self.parameters() - self.layers().iter().map(running).sum::<usize>()
    }

    /// Number of weights, Keras's count: batch normalisation's running statistics included.
    pub fn parameters(&self) -> usize {
        self.layers()
            .iter()
            .map(|layer| {
                let kernel = layer.inputs * layer.outputs * layer.kernel.iter().product::<usize>();
                kernel + layer.outputs * if layer.normalised { 5 } else { 1 }
            })
            .sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_published_networks_have_as_many_parameters_as_in_keras() {
        let parameters = |kind, filters| Architecture { kind, filters }.parameters();
        assert_eq!(parameters(Kind::Detection, 16), 5_890_770);
        assert_eq!(parameters(Kind::Identification, 32), 43_642_529);
    }
}
