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
pub mod interrupt;
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

use anyhow::Result;
use clap::{Parser, Subcommand};

/// Finds, locates and names the vertebrae in CT scans.
///
/// Not a medical device: results are for research and must not guide treatment.
#[derive(Parser)]
#[command(name = "vertebrae", version, arg_required_else_help = true)]
pub struct Cli {
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
    pub fn run(self) -> Result<()> {
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
