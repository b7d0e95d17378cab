//! Writing voxels as `.nii.gz`.

use std::io::Read;
use std::path::Path;

use anyhow::{Context, Result};
use ndarray::Array3;
use nifti::volume::element::DataElement;
use nifti::writer::WriterOptions;
use nifti::{NiftiHeader, Unit, XForm};

use super::{HEADER, header_path};
use crate::scan::Geometry;
use crate::scan::voxels::open;

/// Writes voxels of any NIfTI type as `.nii.gz` with `geometry` as its sform; the file appears
/// whole or not at all.
pub fn write<T>(path: &Path, voxels: &Array3<T>, geometry: &Geometry) -> Result<()>
where
    T: DataElement + bytemuck::Pod,
{
    let mut header = NiftiHeader { sform_code: XForm::ScannerAnat as i16, ..NiftiHeader::default() };
    header.qform_code = 0;
    header.xyzt_units = Unit::Mm as u8;
    for axis in 0..3 {
        header.pixdim[axis + 1] = geometry.spacing[axis] as f32;
    }
    [header.srow_x, header.srow_y, header.srow_z] = geometry.affine.map(|row| row.map(|value| value as f32));
    write_with(path, voxels, &header)
}

/// Writes labels for the voxels of `scan` as `.nii.gz`, placed in the patient by the scan's own header if
/// it is a NIfTI-1 file and by `geometry` if not.
pub fn write_labels(path: &Path, labels: &Array3<u8>, scan: &Path, geometry: &Geometry) -> Result<()> {
    let mut bytes = [0; HEADER];
    let own = open(&header_path(scan)).ok().and_then(|mut stream| {
        stream.read_exact(&mut bytes).ok()?;
        NiftiHeader::from_reader(&bytes[..]).ok()
    });
    match own {
        Some(own) => {
            // Of the intensities' own fields nothing holds for labels.
            let header = NiftiHeader { cal_min: 0.0, cal_max: 0.0, intent_code: 0, ..own };
            write_with(path, labels, &header)
        }
        None => write(path, labels, geometry),
    }
}

fn write_with<T>(path: &Path, voxels: &Array3<T>, header: &NiftiHeader) -> Result<()>
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
        WriterOptions::new(&unfinished).reference_header(header).write_nifti(voxels)?;
        std::fs::rename(&unfinished, path)?;
        Ok(())
    };
    attempt().with_context(|| format!("{} could not be written", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scan::nifti;

    #[test]
    fn labels_keep_the_header_of_their_scan() {
        let folder = tempfile::tempdir().unwrap();
        let scan = folder.path().join("scan.nii.gz");
        let header = NiftiHeader {
            qform_code: 2,
            pixdim: [1.0, 0.5, 0.7, 2.0, 0.0, 0.0, 0.0, 0.0],
            descrip: [b"a scan".as_slice(), &[0; 74]].concat(),
            cal_max: 300.0,
            ..NiftiHeader::default()
        };
        write_with(&scan, &Array3::<i16>::zeros((3, 4, 5)), &header).unwrap();
        let geometry = nifti::geometry(&scan).unwrap();
        let path = folder.path().join("labels.nii.gz");
        let labels = Array3::from_shape_fn((3, 4, 5), |(x, y, z)| (x + y + z) as u8);
        write_labels(&path, &labels, &scan, &geometry).unwrap();
        assert_eq!(nifti::read(&path).unwrap().voxels, labels.mapv(f32::from));
        assert_eq!(nifti::geometry(&path).unwrap(), geometry);
        let own = NiftiHeader::from_file(&path).unwrap();
        assert_eq!((own.qform_code, own.sform_code, own.cal_max), (2, 1, 0.0));
        assert!(own.descrip.starts_with(b"a scan"));

        // Where the scan has no such header, the geometry says it.
        write_labels(&path, &labels, folder.path(), &geometry).unwrap();
        assert_eq!(nifti::geometry(&path).unwrap().affine, geometry.affine);
    }
}
