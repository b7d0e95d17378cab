//! `benchmark`: seconds of both full-size networks on this machine.

use super::stdout::say;
use anyhow::Result;
use clap::Args;

use super::bar::Progress;
use super::options::{Computing, at_least_one};
use crate::benchmark;

#[derive(Args)]
pub struct Benchmark {
    /// Print one JSON object instead of tables
    #[arg(long)]
    json: bool,
    /// Every time is the best of so many
    #[arg(long, value_name = "TIMES", default_value = "5", value_parser = at_least_one)]
    repeat: usize,
    /// Inputs of a prediction and of a training step instead of 1 and 2 (detection) or 4
    #[arg(long, value_name = "N", value_parser = at_least_one)]
    batch: Option<usize>,
    #[command(flatten)]
    computing: Computing,
}

impl Benchmark {
    pub fn run(self) -> Result<()> {
        let report =
            benchmark::run(self.computing.device(), self.repeat, self.batch, &mut &Progress::on_stderr())?;
        if self.json {
            say!("{}", serde_json::to_string_pretty(&report)?);
            return Ok(());
        }
        say!("vertebrae {} on {}", report.vertebrae, report.device);
        say!("{} threads, {} kernels, best of {}", report.threads, report.simd, self.repeat);
        if let Some(peak) = report.peak {
            say!("peak {:.0} GFLOP/s, {:.1} GB/s", peak.gflops, peak.gigabytes);
        }
        for (name, figures) in &report.networks {
            say!("\n{name}: {} weights", figures.params);
            let line = |best: f64, median: f64| format!("{best:.4} s (median {median:.4} s)");
            say!("  one prediction     {}", line(figures.forward_best, figures.forward_median));
            if let (Some(best), Some(simd)) = (figures.forward_bf16, &report.simd_bf16) {
                say!("  one in bf16        {best:.4} s, with {simd}");
            }
            say!("  one training step  {}", line(figures.train_step, figures.train_step_median));
            if let (Some(best), Some(simd)) = (figures.train_step_bf16, &report.simd_bf16) {
                say!("  one in bf16        {best:.4} s, with {simd}");
            }
            if let Some(difference) = figures.difference {
                say!("  prediction differs from the processor's by {difference:.1e} at most");
            }
            for layer in &figures.layers {
                let [a, b, c] = layer.kernel;
                let [x, y, z] = layer.size;
                say!(
                    "  {:>4} -> {:<4} {a}x{b}x{c:<3} on {:>12} {:>8.2} ms {:>6.0} GFLOP/s, floor {:.2} ms",
                    layer.inputs,
                    layer.outputs,
                    format!("{x}x{y}x{z}"),
                    layer.seconds * 1e3,
                    layer.gflops,
                    layer.floor * 1e3
                );
            }
        }
        Ok(())
    }
}
