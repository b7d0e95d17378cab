//! A trained strip network behind one plain interface, whatever computes it.

use anyhow::{Result, anyhow, ensure};
use burn::tensor::{Tensor, TensorData};
use ndarray::{Array2, Array3, Axis, s};

use super::strip::{Strip, StripArchitecture, StripInput};
use super::weights::StripWeights;
use crate::kernels::KernelBackend;
use crate::straighten::NOTHING;

/// A strip network ready to be applied.
pub trait StripPredictor: Send + Sync {
    /// What the network looks like and what it is given.
    fn architecture(&self) -> &StripArchitecture;

    /// Views from the front `[view, left, along]` and from the side `[view, back, along]`, and marks
    /// `[mark, step]` if the network takes any → the answer `[output, step]`; a step that the views fill
    /// in part counts.
    fn predict(&self, views: [Array3<f32>; 2], marks: Option<Array2<f32>>) -> Result<Array2<f32>>;
}

/// A strip network computed by burn.
pub struct BurnStrip<B: KernelBackend> {
    network: Strip<B>,
    architecture: StripArchitecture,
    device: B::Device,
}

impl<B: KernelBackend> BurnStrip<B> {
    /// Brings the weights to `device`.
    pub fn new(weights: &StripWeights, device: B::Device) -> Self {
        let network = Strip::new(&weights.architecture, &weights.layers, &device);
        BurnStrip { network, architecture: weights.architecture.clone(), device }
    }
}

/// Steps that views of so many pixels along need.
pub fn steps(architecture: &StripArchitecture, pixels: usize) -> usize {
    pixels.div_ceil(architecture.pixels_per_step())
}

/// `[c, a, l]` → `[c, a, length]`, nothing behind what is there.
pub(crate) fn padded(view: &Array3<f32>, length: usize) -> Array3<f32> {
    let (channels, rows, pixels) = view.dim();
    let mut padded = Array3::from_elem((channels, rows, length), NOTHING);
    padded.slice_mut(s![.., .., ..pixels.min(length)]).assign(&view.slice(s![.., .., ..pixels.min(length)]));
    padded
}

impl<B: KernelBackend<Device: Send + Sync>> StripPredictor for BurnStrip<B> {
    fn architecture(&self) -> &StripArchitecture {
        &self.architecture
    }

    fn predict(&self, views: [Array3<f32>; 2], marks: Option<Array2<f32>>) -> Result<Array2<f32>> {
        let pixels = views[0].len_of(Axis(2));
        let steps = steps(&self.architecture, pixels);
        let length = steps * self.architecture.pixels_per_step();
        let given = marks.as_ref().map_or(0, |marks| marks.len_of(Axis(0)));
        ensure!(given == self.architecture.marks, "the network takes {} marks", self.architecture.marks);
        let tensor = |values: Vec<f32>, [c, rows, l]: [usize; 3]| {
            Tensor::<B, 5>::from_data(TensorData::new(values, [1, c, 1, rows, l]), &self.device)
        };
        let [coronal, sagittal] = views.map(|view| {
            let view = padded(&view, length);
            let shape = view.dim().into();
            tensor(view.into_raw_vec_and_offset().0, shape)
        });
        let marks = marks.map(|marks| {
            let (c, l) = marks.dim();
            tensor(marks.as_standard_layout().into_owned().into_raw_vec_and_offset().0, [c, 1, l])
        });
        let output = self.network.forward(&self.architecture, StripInput { coronal, sagittal, marks }, None);
        let values = output
            .into_data()
            .convert::<f32>()
            .into_vec()
            .map_err(|error| anyhow!("the network's output could not be read back: {error:?}"))?;
        Ok(Array2::from_shape_vec((self.architecture.outputs, steps), values)?)
    }
}
