//! Why a device cannot be used.

use std::fmt;

/// Why a device cannot be used. Displayed, it is one sentence that says what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Error {
    /// There is no such card, or something is missing that is needed to use it.
    Missing(String),
    /// Its memory is full.
    OutOfMemory(String),
    /// It, its driver or its compiler failed.
    Failed(String),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Missing(sentence) | Error::OutOfMemory(sentence) | Error::Failed(sentence) => {
                f.write_str(sentence)
            }
        }
    }
}

impl std::error::Error for Error {}
