//! The convolution kernels on the layers of the two full-size networks, GFLOP/s as throughput
//! (read "Gelem/s" as GFLOP/s). Run with `cargo bench`.

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use vertebrae::kernels::destination::Destination;
use vertebrae::kernels::direct::{Finish, convolve};
use vertebrae::kernels::isa::Isa;
use vertebrae::kernels::kernel_gradient::kernel_gradient;
use vertebrae::kernels::packed::{Direction, Packed};
use vertebrae::kernels::planes::Planes;

/// Inputs, outputs, kernel and extent of some layers, from the widest planes to the narrowest.
const LAYERS: [(usize, usize, [usize; 3], [usize; 3]); 9] = [
    (1, 16, [3, 3, 3], [64, 64, 80]),
    (16, 16, [3, 3, 3], [64, 64, 80]),
    (16, 2, [3, 3, 3], [64, 64, 80]),
    (96, 32, [3, 3, 3], [32, 32, 40]),
    (192, 64, [3, 3, 3], [16, 16, 20]),
    (128, 128, [3, 3, 3], [8, 8, 10]),
    (32, 32, [1, 3, 3], [1, 144, 320]),
    (128, 128, [1, 3, 3], [1, 36, 80]),
    (256, 512, [1, 5, 20], [1, 9, 20]),
];

fn layers(criterion: &mut Criterion) {
    for (inputs, outputs, kernel, size) in LAYERS {
        let name = format!("{inputs}->{outputs} {kernel:?} on {size:?}");
        let volume: usize = size.iter().product();
        let taps: usize = kernel.iter().product();
        let x: Vec<f32> = (0..inputs * volume).map(|i| (i % 13) as f32 * 0.1 - 0.6).collect();
        let gradient: Vec<f32> = (0..outputs * volume).map(|i| (i % 11) as f32 * 0.1 - 0.5).collect();
        let weights: Vec<f32> = (0..inputs * outputs * taps).map(|i| (i % 7) as f32 * 0.1 - 0.3).collect();
        let mut group = criterion.benchmark_group(&name);
        group.throughput(Throughput::Elements((2 * volume * inputs * outputs * taps) as u64)).sample_size(10);
        for isa in Isa::available() {
            let (before, after) = Packed::frame(kernel, Direction::Forward);
            let planes = Planes::framed(&x, 1, inputs, size, before, after);
            let packed = Packed::new(isa, &weights, [outputs, inputs], kernel, Direction::Forward);
            let mut output = vec![0.0; outputs * volume];
            group.bench_function(BenchmarkId::new("forward", isa), |bench| {
                bench.iter(|| {
                    convolve(
                        &planes,
                        &packed,
                        Finish::default(),
                        &mut Destination::dense(&mut output, outputs, size),
                    )
                });
            });
            group.bench_function(BenchmarkId::new("kernel gradient", isa), |bench| {
                bench.iter(|| kernel_gradient(isa, &planes, &gradient, outputs, kernel, [0; 3]));
            });
        }
    }
}

criterion_group!(benches, layers);
criterion_main!(benches);
