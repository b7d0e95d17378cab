//! Samples on disk: `.npy` files that NumPy and the original's scripts read and write.

use std::io::Cursor;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use ndarray::{Array, ArrayBase, Data, Dimension};
use ndarray_npy::{ReadNpyExt, WritableElement, WriteNpyExt};

/// Ending of a sample's file name.
pub const SAMPLE: &str = "-sample.npy";
/// Ending of the file name of a sample's labelling.
pub(crate) const LABELLING: &str = "-labelling.npy";

/// Paths of sample `number` (from 1) of scan `name`: the sample and its labelling.
pub fn paths(folder: &Path, name: &str, number: usize) -> (PathBuf, PathBuf) {
    (folder.join(format!("{name}-{number}{SAMPLE}")), folder.join(format!("{name}-{number}{LABELLING}")))
}

/// Writes an array; the file appears whole or not at all.
pub fn write<A, S, D>(path: &Path, array: &ArrayBase<S, D>) -> Result<()>
where
    A: WritableElement,
    S: Data<Elem = A>,
    D: Dimension,
{
    crate::artifact::write(path, |file| Ok(array.write_npy(file)?))
}

/// Reads an array of floats or integers of any width as f32 (the original wrote its samples as
/// float32 and its labellings as float64; ours are float32 and uint8).
pub fn read<D: Dimension>(path: &Path) -> Result<Array<f32, D>> {
    let bytes = std::fs::read(path).with_context(|| format!("{} cannot be read", path.display()))?;
    let mut refusal = None;
    macro_rules! try_element {
        ($($element:ty),*) => {$(
            match Array::<$element, D>::read_npy(Cursor::new(&bytes)) {
                Ok(array) => return Ok(array.mapv(|value| value as f32)),
                Err(error) => { refusal.get_or_insert(error); }
            }
        )*};
    }
    try_element!(f32, u8, f64, i64, i32, u16, i16, i8, u32, u64);
    let reason = refusal.map(|error| error.to_string()).unwrap_or_default();
    bail!(
        "{} is no array of {} dimensions that can be used ({reason}); generate the samples again",
        path.display(),
        D::NDIM.unwrap_or_default()
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::{Array2, Ix2, Ix3, array};

    #[test]
    fn arrays_of_any_number_type_read_as_f32() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.npy");
        write(&path, &array![[1u8, 2], [3, 26]]).unwrap();
        let expected: Array2<f32> = array![[1.0, 2.0], [3.0, 26.0]];
        assert_eq!(read::<Ix2>(&path).unwrap(), expected);
        write(&path, &array![[1f64, 2.0], [3.0, 26.0]]).unwrap();
        assert_eq!(read::<Ix2>(&path).unwrap(), expected);
    }

    #[test]
    fn a_damaged_array_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.npy");
        write(&path, &array![[1u8, 2], [3, 26]]).unwrap();
        assert!(read::<Ix3>(&path).unwrap_err().to_string().contains("a.npy is no array of 3 dimensions"));
        let bytes = std::fs::read(&path).unwrap();
        std::fs::write(&path, &bytes[..bytes.len() - 1]).unwrap();
        assert!(read::<Ix2>(&path).unwrap_err().to_string().contains("generate the samples again"));
    }
}
