//! Why a scan cannot be used.

use std::fmt;
use std::io;
use std::path::Path;

/// Why a scan cannot be read. Displayed, it is one sentence that names the file, what is wrong with it and what to do.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// There is nothing at that path.
    Missing(anyhow::Error),
    /// The system does not let it be read.
    Io(anyhow::Error),
    /// The folder of DICOM slices has no CT series of the wanted UID.
    NoSuchSeries(anyhow::Error),
    /// It is read, but is no scan that can be used: of another format, damaged, or of an impossible geometry.
    Unusable(anyhow::Error),
}

impl Error {
    /// Sorts what the readers of the formats say of `path`.
    pub(crate) fn of(path: &Path, error: anyhow::Error) -> Error {
        let system = |cause: &io::Error| {
            // Streams that end early or cannot be unpacked are damaged files, not a failing system.
            !matches!(
                cause.kind(),
                io::ErrorKind::InvalidData
                    | io::ErrorKind::InvalidInput
                    | io::ErrorKind::UnexpectedEof
                    | io::ErrorKind::Other
            )
        };
        if !path.exists() {
            Error::Missing(error)
        } else if error.downcast_ref::<NoSuchSeries>().is_some() {
            Error::NoSuchSeries(error)
        } else if error.chain().filter_map(|cause| cause.downcast_ref()).any(system) {
            Error::Io(error)
        } else {
            Error::Unusable(error)
        }
    }

    fn sentence(&self) -> &anyhow::Error {
        match self {
            Error::Missing(sentence)
            | Error::Io(sentence)
            | Error::NoSuchSeries(sentence)
            | Error::Unusable(sentence) => sentence,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#}", self.sentence())
    }
}

impl std::error::Error for Error {}

/// What a folder of slices answers to a series that it does not have.
#[derive(Debug)]
pub(super) struct NoSuchSeries {
    pub wanted: String,
    pub found: Vec<String>,
}

impl fmt::Display for NoSuchSeries {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "it holds no CT series {}; there are {}", self.wanted, self.found.join(", "))
    }
}

impl std::error::Error for NoSuchSeries {}

#[cfg(test)]
mod tests {
    use super::super::Scan;
    use super::*;

    fn of(path: &Path) -> Error {
        Scan::read(path).err().expect("it cannot be read")
    }

    #[test]
    fn what_is_missing_is_told_from_what_is_damaged() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("scan.nii.gz");
        assert!(matches!(of(&path), Error::Missing(_)), "{:?}", of(&path));
        std::fs::write(&path, b"\x1f\x8b\x08 no gzip at all").unwrap();
        let error = of(&path);
        assert!(matches!(error, Error::Unusable(_)), "{error:?}");
        assert!(error.to_string().contains("scan.nii.gz cannot be used: "), "{error}");
        // A folder without slices.
        assert!(matches!(of(folder.path()), Error::Unusable(_)), "{:?}", of(folder.path()));
    }

    #[test]
    fn a_failing_system_is_no_damaged_scan() {
        let denied = io::Error::from(io::ErrorKind::PermissionDenied);
        let error = anyhow::Error::new(denied).context("scan.nii cannot be opened");
        assert!(matches!(Error::of(Path::new("/"), error), Error::Io(_)));
        let short =
            anyhow::Error::new(io::Error::from(io::ErrorKind::UnexpectedEof)).context("it ends early");
        assert!(matches!(Error::of(Path::new("/"), short), Error::Unusable(_)));
    }
}
