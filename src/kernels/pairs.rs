//! Half the bits: two neighbouring channels as a pair of bfloat16 in the place of one float.
//!
//! Processors with AVX512_BF16 multiply 16 such pairs at once and add both products to 16 floats (`vdpbf16ps`): a convolution of
//! half as many channels, each a pair, with the loops, the layouts and the sums of the one in floats. What is rounded are the
//! values and the weights, to 8 bits; sums stay floats.

use rayon::prelude::*;

use super::planes::Planes;

/// Two floats rounded to bfloat16, the first in the lower half.
#[inline(always)]
pub(super) fn pair(low: f32, high: f32) -> f32 {
    f32::from_bits(rounded(low) >> 16 | rounded(high) & 0xffff_0000)
}

/// A float rounded to bfloat16.
#[inline(always)]
pub(super) fn half(value: f32) -> u16 {
    (rounded(value) >> 16) as u16
}

/// Both values of a pair.
#[inline(always)]
pub(super) fn halves(pair: f32) -> [f32; 2] {
    // The upper half of a float is a bfloat16.
    [pair.to_bits() << 16, pair.to_bits() & 0xffff_0000].map(f32::from_bits)
}

/// The bits of a float whose upper half is the nearest bfloat16, of two equally near the even one. NaN may become infinite: no
/// network has any.
#[inline(always)]
fn rounded(value: f32) -> u32 {
    let bits = value.to_bits();
    bits.wrapping_add(0x7fff + (bits >> 16 & 1))
}

/// Pairs of channels, of an odd number the last with nothing.
pub(crate) fn words(channels: usize) -> usize {
    channels.div_ceil(2)
}

/// The larger of two pairs, channel by channel.
#[inline(always)]
pub(super) fn larger(a: f32, b: f32) -> f32 {
    let ([a0, a1], [b0, b1]) = (halves(a), halves(b));
    f32::from_bits(a1.max(b1).to_bits() | a0.max(b0).to_bits() >> 16)
}

/// The least of all pairs.
pub(super) fn least() -> f32 {
    pair(f32::NEG_INFINITY, f32::NEG_INFINITY)
}

/// Volumes with pairs of channels for channels, in the same frame.
pub(crate) fn paired(planes: &Planes) -> Planes {
    let (images, channels, size) = (planes.images, planes.channels, planes.size);
    let after: [usize; 3] =
        std::array::from_fn(|axis| planes.framed[axis] - planes.before[axis] - size[axis]);
    let stride = planes.channel_stride();
    let values = planes.data();
    let plane = planes.framed[1] * planes.framed[2];
    // SAFETY: every value of every pair is written below, the frame's with it.
    let mut paired =
        unsafe { Planes::vacant(images, words(channels), size, planes.before, after) }.into_pairs();
    paired.whole()[..images * words(channels) * stride].par_chunks_mut(plane).enumerate().for_each(
        |(index, to)| {
            let (word, start) = (index * plane / stride, index * plane % stride);
            let (image, word) = (word / words(channels), word % words(channels));
            let from = (image * channels + 2 * word) * stride + start;
            let low = &values[from..from + plane];
            if 2 * word + 1 < channels {
                let high = &values[from + stride..from + stride + plane];
                for ((to, &low), &high) in to.iter_mut().zip(low).zip(high) {
                    to.write(pair(low, high));
                }
            } else {
                for (to, &low) in to.iter_mut().zip(low) {
                    to.write(pair(low, 0.0));
                }
            }
        },
    );
    paired
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::destination::Destination;
    use crate::kernels::direct::{Finish, convolve};
    use crate::kernels::isa::Isa;
    use crate::kernels::packed::{Direction, Packed};
    use crate::kernels::reference::{self, rounded as round};
    use half::bf16;
    use proptest::prelude::*;

    #[test]
    fn a_pair_holds_what_the_format_says() {
        for value in [0.0, -0.0, 1.0, -1.005, 3.140_625, 1e-30, 6e37, f32::INFINITY] {
            let both = pair(value, -value).to_bits();
            let of = |bits: u16| bf16::from_bits(bits);
            assert_eq!(of(both as u16), bf16::from_f32(value), "{value}");
            assert_eq!(of((both >> 16) as u16), bf16::from_f32(-value), "{value}");
        }
    }

    #[test]
    fn the_larger_of_two_pairs_is_that_of_each_half() {
        let values = [-2.0, -0.5, 0.0, 1.0, 3.0f32];
        for [a, b, c, d] in [[0, 4, 3, 1], [2, 2, 1, 3], [4, 0, 0, 4]].map(|at| at.map(|i: usize| values[i]))
        {
            assert_eq!(larger(pair(a, b), pair(c, d)).to_bits(), pair(a.max(c), b.max(d)).to_bits());
            assert_eq!(larger(least(), pair(a, b)).to_bits(), pair(a, b).to_bits());
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(60))]

        #[test]
        fn any_shape_equals_the_definition_of_rounded_values(
            images in 1usize..3,
            inputs in prop_oneof![1usize..7, Just(48), Just(64)],
            outputs in prop_oneof![1usize..20, Just(32), Just(48)],
            size in (1usize..5, 1usize..7, prop_oneof![1usize..30, Just(50), Just(83)]).prop_map(<[usize; 3]>::from),
            kernel in prop_oneof![
                Just([3, 3, 3]), Just([1, 3, 3]), Just([1, 1, 1]), Just([1, 5, 20]), Just([2, 1, 4])
            ],
            seed in 0u32..1000,
            backward: bool,
        ) {
            let direction = if backward { Direction::Backward } else { Direction::Forward };
            let (taps, volume): (usize, usize) = (kernel.iter().product(), size.iter().product());
            let weights = round(&reference::noise(outputs * inputs * taps, seed));
            // Channels of the weights as the convolution and as the way back through it see them.
            let channels = if backward { [inputs, outputs] } else { [outputs, inputs] };
            let x = round(&reference::noise(images * inputs * volume, seed + 1));
            let bias = reference::noise(outputs, seed + 2);
            let mut expected = if backward {
                reference::input_gradient(&x, images, size, &weights, channels, kernel)
            } else {
                reference::convolve(&x, images, size, &weights, channels, kernel)
            };
            for (index, value) in expected.iter_mut().enumerate() {
                *value += bias[index / volume % outputs];
            }
            let (before, after) = Packed::frame(kernel, direction);
            let planes = paired(&Planes::framed(&x, images, inputs, size, before, after));
            for isa in Isa::all_bf16() {
                let at_once = Planes::framed_for(isa, &x, images, inputs, size, (before, after));
                let bits = |planes: &Planes| planes.data().iter().map(|value| value.to_bits()).collect::<Vec<_>>();
                let used = images * words(inputs) * planes.channel_stride();
                prop_assert!(bits(&at_once)[..used] == bits(&planes)[..used], "read at once");
                let packed = Packed::new(isa, &weights, channels, kernel, direction);
                let mut output = vec![f32::NAN; expected.len()];
                let finish = Finish { bias: Some(&bias), ..Finish::default() };
                convolve(&planes, &packed, finish, &mut Destination::dense(&mut output, outputs, size));
                prop_assert!(reference::close(&output, &expected), "{}", isa);
                // Written as pairs at once, the results are those that are rounded afterwards.
                if outputs.is_multiple_of(2) {
                    let rounded = paired(&Planes::framed(&output, images, outputs, size, [1; 3], [1, 0, 2]));
                    // SAFETY: the convolution writes all of its inside.
                    let vacant = unsafe { Planes::vacant(images, words(outputs), size, [1; 3], [1, 0, 2]) };
                    let mut pairs = vacant.into_pairs();
                    convolve(&planes, &packed, finish, &mut pairs.inside());
                    let wrong = pairs.data().iter().zip(rounded.data()).position(|(a, b)| a.to_bits() != b.to_bits());
                    let both = wrong.map(|at| [pairs.data()[at].to_bits(), rounded.data()[at].to_bits()]);
                    prop_assert!(wrong.is_none(), "{}: {:?} {:x?}", isa, wrong, both);
                }
            }
        }
    }
}
