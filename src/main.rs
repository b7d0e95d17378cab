//! `vertebrae`: the command line of the library as a program.

mod allocator;

use std::process::ExitCode;

fn main() -> ExitCode {
    allocator::keep_freed_memory();
    ExitCode::from(vertebrae::cli::main(std::env::args_os()))
}
