//! `vertebrae`: parse, dispatch, errors to exit codes.

mod allocator;
mod cli;

use std::process::ExitCode;

use clap::Parser;

use cli::interrupt::{EXIT_CODE, Interrupted};

/// The exit code of a usage error, as clap has it.
const USAGE: u8 = 2;
/// What shells call the end by a closed pipe.
const BROKEN_PIPE: u8 = 141;

fn reader_has_gone(error: &anyhow::Error) -> bool {
    let closed = |cause: &(dyn std::error::Error + 'static)| {
        cause.downcast_ref::<std::io::Error>().is_some_and(|io| io.kind() == std::io::ErrorKind::BrokenPipe)
    };
    error.chain().any(closed)
}

fn main() -> ExitCode {
    allocator::keep_freed_memory();
    // Usage errors end inside `parse` with exit code 2.
    let command = cli::Cli::parse();
    if let Err(wrong) = vertebrae::kernels::simd::Isa::wanted() {
        eprintln!("error: {wrong}");
        return ExitCode::from(USAGE);
    }
    match command.run() {
        Ok(()) => ExitCode::SUCCESS,
        // What wrote to a reader that has gone ends as quietly as other programs do.
        Err(error) if reader_has_gone(&error) => ExitCode::from(BROKEN_PIPE),
        Err(error) => {
            eprintln!("error: {error:#}");
            if error.is::<Interrupted>() { ExitCode::from(EXIT_CODE) } else { ExitCode::FAILURE }
        }
    }
}
