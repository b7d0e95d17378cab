//! Files that appear whole under their final name or not at all.

use std::fs;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// Ending of a file that is still being written; readers of a folder pass it over.
const UNFINISHED: &str = ".part";

/// Writes a file through `fill` into a temporary beside it and renames it when complete.
///
/// Folders on the way are created. When `fill` fails or the process is killed, whatever stood
/// under `path` before still stands there.
pub fn write(path: &Path, fill: impl FnOnce(&mut dyn Write) -> Result<()>) -> Result<()> {
    let attempt = || -> Result<()> {
        let folder = match path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        fs::create_dir_all(folder)
            .with_context(|| format!("the folder {} cannot be created", folder.display()))?;
        let mut unfinished = temporary().tempfile_in(folder)?;
        let mut buffer = BufWriter::new(unfinished.as_file_mut());
        fill(&mut buffer)?;
        buffer.flush()?;
        drop(buffer);
        unfinished.persist(path)?;
        Ok(())
    };
    attempt().with_context(|| format!("{} could not be written", path.display()))
}

/// A temporary that is as readable as any new file: the user's mask decides, since a result may be a patient's.
fn temporary() -> tempfile::Builder<'static, 'static> {
    let mut builder = tempfile::Builder::new();
    builder.prefix(".").suffix(UNFINISHED);
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        builder.permissions(fs::Permissions::from_mode(0o666));
    }
    builder
}

/// Makes a folder and tries whether files can be written into it, so that a long run does not end in vain.
pub fn check_folder(folder: &Path) -> Result<()> {
    let attempt = || -> std::io::Result<()> {
        fs::create_dir_all(folder)?;
        tempfile::Builder::new().prefix(".").suffix(UNFINISHED).tempfile_in(folder)?;
        Ok(())
    };
    attempt().with_context(|| {
        format!(
            "no file can be written into {}; choose another folder, or free or unlock this one",
            folder.display()
        )
    })
}

/// Writes `value` as indented JSON, whole or not at all.
pub fn write_json(path: &Path, value: &impl serde::Serialize) -> Result<()> {
    write(path, |file| {
        serde_json::to_writer_pretty(&mut *file, value)?;
        file.write_all(b"\n")?;
        Ok(())
    })
}

/// Reads a JSON file; errors name it.
pub fn read_json<T: serde::de::DeserializeOwned>(path: &Path) -> Result<T> {
    let bytes = fs::read(path).with_context(|| format!("{} cannot be read", path.display()))?;
    serde_json::from_slice(&bytes)
        .with_context(|| format!("{} is damaged; delete it and run again", path.display()))
}

/// A file with its SHA-256.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct File {
    /// As it was named.
    #[serde(serialize_with = "lossy")]
    pub path: PathBuf,
    /// In hexadecimal digits.
    pub sha256: String,
}

/// A path as text; what is no UTF-8 in it becomes a replacement character, since JSON has nothing else for it.
pub(crate) fn lossy<S: serde::Serializer>(path: &Path, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&path.to_string_lossy())
}

/// SHA-256 of a file in hexadecimal digits.
pub fn sha256(path: &Path) -> Result<String> {
    let mut hash = Sha256::new();
    let read = fs::File::open(path).and_then(|mut file| std::io::copy(&mut file, &mut hash));
    read.with_context(|| format!("{} cannot be read", path.display()))?;
    Ok(digits(hash))
}

/// SHA-256 of bytes in hexadecimal digits.
pub fn sha256_of(bytes: &[u8]) -> String {
    digits(Sha256::new_with_prefix(bytes))
}

fn digits(hash: Sha256) -> String {
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_has_the_hash_that_sha256sum_prints() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("abc");
        std::fs::write(&path, b"abc").unwrap();
        let expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(sha256(&path).unwrap(), expected);
    }

    #[test]
    fn a_failed_write_leaves_the_old_file_and_no_other() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("result.txt");
        write(&path, |file| Ok(file.write_all(b"old")?)).unwrap();
        let failed = write(&path, |file| {
            file.write_all(b"half of the n")?;
            anyhow::bail!("interrupted")
        });
        assert!(
            format!("{:#}", failed.unwrap_err()).contains("result.txt could not be written: interrupted")
        );
        assert_eq!(fs::read(&path).unwrap(), b"old");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn missing_folders_are_created() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a/b/c.txt");
        write(&path, |file| Ok(file.write_all(b"x")?)).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"x");
    }
}
