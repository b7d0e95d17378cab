//! Voxels as the formats of one file hold them: numbers of one type, one after the other, zipped or not.

use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;

use anyhow::{Context, Result, ensure};
use flate2::bufread::MultiGzDecoder;
use ndarray::{Array3, Ix3};
use nifti::{Endianness, InMemNiftiVolume, IntoNdArray, NiftiHeader, NiftiType};

use super::intensity;

/// Bytes behind the voxels that are read to come to a gzip stream's checksum.
const TRAILER: u64 = 1 << 20;
/// Voxels along an axis at most: what a header of NIfTI-1 can say, and no scanner makes more.
const LONGEST: usize = i16::MAX as usize;

/// How voxels are stored.
pub(super) struct Stored {
    /// Along each axis, the first one contiguous.
    pub shape: [usize; 3],
    /// The type of a number.
    pub kind: NiftiType,
    /// The order of its bytes.
    pub endianness: Endianness,
    /// What a number is multiplied with, and what is added; a factor of 0 means neither.
    pub scale: [f32; 2],
}

impl Stored {
    /// Bytes of all voxels; the error names sizes that no scan has.
    pub fn bytes(&self) -> Result<usize> {
        ensure!(
            self.shape.iter().all(|&size| (1..=LONGEST).contains(&size)),
            "its header claims {:?} voxels along its axes, which no scan has; export it again",
            self.shape
        );
        Ok(self.shape.iter().product::<usize>() * self.kind.size_of())
    }

    /// Reads the voxels that begin so many bytes further on in a stream; no more memory is taken than bytes are there.
    pub fn read(&self, stream: Box<dyn Read>, skip: u64, warnings: &mut Vec<String>) -> Result<Array3<f32>> {
        let raw = voxel_bytes(stream, skip, self.bytes()?)?;
        let [x, y, z] = self.shape.map(|size| size as u16);
        let [scl_slope, scl_inter] = self.scale;
        let described = NiftiHeader {
            dim: [3, x, y, z, 1, 1, 1, 1],
            datatype: self.kind as i16,
            bitpix: 8 * self.kind.size_of() as i16,
            scl_slope,
            scl_inter,
            endianness: self.endianness,
            ..NiftiHeader::default()
        };
        let stored = InMemNiftiVolume::from_raw_data(&described, raw)?.into_ndarray::<f32>()?;
        let mut voxels = stored.into_dimensionality::<Ix3>()?;
        intensity::make_finite(&mut voxels, warnings)?;
        Ok(voxels)
    }
}

/// The file's bytes, unzipped when they begin like a gzip stream, whatever the name says.
pub(super) fn open(path: &Path) -> Result<Box<dyn Read>> {
    let file = File::open(path).with_context(|| format!("{} cannot be opened", path.display()))?;
    let mut file = BufReader::new(file);
    let start = std::io::BufRead::fill_buf(&mut file)?;
    ensure!(!start.is_empty(), "the file is empty; copy or export it again");
    if start.starts_with(&[0x1f, 0x8b]) {
        Ok(Box::new(MultiGzDecoder::new(file)))
    } else {
        Ok(Box::new(file))
    }
}

/// The file beside a header that holds its voxels, opened; `whole` is what to save as where they lie in several.
pub(super) fn beside(header: &Path, name: &str, whole: &str) -> Result<BufReader<File>> {
    ensure!(
        !name.eq_ignore_ascii_case("list") && !name.starts_with("LIST") && !name.contains('%'),
        "its voxels are spread over several files; save it as one {whole}"
    );
    let path = header.with_file_name(name);
    ensure!(path.is_file(), "its voxels should be in {}; put that file beside it", path.display());
    Ok(BufReader::new(File::open(&path).with_context(|| format!("{} cannot be opened", path.display()))?))
}

pub(super) fn broken(error: std::io::Error, what: &str) -> anyhow::Error {
    use std::io::ErrorKind::{InvalidData, InvalidInput, UnexpectedEof};
    match error.kind() {
        UnexpectedEof => anyhow::anyhow!("{what}: the file ends early; copy or export it again"),
        InvalidData | InvalidInput => {
            anyhow::anyhow!("{what}: the gzip stream is damaged ({error}); copy or export it again")
        }
        _ => anyhow::Error::new(error).context(what.to_owned()),
    }
}

/// The bytes of the voxels; no more memory is taken than bytes are there.
fn voxel_bytes(mut stream: Box<dyn Read>, skip: u64, expected: usize) -> Result<Vec<u8>> {
    std::io::copy(&mut stream.by_ref().take(skip), &mut std::io::sink())
        .map_err(|error| broken(error, "its header extension is unreadable"))?;
    let mut raw = Vec::new();
    let outcome = stream.by_ref().take(expected as u64).read_to_end(&mut raw);
    let short = format!("{} of {expected} bytes of voxels are there", raw.len());
    outcome.map_err(|error| broken(error, &short))?;
    ensure!(raw.len() == expected, "{short}: the file ends early; copy or export it again");
    // The checksum of a gzip stream stands at its end; other things may stand behind that.
    let end = std::io::copy(&mut stream.take(TRAILER), &mut std::io::sink());
    let damaged = end.is_err_and(|error| error.to_string().contains("checksum"));
    ensure!(
        !damaged,
        "its voxels do not have the checksum that its gzip stream names: it was damaged; copy or export it again"
    );
    Ok(raw)
}

/// The volume that the formats of one file are tested with.
#[cfg(test)]
pub(super) mod fixture {
    use crate::scan::Volume;

    /// Its voxels as signed shorts, the first axis fastest.
    pub(in crate::scan) fn voxels() -> Vec<u8> {
        (0..60i16).flat_map(|value| (value - 1000).to_le_bytes()).collect()
    }

    /// That a volume is the one, where it lies in the patient, and that nothing had to be put right.
    pub(in crate::scan) fn check(volume: &Volume) {
        assert_eq!(volume.geometry.shape, [3, 4, 5]);
        assert_eq!(volume.geometry.spacing, [0.5, 0.7, 2.0]);
        assert_eq!(volume.geometry.world([2.0, 1.0, 1.0]), [-10.0, -7.3, 9.0]);
        for ((x, y, z), &value) in volume.voxels.indexed_iter() {
            assert_eq!(value, (x + 3 * y + 12 * z) as f32 - 1000.0);
        }
        assert!(volume.warnings.is_empty(), "{:?}", volume.warnings);
    }
}
