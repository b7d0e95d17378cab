//! Why a model cannot be used.

use std::fmt;

/// Why a model cannot be used. Displayed, it is one sentence that names the file and what to do.
#[derive(Debug)]
#[non_exhaustive]
pub enum ModelError {
    /// There is no such file.
    Missing(String),
    /// It is a model, but of another network than the one that is needed.
    OtherNetwork(String),
    /// It cannot be read, or is damaged, or was not written by this program or Keras.
    Unusable(anyhow::Error),
}

impl fmt::Display for ModelError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ModelError::Missing(sentence) | ModelError::OtherNetwork(sentence) => f.write_str(sentence),
            ModelError::Unusable(error) => write!(f, "{error:#}"),
        }
    }
}

impl std::error::Error for ModelError {}

impl From<anyhow::Error> for ModelError {
    fn from(error: anyhow::Error) -> ModelError {
        ModelError::Unusable(error)
    }
}

impl ModelError {
    /// The same, said of a file.
    pub(crate) fn of(self, file: impl fmt::Display) -> ModelError {
        match self {
            ModelError::Missing(sentence) => ModelError::Missing(format!("{file}: {sentence}")),
            ModelError::OtherNetwork(sentence) => ModelError::OtherNetwork(format!("{file}: {sentence}")),
            ModelError::Unusable(error) => ModelError::Unusable(error.context(file.to_string())),
        }
    }
}
