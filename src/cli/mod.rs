//! The command line: one file a subcommand, the only place that knows clap.

mod accuracy;
mod bar;
mod benchmark;
mod convert;
mod decode;
mod devices;
mod gen_detection;
mod gen_identification;
mod gen_phantom;
mod generating;
mod interrupt;
mod manual;
mod measure;
mod options;
mod predict;
mod report;
mod stdout;
mod strip_training;
mod train_chain;
mod train_detection;
mod train_identification;
mod training;

use std::ffi::OsString;

use anyhow::Result;
use clap::{Parser, Subcommand};

use self::interrupt::{EXIT_CODE, Interrupted};

/// The exit code of a usage error, as clap has it, and of a failure.
const USAGE: u8 = 2;
const FAILURE: u8 = 1;
/// What shells call the end by a closed pipe.
const BROKEN_PIPE: u8 = 141;

/// Runs the program with these arguments, its own name the first, and says with which code it ends: 0, 1 for a failure, 2 for
/// wrong usage, 130 after Ctrl-C, 141 where nobody reads what it writes any longer.
pub fn main(arguments: impl IntoIterator<Item = OsString>) -> u8 {
    let command = match Cli::try_parse_from(arguments) {
        Ok(command) => command,
        Err(usage) => {
            // Where help cannot be written nobody reads it.
            let _ = usage.print();
            return u8::try_from(usage.exit_code()).unwrap_or(USAGE);
        }
    };
    if let Err(wrong) = crate::kernels::isa::Isa::wanted() {
        eprintln!("error: {wrong}");
        return USAGE;
    }
    match command.run() {
        Ok(()) => 0,
        // What wrote to a reader that has gone ends as quietly as other programs do.
        Err(error) if reader_has_gone(&error) => BROKEN_PIPE,
        Err(error) => {
            eprintln!("error: {error:#}");
            if error.is::<Interrupted>() { EXIT_CODE } else { FAILURE }
        }
    }
}

fn reader_has_gone(error: &anyhow::Error) -> bool {
    let closed = |cause: &(dyn std::error::Error + 'static)| {
        cause.downcast_ref::<std::io::Error>().is_some_and(|io| io.kind() == std::io::ErrorKind::BrokenPipe)
    };
    error.chain().any(closed)
}

/// Finds, locates and names the vertebrae in CT scans.
///
/// Not a medical device: results are for research and must not guide treatment.
#[derive(Parser)]
#[command(name = "vertebrae", version, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Make synthetic spine CTs with annotations
    GenPhantom(gen_phantom::GenPhantom),
    /// Cut samples for the detection network from annotated scans
    GenDetection(gen_detection::GenDetection),
    /// Cut samples for the identification network from annotated scans
    GenIdentification(gen_identification::GenIdentification),
    /// Train the network that marks vertebral bodies
    TrainDetection(train_detection::TrainDetection),
    /// Train the network that names their levels
    TrainIdentification(train_identification::TrainIdentification),
    /// Train the network that finds exact centres along a straightened spine
    TrainBodies(strip_training::TrainBodies),
    /// Train the network that names the bodies of a straightened spine
    TrainNames(strip_training::TrainNames),
    /// Fit how far names are believed, and at which price levels are missed, to scans not learned from
    TrainChain(train_chain::TrainChain),
    /// Find and name the vertebrae of annotated scans and say how well
    Measure(measure::Measure),
    /// Print tables of accuracy over runs of measure, as Markdown
    Accuracy(accuracy::Accuracy),
    /// Find and name the vertebrae of any scan
    Predict(predict::Predict),
    /// Gather the results of runs of predict in a page and a list
    Report(report::Report),
    /// Name candidate bodies as the most likely sequence of a spine
    Decode(decode::Decode),
    /// Turn centroids from one file format into another
    Convert(convert::Convert),
    /// Time both networks on this machine
    Benchmark(benchmark::Benchmark),
    /// List what networks can be computed on here
    Devices(devices::Devices),
    /// Print a script that completes commands in a shell
    Completions(manual::Completions),
    /// Print a manual page
    Man(manual::Man),
}

impl Cli {
    /// Runs the chosen subcommand.
    fn run(self) -> Result<()> {
        match self.command {
            Command::GenPhantom(command) => command.run(),
            Command::GenDetection(command) => command.run(),
            Command::GenIdentification(command) => command.run(),
            Command::TrainDetection(command) => command.run(),
            Command::TrainIdentification(command) => command.run(),
            Command::TrainBodies(command) => command.run(),
            Command::TrainNames(command) => command.run(),
            Command::TrainChain(command) => command.run(),
            Command::Measure(command) => command.run(),
            Command::Accuracy(command) => command.run(),
            Command::Predict(command) => command.run(),
            Command::Report(command) => command.run(),
            Command::Decode(command) => command.run(),
            Command::Convert(command) => command.run(),
            Command::Benchmark(command) => command.run(),
            Command::Devices(command) => command.run(),
            Command::Completions(command) => command.run(),
            Command::Man(command) => command.run(),
        }
    }
}
