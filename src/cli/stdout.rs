//! Lines on standard output whose reader may have gone.

use std::fmt::Arguments;
use std::io::{ErrorKind, Write};

/// Writes to standard output. A reader that has seen enough (`| head`) is no error and no reason to stop; a full
/// disk is both.
pub fn write(text: Arguments) {
    let mut out = std::io::stdout().lock();
    match out.write_fmt(text).and_then(|()| out.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            eprintln!("error: standard output cannot be written: {error}");
            std::process::exit(1);
        }
        _ => {}
    }
}

/// Prints a line; see [`write`].
macro_rules! say {
    ($($part:tt)*) => { $crate::cli::stdout::write(format_args!("{}\n", format_args!($($part)*))) };
}

pub(crate) use say;
