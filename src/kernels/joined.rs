//! The convolution behind a join, without the joining.
//!
//! On the way up a U-Net convolves the channels of a skip together with coarse ones whose voxels
//! are repeated. Of the taps that fall on such channels several meet the same coarse voxel: with
//! their weights added up beforehand, a kernel of 27 taps becomes one of 8 for each of the 8 places
//! a fine voxel can have in a coarse one, and nothing needs to be repeated in memory. The sums are
//! those of the plain way in another order.

use rayon::prelude::*;

use super::destination::Destination;
use super::direct::{Finish, convolve, convolved};
use super::isa::Isa;
use super::kernel_gradient::{self, kernel_gradient};
use super::packed::{Direction, Packed};
use super::planes::Planes;

/// The shape of a joined convolution.
#[derive(Clone, Copy, Debug)]
pub struct Joined {
    /// Output channels.
    pub outputs: usize,
    /// Input channels of the skip, and coarse ones behind them.
    pub inputs: [usize; 2],
    /// Kernel entries along x, y, z.
    pub kernel: [usize; 3],
    /// Fine voxels in a coarse one along x, y, z.
    pub factor: [usize; 3],
}

/// What the kernel is to the fine voxels at one place within their coarse ones.
struct Phase {
    place: [usize; 3],
    /// Extent of the kernel on coarse voxels.
    kernel: [usize; 3],
    /// The coarse voxel of the first tap, relative to the one a fine voxel lies in.
    first: [isize; 3],
    /// For every tap of the fine kernel, the one it is part of.
    part_of: Vec<usize>,
}

impl Joined {
    fn phases(&self) -> Vec<Phase> {
        let [fa, fb, fc] = self.factor;
        (0..fa * fb * fc).map(|index| self.phase([index / (fb * fc), index / fc % fb, index % fc])).collect()
    }

    /// The coarse voxel that a tap meets, relative to the one a fine voxel at `place` lies in.
    fn coarse(&self, axis: usize, place: usize, tap: usize) -> isize {
        let before = (self.kernel[axis] - 1) / 2;
        (place as isize + tap as isize - before as isize).div_euclid(self.factor[axis] as isize)
    }

    fn phase(&self, place: [usize; 3]) -> Phase {
        let along: [Vec<isize>; 3] = std::array::from_fn(|axis| {
            (0..self.kernel[axis]).map(|tap| self.coarse(axis, place[axis], tap)).collect()
        });
        let first = std::array::from_fn(|axis| along[axis][0]);
        let kernel: [usize; 3] =
            std::array::from_fn(|axis| (along[axis][self.kernel[axis] - 1] - first[axis] + 1) as usize);
        let part = |axis: usize, tap: usize| (along[axis][tap] - first[axis]) as usize;
        let [_, b, c] = self.kernel;
        let part_of = (0..self.kernel.iter().product())
            .map(|tap| {
                let (u, v, w) = (part(0, tap / (b * c)), part(1, tap / c % b), part(2, tap % c));
                (u * kernel[1] + v) * kernel[2] + w
            })
            .collect();
        Phase { place, kernel, first, part_of }
    }

    /// Zeros before and after the coarse volumes.
    pub fn frame(&self) -> ([usize; 3], [usize; 3]) {
        // The first place looks furthest back, the last one furthest ahead.
        let before = std::array::from_fn(|axis| -self.coarse(axis, 0, 0) as usize);
        let after = std::array::from_fn(|axis| {
            self.coarse(axis, self.factor[axis] - 1, self.kernel[axis] - 1) as usize
        });
        (before, after)
    }

    fn shift(&self, phase: &Phase) -> [usize; 3] {
        let (before, _) = self.frame();
        std::array::from_fn(|axis| (before[axis] as isize + phase.first[axis]) as usize)
    }

    fn taps(&self) -> usize {
        self.kernel.iter().product()
    }

    /// The skip's part of `weights` `[out, in, x, y, z]`.
    fn of_skip(&self, weights: &[f32]) -> Vec<f32> {
        let [near, far] = self.inputs;
        let rows = weights.chunks_exact((near + far) * self.taps());
        rows.flat_map(|row| &row[..near * self.taps()]).copied().collect()
    }

    /// The coarse channels' part with the taps that meet the same voxel added up.
    fn folded(&self, weights: &[f32], phase: &Phase) -> Vec<f32> {
        let ([near, far], taps) = (self.inputs, self.taps());
        let folded_taps: usize = phase.kernel.iter().product();
        let mut folded = vec![0.0; self.outputs * far * folded_taps];
        folded.par_chunks_mut(far * folded_taps).enumerate().for_each(|(output, folded)| {
            let row = &weights[(output * (near + far) + near) * taps..][..far * taps];
            for (kernel, folded) in row.chunks_exact(taps).zip(folded.chunks_exact_mut(folded_taps)) {
                for (&weight, &part) in kernel.iter().zip(&phase.part_of) {
                    folded[part] += weight;
                }
            }
        });
        folded
    }
}

/// A joined convolution's kernel laid out for one instruction set.
pub struct PackedJoined {
    joined: Joined,
    skip: Packed,
    phases: Vec<([usize; 3], Packed)>,
}

impl PackedJoined {
    /// Lays out `weights` (`[out, in, x, y, z]`, the skip's inputs first).
    pub fn new(isa: Isa, weights: &[f32], joined: Joined) -> Self {
        let [near, far] = joined.inputs;
        let outputs = joined.outputs;
        let skip =
            Packed::new(isa, &joined.of_skip(weights), [outputs, near], joined.kernel, Direction::Forward);
        let layout = |phase: &Phase| {
            let folded = joined.folded(weights, phase);
            let packed = Packed::new(isa, &folded, [outputs, far], phase.kernel, Direction::Forward);
            (phase.place, packed.shifted(joined.shift(phase)))
        };
        PackedJoined { joined, skip, phases: joined.phases().iter().map(layout).collect() }
    }

    /// Zeros before and after the coarse volumes.
    pub fn frame(&self) -> ([usize; 3], [usize; 3]) {
        self.joined.frame()
    }
}

/// `output` = the convolution of `skip` and the repeated voxels of `coarse`, plus `bias`.
pub fn convolve_joined(
    skip: &Planes,
    coarse: &Planes,
    packed: &PackedJoined,
    bias: Option<&[f32]>,
    rectified: bool,
    output: &mut Destination,
) {
    let factor = packed.joined.factor;
    assert!((0..3).all(|axis| skip.size[axis] == coarse.size[axis] * factor[axis]));
    for (place, packed) in &packed.phases {
        let finish = Finish { bias, ..Finish::default() };
        convolve(coarse, packed, finish, &mut output.every(factor, *place));
    }
    // SAFETY: the phases are all places of a block, so that together they have written every voxel.
    unsafe { output.assume_filled() };
    convolve(skip, &packed.skip, Finish { bias: None, added: true, rectified }, output);
}

/// The same as new values.
pub(crate) fn convolved_joined(
    skip: &Planes,
    coarse: &Planes,
    packed: &PackedJoined,
    bias: Option<&[f32]>,
) -> Vec<f32> {
    let outputs = packed.joined.outputs;
    let length = skip.images * outputs * skip.size.iter().product::<usize>();
    let mut values = Vec::with_capacity(length);
    let mut vacant = Destination::vacant(&mut values.spare_capacity_mut()[..length], outputs, skip.size);
    convolve_joined(skip, coarse, packed, bias, false, &mut vacant);
    // SAFETY: the phases write every voxel of every channel before the skip is added to it.
    unsafe { values.set_len(length) };
    values
}

/// The inputs of a joined convolution and the gradient of its output, for the way back.
pub(crate) struct Backward<'a> {
    /// Shape of the convolution.
    pub joined: Joined,
    /// Images.
    pub images: usize,
    /// Extent of the fine volumes.
    pub size: [usize; 3],
    /// `[image, skip channel, x, y, z]`.
    pub skip: &'a [f32],
    /// `[image, coarse channel, x, y, z]`.
    pub coarse: &'a [f32],
    /// `[out, in, x, y, z]`.
    pub weights: &'a [f32],
    /// Gradient of the output `[image, out, x, y, z]`.
    pub gradient: &'a [f32],
}

impl Backward<'_> {
    /// The gradients of the kernel, the skip and the coarse channels.
    pub fn compute(&self, isa: Isa) -> [Vec<f32>; 3] {
        let Joined { outputs, inputs: [near, far], kernel, factor } = self.joined;
        let (images, size, taps) = (self.images, self.size, self.joined.taps());
        let all = near + far;

        let (before, after) = Packed::frame(kernel, Direction::Forward);
        let skip = Planes::framed(self.skip, images, near, size, before, after);
        let of_skip = kernel_gradient(isa, &skip, self.gradient, outputs, kernel, [0; 3]);
        drop(skip);
        let mut to_kernel = vec![0.0; outputs * all * taps];
        for (row, part) in to_kernel.chunks_exact_mut(all * taps).zip(of_skip.chunks_exact(near * taps)) {
            row[..near * taps].copy_from_slice(part);
        }

        let back = isa.reading(outputs);
        let of_skip = self.joined.of_skip(self.weights);
        let packed = Packed::new(back, &of_skip, [outputs, near], kernel, Direction::Backward);
        let frame = Packed::frame(kernel, Direction::Backward);
        let planes = Planes::framed_for(back, self.gradient, images, outputs, size, frame);
        let to_skip = convolved(&planes, &packed, None);
        drop(planes);

        let coarse_size: [usize; 3] = std::array::from_fn(|axis| size[axis] / factor[axis]);
        let (before, after) = self.joined.frame();
        let coarse = Planes::framed(self.coarse, images, far, coarse_size, before, after);
        let coarse = kernel_gradient::Input::of(isa, &coarse, outputs);
        let mut to_coarse = vec![0.0; self.coarse.len()];
        for phase in self.joined.phases() {
            let gradient = self.at(&phase, coarse_size);
            let shift = self.joined.shift(&phase);
            let folded = coarse.kernel_gradient(&gradient, phase.kernel, shift);
            let folded_taps: usize = phase.kernel.iter().product();
            to_kernel.par_chunks_mut(all * taps).zip(folded.par_chunks(far * folded_taps)).for_each(
                |(row, folded)| {
                    let kernels = row[near * taps..].chunks_exact_mut(taps);
                    for (kernel, folded) in kernels.zip(folded.chunks_exact(folded_taps)) {
                        for (weight, &part) in kernel.iter_mut().zip(&phase.part_of) {
                            *weight += folded[part];
                        }
                    }
                },
            );
            // Fine voxel i saw coarse voxels i + first …; coarse voxel j was seen by those before it.
            let weights = self.joined.folded(self.weights, &phase);
            let packed = Packed::new(back, &weights, [outputs, far], phase.kernel, Direction::Backward);
            let before =
                std::array::from_fn(|axis| (phase.first[axis] + phase.kernel[axis] as isize - 1) as usize);
            let after = std::array::from_fn(|axis| (-phase.first[axis]) as usize);
            let frame = (before, after);
            let planes = Planes::framed_for(back, &gradient, images, outputs, coarse_size, frame);
            let finish = Finish { added: true, ..Finish::default() };
            convolve(&planes, &packed, finish, &mut Destination::dense(&mut to_coarse, far, coarse_size));
        }
        [to_kernel, to_skip, to_coarse]
    }

    /// The gradient at the fine voxels of one phase.
    fn at(&self, phase: &Phase, [a, b, c]: [usize; 3]) -> Vec<f32> {
        let ([fa, fb, fc], [_, fine_b, fine_c]) = (self.joined.factor, self.size);
        let [p, q, r] = phase.place;
        let fine_volume: usize = self.size.iter().product();
        let mut values = vec![0.0; self.images * self.joined.outputs * a * b * c];
        values.par_chunks_mut(a * b * c).enumerate().for_each(|(channel, values)| {
            let fine = &self.gradient[channel * fine_volume..][..fine_volume];
            for (row, values) in values.chunks_exact_mut(c).enumerate() {
                let (x, y) = (row / b, row % b);
                let start = ((x * fa + p) * fine_b + y * fb + q) * fine_c + r;
                for (value, &fine) in values.iter_mut().zip(fine[start..].iter().step_by(fc)) {
                    *value = fine;
                }
            }
        });
        values
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::reference;
    use proptest::prelude::*;

    /// Skip channels, then coarse ones with every voxel repeated.
    fn join(skip: &[f32], coarse: &[f32], images: usize, joined: Joined, size: [usize; 3]) -> Vec<f32> {
        let ([near, far], [fa, fb, fc]) = (joined.inputs, joined.factor);
        let [a, b, c] = size;
        let mut all = Vec::new();
        for image in 0..images {
            all.extend(&skip[image * near * a * b * c..][..near * a * b * c]);
            for channel in 0..far {
                for (x, y, z) in (0..a).flat_map(|x| (0..b).flat_map(move |y| (0..c).map(move |z| (x, y, z))))
                {
                    let at = (((image * far + channel) * (a / fa) + x / fa) * (b / fb) + y / fb) * (c / fc)
                        + z / fc;
                    all.push(coarse[at]);
                }
            }
        }
        all
    }

    /// Sixteenths: bfloat16 holds them, and the sums of eight of them that taps which meet one voxel become.
    fn exact(count: usize, seed: u32) -> Vec<f32> {
        reference::noise(count, seed).into_iter().map(|value| (16.0 * value).round() / 16.0).collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(40))]

        #[test]
        fn any_shape_equals_joining_first_on_every_instruction_set(
            images in 1usize..3,
            outputs in prop_oneof![1usize..6, Just(16), Just(32)],
            near in 1usize..4,
            far in 1usize..4,
            coarse in (1usize..4, 1usize..5, 1usize..9).prop_map(<[usize; 3]>::from),
            planar: bool,
            seed in 0u32..1000,
        ) {
            let (kernel, factor) = if planar { ([1, 3, 3], [1, 2, 2]) } else { ([3; 3], [2; 3]) };
            let joined = Joined { outputs, inputs: [near, far], kernel, factor };
            let size: [usize; 3] = std::array::from_fn(|axis| coarse[axis] * factor[axis]);
            let (volume, coarse_volume): (usize, usize) = (size.iter().product(), coarse.iter().product());
            let skip = exact(images * near * volume, seed);
            let low = exact(images * far * coarse_volume, seed + 1);
            let weights = exact(outputs * (near + far) * joined.taps(), seed + 2);
            let gradient = exact(images * outputs * volume, seed + 3);
            let bias = reference::noise(outputs, seed + 4);

            let all = join(&skip, &low, images, joined, size);
            let channels = [outputs, near + far];
            let mut expected = reference::convolve(&all, images, size, &weights, channels, kernel);
            for (index, value) in expected.iter_mut().enumerate() {
                *value = (*value + bias[index / volume % outputs]).max(0.0);
            }
            let to_kernel = reference::kernel_gradient(&all, &gradient, images, size, channels, kernel);
            let to_all = reference::input_gradient(&gradient, images, size, &weights, channels, kernel);
            let mut to_low = vec![0.0; low.len()];
            // The gradient of a repeated voxel is the sum over its copies: join's transpose.
            let places: Vec<f32> = (0..low.len()).map(|at| at as f32).collect();
            let sources = join(&vec![-1.0; skip.len()], &places, images, joined, size);
            let mut to_skip = Vec::new();
            for (&source, &value) in sources.iter().zip(&to_all) {
                if source < 0.0 { to_skip.push(value) } else { to_low[source as usize] += value }
            }

            for isa in Isa::available().into_iter().chain(Isa::all_bf16()) {
                let frame = Packed::frame(kernel, Direction::Forward);
                let skip_planes = Planes::framed_for(isa, &skip, images, near, size, frame);
                let coarse_planes = Planes::framed_for(isa, &low, images, far, coarse, joined.frame());
                let packed = PackedJoined::new(isa, &weights, joined);
                let mut output = vec![f32::NAN; expected.len()];
                let mut destination = Destination::dense(&mut output, outputs, size);
                convolve_joined(&skip_planes, &coarse_planes, &packed, Some(&bias), true, &mut destination);
                prop_assert!(reference::close(&output, &expected), "forward, {}", isa);
                let backward = Backward {
                    joined, images, size, skip: &skip, coarse: &low, weights: &weights, gradient: &gradient,
                };
                let [kernel, near, far] = backward.compute(isa);
                prop_assert!(reference::close(&kernel, &to_kernel), "kernel, {}", isa);
                prop_assert!(reference::close(&near, &to_skip), "skip, {}", isa);
                prop_assert!(reference::close(&far, &to_low), "coarse, {}", isa);
            }
        }
    }
}
