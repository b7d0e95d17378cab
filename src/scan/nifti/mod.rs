//! NIfTI files, versions 1 and 2, in one file (`.nii`, `.nii.gz`) or two (`.hdr` and `.img`): read into a
//! [`Volume`] and written from one.

mod header;
mod write;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use self::header::Header;
pub use self::write::{write, write_labels};
use super::voxels::{Stored, open};
use super::{Geometry, Volume};

/// Bytes of a header of version 1 and of version 2.
const HEADER: usize = 348;
const HEADER_2: usize = 540;

/// Reads a scan in its stored axis order, which is also that of the memory (the first axis is contiguous),
/// `scl_slope` and `scl_inter` applied.
///
/// Errors name the file, what is wrong with it and what to do. A header that claims more voxels
/// than the file holds costs no more memory than the file's own bytes.
pub fn read(path: &Path) -> Result<Volume> {
    read_unnamed(path).with_context(|| format!("{} cannot be used", path.display()))
}

/// Reads where a scan's voxels lie and leaves the voxels alone.
pub fn geometry(path: &Path) -> Result<Geometry> {
    let read = || -> Result<Geometry> { Ok(Header::read(open(&header_path(path))?.as_mut())?.geometry) };
    read().with_context(|| format!("{} cannot be used", path.display()))
}

fn read_unnamed(path: &Path) -> Result<Volume> {
    let path = header_path(path);
    let mut stream = open(&path)?;
    let header = Header::read(stream.as_mut())?;
    let mut skip = header.offset.saturating_sub(header.size as u64);
    if header.pair {
        stream = open(&voxel_path(&path)?)?;
        skip = header.offset;
    }
    let Header { geometry, kind, endianness, scale, mut warnings, .. } = header;
    let stored = Stored { shape: geometry.shape, kind, endianness, scale };
    let voxels = stored.read(stream, skip, &mut warnings)?;
    Ok(Volume { voxels, geometry, warnings })
}

/// The file with the header: of a pair the `.hdr`, whichever of the two was named.
fn header_path(path: &Path) -> PathBuf {
    let text = path.to_string_lossy();
    for (voxels, header) in [(".img", ".hdr"), (".img.gz", ".hdr.gz")] {
        if let Some(stem) = text.strip_suffix(voxels) {
            return PathBuf::from(format!("{stem}{header}"));
        }
    }
    path.to_owned()
}

/// The voxels that belong to a header of their own.
fn voxel_path(header: &Path) -> Result<PathBuf> {
    let text = header.to_string_lossy();
    let stem = text.strip_suffix(".gz").unwrap_or(&text);
    let stem = stem.strip_suffix(".hdr").unwrap_or(stem);
    let places = [format!("{stem}.img"), format!("{stem}.img.gz")].map(PathBuf::from);
    places.iter().find(|path| path.is_file()).cloned().with_context(|| {
        format!("it is a header whose voxels should be in {}; put that file beside it", places[0].display())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;
    use std::io::{BufReader, Read, Write};

    use flate2::bufread::MultiGzDecoder;
    use ndarray::Array3;

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
        for (at, value) in [(80, 0f32), (84, f32::NAN)] {
            let text = sentence(|b| {
                set(b, 254, &0i16.to_le_bytes());
                set(b, at, &value.to_le_bytes());
            });
            assert!(text.contains("pixdim"), "{text}");
        }
        assert!(sentence(|b| set(b, 108, &12f32.to_le_bytes())).contains("inside the header"));
        assert!(sentence(|b| set(b, 42, &(-3i16).to_le_bytes())).contains("negative size"));
        assert!(sentence(|b| set(b, 0, &540i32.to_le_bytes())).contains("header is incomplete"));
        assert!(sentence(|b| set(b, 344, &[0; 4])).contains("Analyze"));
        assert!(sentence(|b| set(b, 344, b"ni1\0")).contains("spoiled.nii.img"));
        assert!(sentence(|b| set(b, 344, b"nope")).contains("no NIfTI file"));
    }

    #[test]
    fn an_sform_that_contradicts_the_spacing_is_taken_with_a_warning() {
        let folder = tempfile::tempdir().unwrap();
        for value in [0f32, 1.5, f32::NAN] {
            let path = spoiled(folder.path(), |bytes| set(bytes, 80, &value.to_le_bytes()));
            let volume = read(&path).unwrap();
            assert_eq!(volume.geometry.spacing, [0.5, 0.7, 2.0]);
            assert!(volume.warnings[0].contains("its sform places voxels"), "{:?}", volume.warnings);
        }
    }

    /// Voxels 0, 1, … 119 as `bytes` gives them.
    fn typed(code: i16, bytes: impl Fn(u8) -> Vec<u8>) -> impl FnOnce(&mut Vec<u8>) {
        let stored: Vec<u8> = (0..120).flat_map(bytes).collect();
        move |file: &mut Vec<u8>| {
            set(file, 70, &code.to_le_bytes());
            set(file, 72, &(8 * stored.len() as i16 / 120).to_le_bytes());
            file.truncate(352);
            file.extend(stored);
        }
    }

    #[test]
    fn every_data_type_of_real_numbers_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let check = |path: &Path| {
            let voxels = read(path).unwrap().voxels;
            for ((x, y, z), &value) in voxels.indexed_iter() {
                assert_eq!(value, (x + 3 * y + 12 * z) as f32);
            }
        };
        check(&spoiled(folder.path(), typed(2, |v| vec![v])));
        check(&spoiled(folder.path(), typed(256, |v| vec![v])));
        check(&spoiled(folder.path(), typed(4, |v| i16::from(v).to_le_bytes().to_vec())));
        check(&spoiled(folder.path(), typed(512, |v| u16::from(v).to_le_bytes().to_vec())));
        check(&spoiled(folder.path(), typed(8, |v| i32::from(v).to_le_bytes().to_vec())));
        check(&spoiled(folder.path(), typed(768, |v| u32::from(v).to_le_bytes().to_vec())));
        check(&spoiled(folder.path(), typed(1024, |v| i64::from(v).to_le_bytes().to_vec())));
        check(&spoiled(folder.path(), typed(1280, |v| u64::from(v).to_le_bytes().to_vec())));
        check(&spoiled(folder.path(), typed(16, |v| f32::from(v).to_le_bytes().to_vec())));
        check(&spoiled(folder.path(), typed(64, |v| f64::from(v).to_le_bytes().to_vec())));
    }

    /// The file of [`written`] as version 2, its numbers in the byte order that `order` makes of the
    /// least significant first.
    fn second_version(folder: &Path, mark: &[u8], order: impl Fn(&[u8]) -> Vec<u8>) -> (Vec<u8>, Vec<u8>) {
        let first = std::fs::read(spoiled(folder, |_| {})).unwrap();
        let mut header = vec![0; HEADER_2 + 4];
        set(&mut header, 0, &order(&540i32.to_le_bytes()));
        set(&mut header, 4, mark);
        set(&mut header, 12, &order(&4i16.to_le_bytes()));
        for (at, size) in [3, 3, 4, 5, 1, 1, 1, 1i64].iter().enumerate() {
            set(&mut header, 16 + 8 * at, &order(&size.to_le_bytes()));
        }
        for (at, size) in [1.0, 0.5, 0.7, 2.0f64].iter().enumerate() {
            set(&mut header, 104 + 8 * at, &order(&size.to_le_bytes()));
        }
        set(&mut header, 168, &order(&(if mark[1] == b'+' { 544i64 } else { 0 }).to_le_bytes()));
        set(&mut header, 176, &order(&2f64.to_le_bytes()));
        set(&mut header, 348, &order(&1i32.to_le_bytes()));
        for (row, values) in lps([3, 4, 5]).affine.iter().enumerate() {
            for (column, value) in values.iter().enumerate() {
                set(&mut header, 400 + 32 * row + 8 * column, &order(&value.to_le_bytes()));
            }
        }
        let voxels = first[352..].chunks_exact(2).flat_map(order).collect();
        (header, voxels)
    }

    #[test]
    fn version_2_is_read_in_either_byte_order_and_as_a_pair_of_files() {
        let folder = tempfile::tempdir().unwrap();
        let (_, expected) = written(folder.path());
        let check = |path: &Path| {
            let volume = read(path).unwrap();
            assert_eq!(volume.voxels, expected.mapv(|value| 2.0 * f32::from(value)));
            assert_eq!(volume.geometry, lps([3, 4, 5]));
            assert_eq!(geometry(path).unwrap(), lps([3, 4, 5]));
        };
        let path = folder.path().join("two.nii");
        let turned = |bytes: &[u8]| bytes.iter().rev().copied().collect::<Vec<u8>>();
        for (header, voxels) in [
            second_version(folder.path(), b"n+2\0", <[u8]>::to_vec),
            second_version(folder.path(), b"n+2\0", turned),
        ] {
            std::fs::write(&path, [header, voxels].concat()).unwrap();
            check(&path);
        }
        let (header, voxels) = second_version(folder.path(), b"ni2\0", <[u8]>::to_vec);
        let [head, body] = ["pair.hdr", "pair.img"].map(|name| folder.path().join(name));
        std::fs::write(&head, header).unwrap();
        assert!(format!("{:#}", read(&head).unwrap_err()).contains("pair.img"));
        std::fs::write(&body, voxels).unwrap();
        check(&head);
        check(&body);
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
