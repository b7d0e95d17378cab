//! MetaImage files (`.mha`, `.mhd` with its voxels beside it), as ITK writes them
//! (<https://itk.org/Wiki/ITK/MetaIO/Documentation>).

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use flate2::bufread::ZlibDecoder;
use nifti::{Endianness, NiftiType};

use super::voxels::{self, Stored, broken};
use super::{Geometry, Volume};

/// Bytes of a header at most: ITK's are a few hundred.
const LONGEST_HEADER: u64 = 1 << 20;

/// Directions are of length 1; written with few digits they may be off by so much.
const LONGER: f64 = 0.02;

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

fn read_unnamed(path: &Path) -> Result<Volume> {
    let mut stream = BufReader::new(voxels::open(path)?);
    let header = Header::read(&mut stream)?;
    let mut warnings = Vec::new();
    let geometry = header.geometry(&mut warnings)?;
    let stored =
        Stored { shape: geometry.shape, kind: header.kind()?, endianness: header.order(), scale: [0.0; 2] };
    stored.bytes()?;
    let stream: Box<dyn BufRead> = match header.field("ElementDataFile").unwrap_or_default() {
        local if local.eq_ignore_ascii_case("LOCAL") => Box::new(stream),
        name => Box::new(voxels::beside(path, name, ".mha")?),
    };
    let skip = header.field("HeaderSize").unwrap_or("0");
    let skip = skip.parse().ok().with_context(|| {
        format!("its voxels begin at '{skip}', which is no number of bytes; save it as one .mha")
    })?;
    let stream: Box<dyn Read> =
        if header.says("CompressedData") { Box::new(ZlibDecoder::new(stream)) } else { stream };
    let voxels = stored.read(stream, skip, &mut warnings)?;
    Ok(Volume { voxels, geometry, warnings })
}

/// The fields of a header by their names.
struct Header(HashMap<String, String>);

impl Header {
    /// Reads the lines up to the one that says where the voxels are, which is the last.
    fn read(stream: &mut impl BufRead) -> Result<Header> {
        let mut stream = stream.take(LONGEST_HEADER);
        let mut fields = HashMap::new();
        loop {
            let mut line = Vec::new();
            let read = stream.read_until(b'\n', &mut line);
            read.map_err(|error| broken(error, "its header is incomplete"))?;
            ensure!(
                !line.is_empty(),
                "it is no MetaImage file, or one without voxels; convert it to .nii.gz"
            );
            let line = String::from_utf8_lossy(&line);
            let Some((name, value)) = line.split_once('=') else {
                ensure!(line.trim().is_empty(), "it is no MetaImage file; convert it to .nii.gz");
                continue;
            };
            let (name, value) = (name.trim().to_owned(), value.trim().to_owned());
            let last = name == "ElementDataFile";
            fields.insert(name, value);
            if last {
                return Ok(Header(fields));
            }
        }
    }

    fn field(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    fn says(&self, name: &str) -> bool {
        self.field(name).is_some_and(|value| value.eq_ignore_ascii_case("true") || value == "1")
    }

    /// So many numbers of the first of some names that is there.
    fn numbers<const N: usize>(&self, names: &[&str]) -> Result<Option<[f64; N]>> {
        let Some((name, text)) = names.iter().find_map(|name| Some((name, self.field(name)?))) else {
            return Ok(None);
        };
        let numbers: Option<Vec<f64>> = text.split_whitespace().map(|part| part.parse().ok()).collect();
        let numbers = numbers.and_then(|numbers| numbers.try_into().ok());
        numbers
            .map(Some)
            .with_context(|| format!("its '{name}' are no {N} numbers: '{text}'; export it again"))
    }

    fn kind(&self) -> Result<NiftiType> {
        let channels = self.field("ElementNumberOfChannels").unwrap_or("1");
        ensure!(channels == "1", "its voxels hold {channels} numbers each; save one of them as a volume");
        let name = self.field("ElementType").context("its header has no 'ElementType'; export it again")?;
        Ok(match name {
            "MET_CHAR" => NiftiType::Int8,
            "MET_UCHAR" => NiftiType::Uint8,
            "MET_SHORT" => NiftiType::Int16,
            "MET_USHORT" => NiftiType::Uint16,
            "MET_INT" => NiftiType::Int32,
            "MET_UINT" => NiftiType::Uint32,
            "MET_LONG_LONG" => NiftiType::Int64,
            "MET_ULONG_LONG" => NiftiType::Uint64,
            "MET_FLOAT" => NiftiType::Float32,
            "MET_DOUBLE" => NiftiType::Float64,
            other => bail!("its voxels are of the type '{other}'; convert it to .nii.gz"),
        })
    }

    fn order(&self) -> Endianness {
        let big = self.says("BinaryDataByteOrderMSB") || self.says("ElementByteOrderMSB");
        if big { Endianness::Big } else { Endianness::Little }
    }

    fn geometry(&self, warnings: &mut Vec<String>) -> Result<Geometry> {
        let axes = self.field("NDims").context("its header has no 'NDims'; export it again")?;
        ensure!(axes == "3", "it has {axes} axes; save one volume, with three, as a file of its own");
        ensure!(
            self.field("BinaryData").is_none() || self.says("BinaryData"),
            "its voxels are written as text; save it as a binary file"
        );
        let shape: [f64; 3] =
            self.numbers(&["DimSize"])?.context("its header has no 'DimSize'; export it again")?;
        ensure!(
            shape.iter().all(|size| *size >= 1.0 && size.fract() == 0.0),
            "its 'DimSize' are no three whole numbers; export it again"
        );
        let spacing: [f64; 3] = self
            .numbers(&["ElementSpacing", "ElementSize"])?
            .context("its header does not say how large a voxel is; export it again")?;
        // Three numbers for each axis: where it points to.
        let directions: [f64; 9] = self
            .numbers(&["TransformMatrix", "Rotation", "Orientation"])?
            .unwrap_or_else(|| {
                warnings.push(
                    "its header does not say how the patient lies (it has no TransformMatrix); the first axis was taken to \
                     run to the left, the second to the back, the third to the head; compare the picture with the patient"
                        .to_owned(),
                );
                [1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0]
            });
        // Found by fuzzing: directions of any length would place voxels kilometres apart.
        for way in directions.chunks_exact(3) {
            let length = way.iter().map(|part| part * part).sum::<f64>().sqrt();
            ensure!(
                (length - 1.0).abs() < LONGER,
                "its TransformMatrix has a direction of length {length:.3}, not 1; export it again"
            );
        }
        let origin: [f64; 3] = self.numbers(&["Offset", "Position", "Origin"])?.unwrap_or([0.0; 3]);
        let affine = std::array::from_fn(|row| {
            // Its world is LPS.
            let sign = if row < 2 { -1.0 } else { 1.0 };
            let step = |axis: usize| sign * directions[3 * axis + row] * spacing[axis];
            [step(0), step(1), step(2), sign * origin[row]]
        });
        Geometry { shape: shape.map(|size| size as usize), spacing, affine }.checked()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scan::voxels::fixture::{check, voxels};
    use flate2::Compression;
    use flate2::write::ZlibEncoder;
    use std::io::Write;

    const HEADER: &str = "ObjectType = Image\nNDims = 3\nBinaryData = True\nBinaryDataByteOrderMSB = False\n\
                          CompressedData = False\nTransformMatrix = 1 0 0 0 -1 0 0 0 1\nOffset = 9 8 7\n\
                          CenterOfRotation = 0 0 0\nAnatomicalOrientation = RPI\nElementSpacing = 0.5 0.7 2\n\
                          DimSize = 3 4 5\nElementType = MET_SHORT\nElementDataFile = LOCAL\n";

    #[test]
    fn voxels_are_read_plain_and_compressed_and_from_a_file_of_their_own() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.mha");
        std::fs::write(&path, [HEADER.as_bytes(), &voxels()].concat()).unwrap();
        check(&read(&path).unwrap());
        assert_eq!(geometry(&path).unwrap(), read(&path).unwrap().geometry);

        let mut zipped = ZlibEncoder::new(Vec::new(), Compression::fast());
        zipped.write_all(&voxels()).unwrap();
        let zipped = zipped.finish().unwrap();
        let header = HEADER.replace("CompressedData = False", "CompressedData = True");
        std::fs::write(&path, [header.as_bytes(), &zipped].concat()).unwrap();
        check(&read(&path).unwrap());

        let head = folder.path().join("b.mhd");
        std::fs::write(&head, HEADER.replace("LOCAL", "b.raw")).unwrap();
        assert!(format!("{:#}", read(&head).unwrap_err()).contains("b.raw"));
        let swapped: Vec<u8> = voxels().chunks(2).flat_map(|pair| [pair[1], pair[0]]).collect();
        std::fs::write(folder.path().join("b.raw"), swapped).unwrap();
        let big = HEADER.replace("LOCAL", "b.raw").replace("MSB = False", "MSB = True");
        std::fs::write(&head, big).unwrap();
        check(&read(&head).unwrap());
    }

    #[test]
    fn a_header_that_says_too_little_is_refused_or_warned_of() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.mha");
        let changed = |from: &str, to: &str| {
            assert!(HEADER.contains(from), "{from}");
            std::fs::write(&path, [HEADER.replace(from, to).as_bytes(), &voxels()].concat()).unwrap();
            read(&path)
        };
        let sentence = |from: &str, to: &str| format!("{:#}", changed(from, to).unwrap_err());
        assert!(sentence("NDims = 3", "NDims = 4").contains("it has 4 axes"));
        assert!(sentence("DimSize = 3 4 5", "DimSize = 3 4").contains("no 3 numbers"));
        assert!(sentence("DimSize = 3 4 5", "DimSize = 3 4 900").contains("120 of 21600 bytes"));
        assert!(sentence("DimSize = 3 4 5", "DimSize = 3 4 9e12").contains("which no scan has"));
        assert!(sentence("MET_SHORT", "MET_STRING").contains("MET_STRING"));
        assert!(sentence("0.5 0.7 2", "0.5 0.7 0").contains("steps of"));
        assert!(
            sentence("1 0 0 0 -1 0 0 0 1", "1 0 0 0 -1 0 0 0 222222221").contains("a direction of length")
        );
        assert!(sentence("BinaryData = True", "BinaryData = False").contains("written as text"));
        assert!(sentence("LOCAL", "LIST").contains("several files"));
        assert!(
            sentence("CompressedData = False", "CompressedData = True").contains("gzip stream is damaged")
        );
        let unnamed = changed("TransformMatrix = 1 0 0 0 -1 0 0 0 1\n", "").unwrap();
        assert!(unnamed.warnings[0].contains("no TransformMatrix"), "{:?}", unnamed.warnings);
    }
}
