//! NIfTI-1 files: `.nii` and `.nii.gz`, read into a [`Volume`] and written from one.

use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use flate2::bufread::MultiGzDecoder;
use ndarray::{Array3, Ix3};
use nifti::volume::element::DataElement;
use nifti::writer::WriterOptions;
use nifti::{InMemNiftiVolume, IntoNdArray, NiftiHeader, NiftiType, Unit, XForm};

use super::{Geometry, Volume, intensity};

/// Bytes of a NIfTI-1 header.
const HEADER: usize = 348;

/// Reads a scan in its stored axis order, `scl_slope` and `scl_inter` applied.
///
/// Errors name the file, what is wrong with it and what to do. A header that claims more voxels
/// than the file holds costs no more memory than the file's own bytes.
pub fn read(path: &Path) -> Result<Volume> {
    read_unnamed(path).with_context(|| format!("{} cannot be used", path.display()))
}

fn read_unnamed(path: &Path) -> Result<Volume> {
    let mut stream = open(path)?;
    let mut bytes = [0; HEADER];
    stream.read_exact(&mut bytes).map_err(|error| broken(error, "its header is incomplete"))?;
    let header = parse(&bytes)?;
    let shape = shape(&header)?;
    let voxel_type = voxel_type(&header)?;
    let spacing = spacing(&header)?;
    let geometry = Geometry { shape, spacing, affine: affine(&header, shape, spacing) };

    let count = shape.iter().product::<usize>();
    let raw = voxel_bytes(stream, &header, count * voxel_type.size_of())?;
    let (voxels, replaced) = decode(header, shape, raw)?;
    let mut warnings = Vec::new();
    if replaced > 0 {
        warnings.push(format!("{replaced} voxels are NaN or infinite and were taken as air"));
    }
    Ok(Volume { voxels, geometry, warnings })
}

/// The file's bytes, unzipped when they begin like a gzip stream, whatever the name says.
fn open(path: &Path) -> Result<Box<dyn Read>> {
    let mut file = BufReader::new(File::open(path)?);
    let start = std::io::BufRead::fill_buf(&mut file)?;
    ensure!(!start.is_empty(), "the file is empty; copy or export it again");
    if start.starts_with(&[0x1f, 0x8b]) {
        Ok(Box::new(MultiGzDecoder::new(file)))
    } else {
        Ok(Box::new(file))
    }
}

fn broken(error: std::io::Error, what: &str) -> anyhow::Error {
    use std::io::ErrorKind::{InvalidData, InvalidInput, UnexpectedEof};
    match error.kind() {
        UnexpectedEof => anyhow::anyhow!("{what}: the file ends early; copy or export it again"),
        InvalidData | InvalidInput => {
            anyhow::anyhow!("{what}: the gzip stream is damaged ({error}); copy or export it again")
        }
        _ => anyhow::Error::new(error).context(what.to_owned()),
    }
}

fn parse(bytes: &[u8; HEADER]) -> Result<NiftiHeader> {
    let size = [bytes[0], bytes[1], bytes[2], bytes[3]];
    if i32::from_le_bytes(size) == 540 || i32::from_be_bytes(size) == 540 {
        bail!("it is a NIfTI-2 file; save it as NIfTI-1");
    }
    NiftiHeader::from_reader(&bytes[..])
        .map_err(|error| anyhow::anyhow!("it is no NIfTI file ({error}); convert it to .nii.gz first"))
}

fn shape(header: &NiftiHeader) -> Result<[usize; 3]> {
    let rank = header.dim[0] as usize;
    ensure!(
        (1..=7).contains(&rank),
        "its header names {rank} dimensions; a CT has 3, so the file is damaged or no NIfTI"
    );
    let sizes = &header.dim[1..=rank];
    ensure!(
        sizes.iter().all(|&size| (1..=i16::MAX as u16).contains(&size)),
        "its header names a dimension of no or negative size ({sizes:?}); export the scan again"
    );
    ensure!(
        rank >= 3 && sizes[2..].iter().any(|&size| size > 1),
        "it holds one {} x {} picture; a 3-D volume is needed",
        sizes[0],
        sizes.get(1).unwrap_or(&1)
    );
    ensure!(
        sizes[3..].iter().all(|&size| size == 1),
        "it holds {} volumes (dimensions {sizes:?}); split it and pass one 3-D volume",
        sizes[3..].iter().map(|&size| size as usize).product::<usize>()
    );
    Ok([sizes[0] as usize, sizes[1] as usize, sizes[2] as usize])
}

fn voxel_type(header: &NiftiHeader) -> Result<NiftiType> {
    use NiftiType::*;
    let kind = header.data_type().map_err(|_| {
        anyhow::anyhow!(
            "its data type code {} is not in the NIfTI standard; export it again",
            header.datatype
        )
    })?;
    match kind {
        Rgb24 | Rgba32 => bail!("it holds colours (RGB), not Hounsfield units; pass the CT itself"),
        Complex64 | Complex128 | Complex256 => {
            bail!("it holds complex numbers, not Hounsfield units; pass the CT itself")
        }
        Float128 => bail!("it holds 128-bit floats; save it with 32-bit floats or 16-bit integers"),
        kind => Ok(kind),
    }
}

/// Spacing in mm; files in metres or micrometres are converted.
fn spacing(header: &NiftiHeader) -> Result<[f64; 3]> {
    let scale = match header.xyzt_to_space() {
        Ok(Unit::Meter) => 1e3,
        Ok(Unit::Micron) => 1e-3,
        _ => 1.0,
    };
    let stored = &header.pixdim[1..4];
    ensure!(
        stored.iter().all(|value| value.is_finite() && *value != 0.0),
        "its voxel spacing (pixdim) is {stored:?}; every value must be a positive number of mm"
    );
    Ok(std::array::from_fn(|axis| shortest(stored[axis]).abs() * scale))
}

/// The decimal number somebody meant by an f32: 0.7 and not 0.699999988.
fn shortest(value: f32) -> f64 {
    value.to_string().parse().unwrap_or(f64::from(value))
}

/// Voxel → world (RAS, mm) with nibabel's precedence: sform, then qform, then the spacing alone.
fn affine(header: &NiftiHeader, shape: [usize; 3], spacing: [f64; 3]) -> [[f64; 4]; 3] {
    if header.sform_code > 0 {
        return [header.srow_x, header.srow_y, header.srow_z].map(|row| row.map(f64::from));
    }
    if header.qform_code > 0 {
        return qform(header, spacing);
    }
    // Without either, nibabel assumes x to run right→left and the origin in the centre.
    let scale = [-spacing[0], spacing[1], spacing[2]];
    std::array::from_fn(|row| {
        let mut line = [0.0; 4];
        line[row] = scale[row];
        line[3] = -scale[row] * (shape[row] as f64 - 1.0) / 2.0;
        line
    })
}

fn qform(header: &NiftiHeader, spacing: [f64; 3]) -> [[f64; 4]; 3] {
    let [b, c, d] = [header.quatern_b, header.quatern_c, header.quatern_d].map(f64::from);
    let rest = 1.0 - (b * b + c * c + d * d);
    let (a, [b, c, d]) = if rest > 1e-7 {
        (rest.sqrt(), [b, c, d])
    } else {
        // Rounding took the vector part beyond length 1: a turn by 180°.
        let length = (b * b + c * c + d * d).sqrt();
        (0.0, [b / length, c / length, d / length])
    };
    let handedness = if header.pixdim[0] < 0.0 { -1.0 } else { 1.0 };
    let scale = [spacing[0], spacing[1], spacing[2] * handedness];
    let rotation = [
        [a * a + b * b - c * c - d * d, 2.0 * (b * c - a * d), 2.0 * (b * d + a * c)],
        [2.0 * (b * c + a * d), a * a + c * c - b * b - d * d, 2.0 * (c * d - a * b)],
        [2.0 * (b * d - a * c), 2.0 * (c * d + a * b), a * a + d * d - b * b - c * c],
    ];
    let offset = [header.quatern_x, header.quatern_y, header.quatern_z].map(f64::from);
    std::array::from_fn(|row| {
        let turned = rotation[row];
        [turned[0] * scale[0], turned[1] * scale[1], turned[2] * scale[2], offset[row]]
    })
}

fn voxel_bytes(mut stream: Box<dyn Read>, header: &NiftiHeader, expected: usize) -> Result<Vec<u8>> {
    let offset = header.vox_offset;
    ensure!(
        offset.is_finite() && (offset == 0.0 || offset >= HEADER as f32),
        "its voxels are said to start at byte {offset}, inside the header; export the scan again"
    );
    let gap = (offset as u64).saturating_sub(HEADER as u64);
    std::io::copy(&mut stream.by_ref().take(gap), &mut std::io::sink())
        .map_err(|error| broken(error, "its header extension is unreadable"))?;
    let mut raw = Vec::new();
    let outcome = stream.take(expected as u64).read_to_end(&mut raw);
    let short = format!("{} of {expected} bytes of voxels are there", raw.len());
    outcome.map_err(|error| broken(error, &short))?;
    ensure!(raw.len() == expected, "{short}: the file ends early; copy or export it again");
    Ok(raw)
}

fn decode(mut header: NiftiHeader, shape: [usize; 3], raw: Vec<u8>) -> Result<(Array3<f32>, usize)> {
    if !header.scl_slope.is_finite() || !header.scl_inter.is_finite() {
        header.scl_slope = 0.0;
    }
    header.dim = [3, shape[0] as u16, shape[1] as u16, shape[2] as u16, 1, 1, 1, 1];
    let stored = InMemNiftiVolume::from_raw_data(&header, raw)?.into_ndarray::<f32>()?;
    let mut voxels = stored.into_dimensionality::<Ix3>()?.as_standard_layout().into_owned();
    let replaced = intensity::replace_non_finite(&mut voxels)?;
    Ok((voxels, replaced))
}

/// Writes voxels of any NIfTI type as `.nii.gz` with `geometry` as its sform; the file appears
/// whole or not at all.
pub fn write<T>(path: &Path, voxels: &Array3<T>, geometry: &Geometry) -> Result<()>
where
    T: DataElement + bytemuck::Pod,
{
    let attempt = || -> Result<()> {
        let folder = path.parent().filter(|parent| !parent.as_os_str().is_empty());
        let folder = folder.unwrap_or(Path::new("."));
        std::fs::create_dir_all(folder)?;
        // The writer derives its file name from the one it is given, so the temporary has a plain
        // name in a folder of its own.
        let scratch = tempfile::Builder::new().prefix(".").suffix(".part").tempdir_in(folder)?;
        let unfinished = scratch.path().join("volume.nii.gz");
        let mut header = NiftiHeader { sform_code: XForm::ScannerAnat as i16, ..NiftiHeader::default() };
        header.qform_code = 0;
        header.xyzt_units = Unit::Mm as u8;
        for axis in 0..3 {
            header.pixdim[axis + 1] = geometry.spacing[axis] as f32;
        }
        [header.srow_x, header.srow_y, header.srow_z] =
            geometry.affine.map(|row| row.map(|value| value as f32));
        WriterOptions::new(&unfinished).reference_header(&header).write_nifti(voxels)?;
        std::fs::rename(&unfinished, path)?;
        Ok(())
    };
    attempt().with_context(|| format!("{} could not be written", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::path::PathBuf;

    fn lps(shape: [usize; 3]) -> Geometry {
        Geometry {
            shape,
            spacing: [0.5, 0.7, 2.0],
            affine: [[-0.5, 0.0, 0.0, 9.0], [0.0, -0.7, 0.0, 8.0], [0.0, 0.0, 2.0, 7.0]],
        }
    }

    fn written(folder: &Path) -> (PathBuf, Array3<i16>) {
        let path = folder.join("a.b.nii.gz");
        let voxels = Array3::from_shape_fn((3, 4, 5), |(x, y, z)| (x * 100 + y * 10 + z) as i16 - 1000);
        write(&path, &voxels, &lps([3, 4, 5])).unwrap();
        (path, voxels)
    }

    /// The file unzipped, changed and stored plainly, so that a test can spoil one field.
    fn spoiled(folder: &Path, change: impl FnOnce(&mut Vec<u8>)) -> PathBuf {
        let (path, _) = written(folder);
        let mut bytes = Vec::new();
        MultiGzDecoder::new(BufReader::new(File::open(path).unwrap())).read_to_end(&mut bytes).unwrap();
        change(&mut bytes);
        let path = folder.join("spoiled.nii");
        std::fs::write(&path, bytes).unwrap();
        path
    }

    fn sentence(change: impl FnOnce(&mut Vec<u8>)) -> String {
        let folder = tempfile::tempdir().unwrap();
        let path = spoiled(folder.path(), change);
        let text = format!("{:#}", read(&path).unwrap_err());
        assert!(text.contains("spoiled.nii cannot be used: "), "{text}");
        text
    }

    fn set(bytes: &mut [u8], at: usize, value: &[u8]) {
        bytes[at..at + value.len()].copy_from_slice(value);
    }

    #[test]
    fn a_volume_survives_writing_and_reading() {
        let folder = tempfile::tempdir().unwrap();
        let (path, voxels) = written(folder.path());
        let volume = read(&path).unwrap();
        assert_eq!(volume.voxels, voxels.mapv(f32::from));
        assert_eq!(volume.geometry.spacing, [0.5, 0.7, 2.0]);
        assert!((volume.geometry.affine[1][1] + 0.7).abs() < 1e-6);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn slope_and_intercept_are_applied() {
        let folder = tempfile::tempdir().unwrap();
        let path = spoiled(folder.path(), |bytes| {
            set(bytes, 112, &2f32.to_le_bytes());
            set(bytes, 116, &10f32.to_le_bytes());
        });
        assert_eq!(read(&path).unwrap().voxels[[1, 2, 3]], 2.0 * (123.0 - 1000.0) + 10.0);
    }

    #[test]
    fn a_qform_turns_the_axes_when_there_is_no_sform() {
        let folder = tempfile::tempdir().unwrap();
        let path = spoiled(folder.path(), |bytes| {
            set(bytes, 252, &1i16.to_le_bytes());
            set(bytes, 254, &0i16.to_le_bytes());
            // 180° about z: the quaternion (0, 0, 0, 1).
            set(bytes, 264, &1f32.to_le_bytes());
            set(bytes, 268, &5f32.to_le_bytes());
        });
        let affine = read(&path).unwrap().geometry.affine;
        assert_eq!(affine[0], [-0.5, 0.0, 0.0, 5.0]);
        assert_eq!(affine[1][1], -0.7);
        assert_eq!(affine[2][2], 2.0);
    }

    #[test]
    fn without_any_form_x_runs_from_right_to_left() {
        let folder = tempfile::tempdir().unwrap();
        let path = spoiled(folder.path(), |bytes| {
            set(bytes, 252, &[0; 4]);
        });
        let affine = read(&path).unwrap().geometry.affine;
        assert_eq!([affine[0][0], affine[1][1], affine[2][2]], [-0.5, 0.7, 2.0]);
    }

    #[test]
    fn bad_headers_are_told_apart() {
        let four = sentence(|b| {
            set(b, 40, &4u16.to_le_bytes());
            set(b, 48, &7u16.to_le_bytes());
        });
        assert!(four.contains("holds 7 volumes"), "{four}");
        assert!(sentence(|b| set(b, 40, &2u16.to_le_bytes())).contains("one 3 x 4 picture"));
        assert!(sentence(|b| set(b, 70, &128i16.to_le_bytes())).contains("colours (RGB)"));
        assert!(sentence(|b| set(b, 70, &32i16.to_le_bytes())).contains("complex"));
        assert!(sentence(|b| set(b, 70, &77i16.to_le_bytes())).contains("data type code 77"));
        assert!(sentence(|b| set(b, 80, &0f32.to_le_bytes())).contains("pixdim"));
        assert!(sentence(|b| set(b, 84, &f32::NAN.to_le_bytes())).contains("pixdim"));
        assert!(sentence(|b| set(b, 108, &12f32.to_le_bytes())).contains("inside the header"));
        assert!(sentence(|b| set(b, 42, &(-3i16).to_le_bytes())).contains("negative size"));
        assert!(sentence(|b| set(b, 0, &540i32.to_le_bytes())).contains("NIfTI-2"));
        assert!(sentence(|b| set(b, 344, b"nope")).contains("no NIfTI file"));
    }

    #[test]
    fn a_file_that_ends_early_says_how_much_is_there() {
        assert!(sentence(|bytes| bytes.truncate(400)).contains("48 of 120 bytes of voxels"));
        assert!(sentence(|bytes| bytes.truncate(100)).contains("header is incomplete"));
        assert!(sentence(Vec::clear).contains("the file is empty"));
    }

    #[test]
    fn a_header_that_claims_more_than_the_file_holds_allocates_no_more_than_the_file() {
        let text = sentence(|bytes| {
            for axis in 0..3 {
                set(bytes, 42 + 2 * axis, &30000u16.to_le_bytes());
            }
        });
        assert!(text.contains("120 of 54000000000000 bytes"), "{text}");
    }

    #[test]
    fn a_truncated_gzip_stream_is_named_as_one() {
        let folder = tempfile::tempdir().unwrap();
        let (path, _) = written(folder.path());
        let bytes = std::fs::read(&path).unwrap();
        std::fs::File::create(&path).unwrap().write_all(&bytes[..bytes.len() / 2]).unwrap();
        let text = format!("{:#}", read(&path).unwrap_err());
        assert!(text.contains("a.b.nii.gz") && text.contains("ends early"), "{text}");
    }
}
