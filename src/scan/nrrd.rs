//! NRRD files (`.nrrd`, `.nhdr` with its voxels beside it), as 3D Slicer writes them
//! (<https://teem.sourceforge.net/nrrd/format.html>).

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use flate2::bufread::MultiGzDecoder;
use nifti::{Endianness, NiftiType};

use super::voxels::{self, Stored, broken};
use super::{Geometry, Volume};

/// Bytes of a header at most: Slicer's are a few hundred.
const LONGEST_HEADER: u64 = 1 << 20;

/// Reads a scan in its stored axis order, the first axis contiguous. Errors name the file, what is wrong with it and what to do.
pub fn read(path: &Path) -> Result<Volume> {
    read_unnamed(path).with_context(|| format!("{} cannot be used", path.display()))
}

/// Where a scan's voxels lie.
pub fn geometry(path: &Path) -> Result<Geometry> {
    let read = || -> Result<Geometry> {
        let mut warnings = Vec::new();
        Header::read(&mut BufReader::new(voxels::open(path)?))?.geometry(&mut warnings)
    };
    read().with_context(|| format!("{} cannot be used", path.display()))
}

/// Whether a file begins like one.
pub(super) fn begins(start: &[u8]) -> bool {
    start.starts_with(b"NRRD0")
}

fn read_unnamed(path: &Path) -> Result<Volume> {
    let mut stream = BufReader::new(voxels::open(path)?);
    let header = Header::read(&mut stream)?;
    let mut warnings = Vec::new();
    let geometry = header.geometry(&mut warnings)?;
    let stored =
        Stored { shape: geometry.shape, kind: header.kind()?, endianness: header.order()?, scale: [0.0; 2] };
    let expected = stored.bytes()? as u64;
    let mut stream: Box<dyn BufRead> = match header.field("data file") {
        Some(name) => Box::new(voxels::beside(path, name, ".nrrd")?),
        None => Box::new(stream),
    };
    for _ in 0..header.count("line skip")?.unwrap_or(0) {
        stream.skip_until(b'\n')?;
    }
    let skip = header.number("byte skip")?.unwrap_or(0);
    let encoding = header.field("encoding").unwrap_or_default().to_ascii_lowercase();
    let stream: Box<dyn Read> = match encoding.as_str() {
        "gzip" | "gz" => Box::new(MultiGzDecoder::new(stream)),
        "raw" => stream,
        other => bail!("its voxels are in the encoding '{other}'; save it as raw or gzip"),
    };
    let voxels = if skip == -1 && encoding == "raw" {
        // The voxels are what the file ends with.
        let mut rest = Vec::new();
        let mut stream = stream;
        stream.read_to_end(&mut rest).map_err(|error| broken(error, "its voxels are unreadable"))?;
        let start = rest.len().saturating_sub(expected as usize);
        stored.read(Box::new(std::io::Cursor::new(rest.split_off(start))), 0, &mut warnings)?
    } else {
        let skip = u64::try_from(skip).ok().context("its 'byte skip' is less than 0; save it again")?;
        stored.read(stream, skip, &mut warnings)?
    };
    Ok(Volume { voxels, geometry, warnings })
}

/// The fields of a header by their names in small letters.
struct Header(HashMap<String, String>);

impl Header {
    /// Reads the lines up to the first empty one, behind which the voxels begin.
    fn read(stream: &mut impl BufRead) -> Result<Header> {
        let mut stream = stream.take(LONGEST_HEADER);
        let mut fields = HashMap::new();
        let mut magic = true;
        loop {
            let mut line = Vec::new();
            let read = stream.read_until(b'\n', &mut line);
            read.map_err(|error| broken(error, "its header is incomplete"))?;
            let ended = !line.ends_with(b"\n");
            let line = String::from_utf8_lossy(&line);
            let line = line.trim_end_matches(['\r', '\n']);
            if magic {
                ensure!(begins(line.as_bytes()), "it is no NRRD file; convert it to .nii.gz");
                magic = false;
            } else if line.is_empty() {
                // Of a header whose voxels are elsewhere the end may be that of the file.
                ensure!(
                    !ended || fields.contains_key("data file"),
                    "its header does not end; export it again"
                );
                return Ok(Header(fields));
            } else if !line.starts_with('#')
                && let Some((name, value)) = line.split_once(": ")
                && !name.contains(":=")
            {
                let name = name.trim().to_ascii_lowercase();
                // Two names of one thing.
                let name = if name == "datafile" { "data file".to_owned() } else { name };
                fields.insert(name, value.trim().to_owned());
            }
        }
    }

    fn field(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    fn number(&self, name: &str) -> Result<Option<i64>> {
        let Some(text) = self.field(name).or_else(|| self.field(&name.replace(' ', ""))) else {
            return Ok(None);
        };
        let number = text.parse().ok();
        number.map(Some).with_context(|| format!("its field '{name}' is no whole number: '{text}'"))
    }

    fn count(&self, name: &str) -> Result<Option<u64>> {
        let number = self.number(name)?;
        number.map(|number| u64::try_from(number).context("it asks to skip less than nothing")).transpose()
    }

    fn kind(&self) -> Result<NiftiType> {
        let name = self.field("type").context("its header has no 'type'; export it again")?;
        Ok(match name.to_ascii_lowercase().as_str() {
            "signed char" | "int8" | "int8_t" => NiftiType::Int8,
            "uchar" | "unsigned char" | "uint8" | "uint8_t" => NiftiType::Uint8,
            "short" | "short int" | "signed short" | "signed short int" | "int16" | "int16_t" => {
                NiftiType::Int16
            }
            "ushort" | "unsigned short" | "unsigned short int" | "uint16" | "uint16_t" => NiftiType::Uint16,
            "int" | "signed int" | "int32" | "int32_t" => NiftiType::Int32,
            "uint" | "unsigned int" | "uint32" | "uint32_t" => NiftiType::Uint32,
            "longlong"
            | "long long"
            | "long long int"
            | "signed long long"
            | "signed long long int"
            | "int64"
            | "int64_t" => NiftiType::Int64,
            "ulonglong" | "unsigned long long" | "unsigned long long int" | "uint64" | "uint64_t" => {
                NiftiType::Uint64
            }
            "float" => NiftiType::Float32,
            "double" => NiftiType::Float64,
            other => bail!("its voxels are of the type '{other}', which is no number; convert it to .nii.gz"),
        })
    }

    fn order(&self) -> Result<Endianness> {
        match self.field("endian").map(str::to_ascii_lowercase).as_deref() {
            Some("big") => Ok(Endianness::Big),
            Some("little") => Ok(Endianness::Little),
            None if self.kind()?.size_of() == 1 => Ok(Endianness::Little),
            _ => bail!("its header does not say in which order the bytes of a voxel are; export it again"),
        }
    }

    fn geometry(&self, warnings: &mut Vec<String>) -> Result<Geometry> {
        let dimension =
            self.number("dimension")?.context("its header has no 'dimension'; export it again")?;
        ensure!(
            dimension == 3,
            "it has {dimension} axes; save one volume of numbers, with three, as a file of its own"
        );
        let sizes = self.field("sizes").context("its header has no 'sizes'; export it again")?;
        let sizes: Vec<usize> = sizes.split_whitespace().filter_map(|size| size.parse().ok()).collect();
        let shape: [usize; 3] =
            sizes.try_into().ok().context("its 'sizes' are no three whole numbers; export it again")?;
        let [right, back] = self.world(warnings)?;
        // Into RAS.
        let turned = |[x, y, z]: [f64; 3]| [right * x, back * y, z];
        let directions = self.directions(warnings)?.map(turned);
        let origin = match self.field("space origin") {
            Some(text) => turned(vector(text).context("its 'space origin' is no place; export it again")?),
            None => [0.0; 3],
        };
        let affine = std::array::from_fn(|row| {
            [directions[0][row], directions[1][row], directions[2][row], origin[row]]
        });
        Geometry::of(shape, affine).checked()
    }

    /// What turns its first two axes of the world to the right and to the front: 1 or -1.
    fn world(&self, warnings: &mut Vec<String>) -> Result<[f64; 2]> {
        let space = self.field("space").map(str::to_ascii_lowercase);
        Ok(match space.as_deref() {
            Some("left-posterior-superior" | "lps" | "left-posterior-superior-time" | "scanner-xyz") => {
                [-1.0, -1.0]
            }
            Some("right-anterior-superior" | "ras") => [1.0, 1.0],
            Some("left-anterior-superior" | "las") => [-1.0, 1.0],
            Some(other) => {
                bail!(
                    "its axes are in the space '{other}', which does not say how the patient lies; save it in LPS or RAS"
                )
            }
            None => {
                warnings.push(
                    "its header does not say how the patient lies (it names no space); the first axis was taken to run to \
                     the left, the second to the back, the third to the head; compare the picture with the patient"
                        .to_owned(),
                );
                [-1.0, -1.0]
            }
        })
    }

    /// A step along each axis in the file's world.
    fn directions(&self, warnings: &mut Vec<String>) -> Result<[[f64; 3]; 3]> {
        if let Some(text) = self.field("space directions") {
            let found: Option<Vec<[f64; 3]>> =
                text.split_inclusive(')').filter(|part| !part.trim().is_empty()).map(vector).collect();
            return found
                .and_then(|found| found.try_into().ok())
                .context("its 'space directions' are no three directions; export it again");
        }
        let spacings: Option<Vec<f64>> = self
            .field("spacings")
            .and_then(|text| text.split_whitespace().map(|step| step.parse().ok()).collect());
        let steps: [f64; 3] = match spacings.map(TryInto::try_into) {
            Some(Ok(steps)) => steps,
            _ => bail!("its header does not say how large a voxel is; export it again"),
        };
        if self.field("space").is_some() {
            warnings.push(
                "its header names no directions of its axes; they were taken for the space's".to_owned(),
            );
        }
        Ok(std::array::from_fn(|axis| std::array::from_fn(|row| if row == axis { steps[axis] } else { 0.0 })))
    }
}

/// `(1,0,0)` as numbers.
fn vector(text: &str) -> Option<[f64; 3]> {
    let inside = text.trim().strip_prefix('(')?.strip_suffix(')')?;
    let parts: Option<Vec<f64>> = inside.split(',').map(|part| part.trim().parse().ok()).collect();
    parts?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scan::voxels::fixture::{check, voxels};
    use flate2::Compression;
    use flate2::write::GzEncoder;
    use std::io::Write;

    const HEADER: &str = "NRRD0004\n# Slicer\ntype: short\ndimension: 3\nspace: left-posterior-superior\nsizes: 3 4 5\n\
                          space directions: (0.5,0,0) (0,-0.7,0) (0,0,2)\nkinds: domain domain domain\nendian: little\n\
                          encoding: ENCODING\nspace origin: (9,8,7)\nnote:=none: at all\n";

    #[test]
    fn voxels_are_read_raw_and_zipped_and_from_a_file_of_their_own() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.nrrd");
        let header = |encoding: &str| HEADER.replace("ENCODING", encoding);
        std::fs::write(&path, [format!("{}\n", header("raw")).as_bytes(), &voxels()].concat()).unwrap();
        check(&read(&path).unwrap());
        assert_eq!(geometry(&path).unwrap(), read(&path).unwrap().geometry);

        let mut zipped = GzEncoder::new(Vec::new(), Compression::fast());
        zipped.write_all(&voxels()).unwrap();
        let zipped = zipped.finish().unwrap();
        std::fs::write(&path, [format!("{}\n", header("gzip")).as_bytes(), &zipped].concat()).unwrap();
        check(&read(&path).unwrap());

        // The header ends with the file; the voxels stand behind something else.
        let head = folder.path().join("b.nhdr");
        std::fs::write(&head, header("raw") + "data file: b.raw\nbyte skip: -1\n").unwrap();
        assert!(format!("{:#}", read(&head).unwrap_err()).contains("b.raw"));
        std::fs::write(folder.path().join("b.raw"), [b"something".as_slice(), &voxels()].concat()).unwrap();
        check(&read(&head).unwrap());
    }

    #[test]
    fn a_header_that_says_too_little_is_refused_or_warned_of() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.nrrd");
        let changed = |from: &str, to: &str| {
            let header = HEADER.replace("ENCODING", "raw");
            assert!(header.contains(from), "{from}");
            std::fs::write(&path, [format!("{}\n", header.replace(from, to)).as_bytes(), &voxels()].concat())
                .unwrap();
            read(&path)
        };
        let sentence = |from: &str, to: &str| format!("{:#}", changed(from, to).unwrap_err());
        assert!(sentence("dimension: 3", "dimension: 4").contains("it has 4 axes"));
        assert!(sentence("sizes: 3 4 5", "sizes: 3 4").contains("no three whole numbers"));
        assert!(sentence("sizes: 3 4 5", "sizes: 3 4 900").contains("120 of 21600 bytes"));
        assert!(sentence("sizes: 3 4 5", "sizes: 3 4 99999999999").contains("which no scan has"));
        assert!(sentence("type: short", "type: block").contains("type 'block'"));
        assert!(sentence("encoding: raw", "encoding: bzip2").contains("encoding 'bzip2'"));
        assert!(sentence("endian: little\n", "").contains("order the bytes"));
        assert!(sentence("(0,0,2)", "(0,0,0)").contains("steps of"));
        assert!(sentence("(0,0,2)", "none").contains("space directions"));
        assert!(sentence("left-posterior-superior", "3D-right-handed").contains("3d-right-handed"));
        let unnamed = changed("space: left-posterior-superior\n", "").unwrap();
        assert!(unnamed.warnings[0].contains("names no space"), "{:?}", unnamed.warnings);
        let ras = changed("left-posterior-superior", "RAS").unwrap();
        assert_eq!(ras.geometry.world([0.0; 3]), [9.0, 8.0, 7.0]);
    }
}
