//! What the header of a NIfTI-1 or NIfTI-2 file says of its voxels.

use std::io::Read;

use anyhow::{Result, bail, ensure};
use nifti::{Endianness, NiftiHeader, NiftiType, Unit};

use super::{HEADER, HEADER_2};
use crate::scan::Geometry;
use crate::scan::geometry::lengths;
use crate::scan::voxels::broken;

/// Spacings of a header that differ by more than this share contradict each other.
const TOLERANCE: f64 = 0.01;

/// Voxels in mm that a scanner can make, with room for what programs make of them.
const POSSIBLE: std::ops::Range<f64> = 0.05..25.0;

/// Directions of the sform and the qform that differ by more degrees, or places by more mm, contradict each other.
const APART: f64 = 2.0;
const AWAY: f64 = 5.0;

/// Voxel → world (RAS, mm), three rows.
type Affine = [[f64; 4]; 3];

/// Says where the sform, which is taken, and the qform place voxels elsewhere.
fn contradiction(sform: &Affine, qform: &Affine, shape: [usize; 3], warnings: &mut Vec<String>) {
    let (a, b) = (lengths(sform), lengths(qform));
    let angle = |axis: usize| {
        let dot: f64 = (0..3).map(|row| sform[row][axis] * qform[row][axis]).sum();
        (dot / (a[axis] * b[axis])).clamp(-1.0, 1.0).acos().to_degrees()
    };
    let angle = (0..3).map(angle).fold(0.0, f64::max);
    let middle = |affine: &Affine| -> [f64; 3] {
        let at = |row: &[f64; 4]| {
            (0..3).map(|axis| row[axis] * (shape[axis] as f64 - 1.0) / 2.0).sum::<f64>() + row[3]
        };
        std::array::from_fn(|row| at(&affine[row]))
    };
    let (s, q) = (middle(sform), middle(qform));
    let away = (0..3).map(|axis| (s[axis] - q[axis]).powi(2)).sum::<f64>().sqrt();
    if angle > APART {
        warnings.push(format!(
            "its sform and its qform contradict each other: their axes differ by {angle:.0} degrees; the sform was taken, \
             so compare the picture with the patient"
        ));
    } else if away > AWAY {
        warnings
            .push(format!("its sform and its qform place the scan {away:.0} mm apart; the sform was taken"));
    }
}

/// A header, read and checked.
pub(crate) struct Header {
    /// Where the voxels lie.
    pub geometry: Geometry,
    /// How a voxel is stored.
    pub kind: NiftiType,
    /// Byte order of header and voxels.
    pub endianness: Endianness,
    /// `scl_slope` and `scl_inter`; a slope of 0 means none.
    pub scale: [f32; 2],
    /// Where the voxels begin, in bytes from the beginning of their file.
    pub offset: u64,
    /// Bytes of the header itself.
    pub size: usize,
    /// Whether the voxels are in a file of their own (`.img`).
    pub pair: bool,
    /// What was put right, a sentence each.
    pub warnings: Vec<String>,
}

/// The fields that both versions of the format have, in the wider type of the two.
struct Fields {
    dim: [i64; 8],
    datatype: i16,
    pixdim: [f64; 8],
    offset: f64,
    scale: [f64; 2],
    qform_code: i32,
    sform_code: i32,
    quatern: [f64; 3],
    qoffset: [f64; 3],
    srow: [[f64; 4]; 3],
    units: u8,
    endianness: Endianness,
    size: usize,
    pair: bool,
}

impl Header {
    /// Reads the header at the start of a stream and leaves the stream behind it.
    pub fn read(stream: &mut dyn Read) -> Result<Header> {
        let mut bytes = [0; HEADER_2];
        stream.read_exact(&mut bytes[..HEADER]).map_err(|error| broken(error, "its header is incomplete"))?;
        let start = [bytes[0], bytes[1], bytes[2], bytes[3]];
        let size = HEADER_2 as i32;
        let fields = if i32::from_le_bytes(start) == size || i32::from_be_bytes(start) == size {
            stream
                .read_exact(&mut bytes[HEADER..])
                .map_err(|error| broken(error, "its header is incomplete"))?;
            Fields::second(&bytes)?
        } else {
            Fields::first(&bytes[..HEADER])?
        };
        fields.check()
    }
}

impl Fields {
    fn first(bytes: &[u8]) -> Result<Fields> {
        let (size, mark) = (&bytes[..4], &bytes[344..348]);
        if mark == [0; 4] && [348i32.to_le_bytes(), 348i32.to_be_bytes()].iter().any(|bytes| bytes == size) {
            bail!("it is an Analyze file, which does not say where left is; convert it to .nii.gz first");
        }
        let header = NiftiHeader::from_reader(bytes)
            .map_err(|error| anyhow::anyhow!("it is no NIfTI file ({error}); convert it to .nii.gz first"))?;
        // The format's dimensions are signed, the reader's are not.
        let dim = header.dim.map(|size| i64::from(size as i16));
        Ok(Fields {
            dim,
            datatype: header.datatype,
            pixdim: header.pixdim.map(shortest),
            offset: f64::from(header.vox_offset),
            scale: [header.scl_slope, header.scl_inter].map(f64::from),
            qform_code: i32::from(header.qform_code),
            sform_code: i32::from(header.sform_code),
            quatern: [header.quatern_b, header.quatern_c, header.quatern_d].map(f64::from),
            qoffset: [header.quatern_x, header.quatern_y, header.quatern_z].map(f64::from),
            srow: [header.srow_x, header.srow_y, header.srow_z].map(|row| row.map(f64::from)),
            units: header.xyzt_units,
            endianness: header.endianness,
            size: HEADER,
            pair: &header.magic == nifti::header::MAGIC_CODE_NI1,
        })
    }

    fn second(bytes: &[u8; HEADER_2]) -> Result<Fields> {
        let little = bytes[0] == HEADER_2.to_le_bytes()[0];
        let pair = match &bytes[4..8] {
            b"n+2\0" => false,
            b"ni2\0" => true,
            _ => bail!("it is no NIfTI file (its mark is damaged); convert it to .nii.gz first"),
        };
        let at = Numbers { bytes, little };
        Ok(Fields {
            dim: std::array::from_fn(|i| i64::from_le_bytes(at.eight(16 + 8 * i))),
            datatype: i16::from_le_bytes([0, 1].map(|i| bytes[12 + if little { i } else { 1 - i }])),
            pixdim: std::array::from_fn(|i| at.float(104 + 8 * i)),
            offset: i64::from_le_bytes(at.eight(168)) as f64,
            scale: [at.float(176), at.float(184)],
            qform_code: at.integer(344),
            sform_code: at.integer(348),
            quatern: std::array::from_fn(|i| at.float(352 + 8 * i)),
            qoffset: std::array::from_fn(|i| at.float(376 + 8 * i)),
            srow: std::array::from_fn(|row| std::array::from_fn(|i| at.float(400 + 32 * row + 8 * i))),
            units: at.integer(500) as u8,
            endianness: if little { Endianness::Little } else { Endianness::Big },
            size: HEADER_2,
            pair,
        })
    }

    fn check(&self) -> Result<Header> {
        let mut warnings = Vec::new();
        let shape = self.shape()?;
        let kind = self.kind()?;
        let unit = self.unit(&mut warnings);
        let sform = self.sform(unit, &mut warnings)?;
        let spacing = self.spacing(unit, sform.as_ref(), &mut warnings)?;
        let affine = self.affine(shape, spacing, unit, sform, &mut warnings);
        let geometry = Geometry { shape, spacing, affine };
        let first = if self.pair { 0.0 } else { self.size as f64 };
        ensure!(
            self.offset.is_finite() && (self.offset == 0.0 || self.offset >= first),
            "its voxels are said to start at byte {}, inside the header; export the scan again",
            self.offset
        );
        let finite = self.scale.iter().all(|value| value.is_finite());
        Ok(Header {
            geometry,
            kind,
            endianness: self.endianness,
            scale: if finite { self.scale.map(|value| value as f32) } else { [0.0; 2] },
            offset: self.offset as u64,
            size: self.size,
            pair: self.pair,
            warnings,
        })
    }

    fn shape(&self) -> Result<[usize; 3]> {
        let rank = self.dim[0];
        ensure!(
            (1..=7).contains(&rank),
            "its header names {rank} dimensions; a CT has 3, so the file is damaged or no NIfTI"
        );
        let sizes = &self.dim[1..=rank as usize];
        ensure!(
            sizes.iter().all(|&size| size >= 1),
            "its header names a dimension of no or negative size ({sizes:?}); export the scan again"
        );
        ensure!(
            sizes.iter().all(|&size| size <= i64::from(i16::MAX)),
            "its header names a dimension of more than {} voxels ({sizes:?}); no CT is that large",
            i16::MAX
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
            sizes[3..].iter().product::<i64>()
        );
        Ok([sizes[0] as usize, sizes[1] as usize, sizes[2] as usize])
    }

    fn kind(&self) -> Result<NiftiType> {
        use NiftiType::*;
        let header = NiftiHeader { datatype: self.datatype, ..NiftiHeader::default() };
        let kind = header.data_type().map_err(|_| {
            anyhow::anyhow!(
                "its data type code {} is not in the NIfTI standard; export it again",
                self.datatype
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

    /// Millimetres that the header's lengths are multiplied by.
    ///
    /// Many programs take every number for millimetres and some of those write another unit all the same: where
    /// voxels of the unit's size cannot be, but such of millimetres can, the unit is taken for the mistake.
    fn unit(&self, warnings: &mut Vec<String>) -> f64 {
        let header = NiftiHeader { xyzt_units: self.units, ..NiftiHeader::default() };
        let (scale, name) = match header.xyzt_to_space() {
            Ok(Unit::Meter) => (1e3, "metres"),
            Ok(Unit::Micron) => (1e-3, "micrometres"),
            _ => return 1.0,
        };
        let lengths = if self.sform_code > 0 { lengths(&self.srow) } else { [0.0; 3] };
        let stored = if lengths.iter().all(|&length| length > 0.0) {
            lengths
        } else {
            std::array::from_fn(|axis| self.pixdim[axis + 1].abs())
        };
        let possible = |scale: f64| stored.iter().all(|length| POSSIBLE.contains(&(length * scale)));
        if !possible(scale) && possible(1.0) {
            warnings.push(format!(
                "its header says that lengths are {name}, but voxels of {stored:?} {name} cannot be; they were taken for \
                 millimetres"
            ));
            return 1.0;
        }
        scale
    }

    /// Spacing in mm.
    ///
    /// `pixdim` says it, unless it contradicts an sform, which places voxels in the patient.
    fn spacing(&self, unit: f64, sform: Option<&Affine>, warnings: &mut Vec<String>) -> Result<[f64; 3]> {
        let stored = &self.pixdim[1..4];
        let usable = stored.iter().all(|value| value.is_finite() && *value != 0.0);
        let pixdim: [f64; 3] = std::array::from_fn(|axis| stored[axis].abs() * unit);
        if let Some(sform) = sform {
            let lengths = lengths(sform);
            let agree = |axis: usize| (pixdim[axis] - lengths[axis]).abs() <= TOLERANCE * lengths[axis];
            if !(usable && (0..3).all(agree)) {
                let lengths = lengths.map(|length| (length * 1e4).round() / 1e4);
                warnings.push(format!(
                    "its voxel spacing (pixdim) is {stored:?}, but its sform places voxels {lengths:?} mm apart, which \
                     was taken"
                ));
                return Ok(lengths);
            }
        }
        ensure!(
            usable,
            "its voxel spacing (pixdim) is {stored:?}; every value must be a positive number of mm"
        );
        Ok(pixdim)
    }

    /// The sform in mm, if it places voxels at all.
    fn sform(&self, unit: f64, warnings: &mut Vec<String>) -> Result<Option<Affine>> {
        if self.sform_code <= 0 {
            return Ok(None);
        }
        let sform = self.srow.map(|row| row.map(|value| value * unit));
        let nothing =
            sform.iter().flatten().any(|value| !value.is_finite()) || lengths(&sform).contains(&0.0);
        if nothing && self.qform_code > 0 {
            warnings.push(
                "its sform has an axis without a direction; its qform was taken in its place".to_owned(),
            );
            return Ok(None);
        }
        ensure!(
            !nothing,
            "the header's orientation has an axis without a direction; repair its sform or qform (nibabel and \
             ITK-SNAP can)"
        );
        Ok(Some(sform))
    }

    /// Voxel → world (RAS, mm) with nibabel's precedence: sform, then qform, then the spacing alone.
    fn affine(
        &self,
        shape: [usize; 3],
        spacing: [f64; 3],
        unit: f64,
        sform: Option<Affine>,
        warnings: &mut Vec<String>,
    ) -> Affine {
        let qform = (self.qform_code > 0).then(|| self.qform(spacing, unit));
        if let (Some(sform), Some(qform)) = (&sform, &qform) {
            contradiction(sform, qform, shape, warnings);
        }
        if let Some(affine) = sform.or(qform) {
            return affine;
        }
        warnings.push(
            "its header does not say how the patient lies (qform_code and sform_code are 0); the first axis was taken to \
             run to the left, the second to the front, the third to the head; compare the picture with the patient"
                .to_owned(),
        );
        // Without either, nibabel assumes x to run right→left and the origin in the centre.
        let scale = [-spacing[0], spacing[1], spacing[2]];
        std::array::from_fn(|row| {
            let mut line = [0.0; 4];
            line[row] = scale[row];
            line[3] = -scale[row] * (shape[row] as f64 - 1.0) / 2.0;
            line
        })
    }

    fn qform(&self, spacing: [f64; 3], unit: f64) -> Affine {
        let [b, c, d] = self.quatern;
        let rest = 1.0 - (b * b + c * c + d * d);
        let (a, [b, c, d]) = if rest > 1e-7 {
            (rest.sqrt(), [b, c, d])
        } else {
            // Rounding took the vector part beyond length 1: a turn by 180°.
            let length = (b * b + c * c + d * d).sqrt();
            (0.0, [b / length, c / length, d / length])
        };
        let handedness = if self.pixdim[0] < 0.0 { -1.0 } else { 1.0 };
        let scale = [spacing[0], spacing[1], spacing[2] * handedness];
        let rotation = [
            [a * a + b * b - c * c - d * d, 2.0 * (b * c - a * d), 2.0 * (b * d + a * c)],
            [2.0 * (b * c + a * d), a * a + c * c - b * b - d * d, 2.0 * (c * d - a * b)],
            [2.0 * (b * d - a * c), 2.0 * (c * d + a * b), a * a + d * d - b * b - c * c],
        ];
        std::array::from_fn(|row| {
            let turned = rotation[row];
            [turned[0] * scale[0], turned[1] * scale[1], turned[2] * scale[2], self.qoffset[row] * unit]
        })
    }
}

/// Numbers at byte offsets of a NIfTI-2 header.
struct Numbers<'a> {
    bytes: &'a [u8; HEADER_2],
    little: bool,
}

impl Numbers<'_> {
    /// Eight bytes, the least significant first.
    fn eight(&self, at: usize) -> [u8; 8] {
        std::array::from_fn(|i| self.bytes[at + if self.little { i } else { 7 - i }])
    }

    fn float(&self, at: usize) -> f64 {
        f64::from_le_bytes(self.eight(at))
    }

    fn integer(&self, at: usize) -> i32 {
        i32::from_le_bytes(std::array::from_fn(|i| self.bytes[at + if self.little { i } else { 3 - i }]))
    }
}

/// The decimal number somebody meant by an f32: 0.7 and not 0.699999988.
fn shortest(value: f32) -> f64 {
    value.to_string().parse().unwrap_or(f64::from(value))
}
