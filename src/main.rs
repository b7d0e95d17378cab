//! `vertebrae`: parse, dispatch, errors to exit codes.

mod allocator;
mod cli;

use std::process::ExitCode;

use clap::Parser;

use cli::interrupt::{EXIT_CODE, Interrupted};

fn main() -> ExitCode {
    allocator::keep_freed_memory();
    // Usage errors end inside `parse` with exit code 2.
    match cli::Cli::parse().run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            if error.is::<Interrupted>() { ExitCode::from(EXIT_CODE) } else { ExitCode::FAILURE }
        }
    }
}
