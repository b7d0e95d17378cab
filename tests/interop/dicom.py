"""DICOM series: the geometry and the spine that SimpleITK reads, in every encoding, and pydicom's own test files."""

import shutil
import sys
import tempfile
from pathlib import Path

import nibabel as nib
import numpy as np
import pydicom
import pydicom.data
import SimpleITK as sitk
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import (ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian, JPEGLSLossless,
                         RLELossless, generate_uid)

from program import PHANTOM, points, predict

failures = 0


def report(what, problems):
    global failures
    failures += bool(problems)
    print(("FAILED " if problems else "ok     ") + what, *problems, sep="\n       " if problems else " ")


def plain(folder):
    """The phantom as a series of uncompressed slices."""
    image = nib.as_closest_canonical(nib.load(PHANTOM))
    image = image.as_reoriented(np.array([[0, -1], [1, -1], [2, 1]]))
    voxels = np.clip(np.asarray(image.dataobj), -1024, 3000).astype(np.int16)
    spacing = image.header.get_zooms()
    x, y, z = image.affine[:3, 3]
    series, study = generate_uid(), generate_uid()
    folder.mkdir()
    for index in range(voxels.shape[2]):
        meta = FileMetaDataset()
        meta.MediaStorageSOPClassUID = pydicom.uid.CTImageStorage
        meta.MediaStorageSOPInstanceUID = generate_uid()
        meta.TransferSyntaxUID = ExplicitVRLittleEndian
        slice = FileDataset(None, {}, file_meta=meta, preamble=b"\0" * 128)
        slice.SOPClassUID, slice.SOPInstanceUID = meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID
        slice.SeriesInstanceUID, slice.StudyInstanceUID = series, study
        slice.Modality, slice.PatientName, slice.PatientID = "CT", "Phantom", "1"
        slice.SeriesNumber, slice.InstanceNumber = 1, index + 1
        slice.ImagePositionPatient = [-x, -y, z + index * spacing[2]]
        slice.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
        slice.PixelSpacing = [spacing[1], spacing[0]]
        slice.SliceThickness = spacing[2]
        slice.Rows, slice.Columns = voxels.shape[1], voxels.shape[0]
        slice.SamplesPerPixel, slice.PhotometricInterpretation = 1, "MONOCHROME2"
        slice.BitsAllocated, slice.BitsStored, slice.HighBit, slice.PixelRepresentation = 16, 16, 15, 1
        slice.RescaleSlope, slice.RescaleIntercept = 1, 0
        slice.PixelData = voxels[:, :, index].T.tobytes()
        slice.save_as(folder / f"{generate_uid()}.dcm", enforce_file_format=True)


def bare(source, folder):
    """The series without preamble and file meta, implicit little endian."""
    folder.mkdir()
    for path in source.iterdir():
        slice = pydicom.dcmread(path)
        pydicom.dcmwrite(folder / path.name, pydicom.Dataset(slice), implicit_vr=True, little_endian=True,
                         enforce_file_format=False)


def recoded(source, folder, syntax):
    """The series in another transfer syntax that pydicom writes."""
    folder.mkdir()
    for path in source.iterdir():
        slice = pydicom.dcmread(path)
        if syntax.is_compressed:
            slice.compress(syntax)
        else:
            slice.file_meta.TransferSyntaxUID = syntax
            if syntax == ExplicitVRBigEndian:
                slice.PixelData = np.frombuffer(slice.PixelData, "<i2").astype(">i2").tobytes()
        # Converts the byte order as well, which save_as does not.
        pydicom.dcmwrite(folder / path.name, slice, implicit_vr=syntax == ImplicitVRLittleEndian,
                         little_endian=syntax != ExplicitVRBigEndian, force_encoding=True)


def compressed(source, folder, kind):
    """The series as GDCM compresses it."""
    folder.mkdir()
    for path in source.iterdir():
        image = sitk.ReadImage(str(path))
        writer = sitk.ImageFileWriter()
        writer.SetFileName(str(folder / path.name))
        writer.KeepOriginalImageUIDOn()
        writer.UseCompressionOn()
        writer.SetCompressor(kind)
        writer.SetImageIO("GDCMImageIO")
        writer.Execute(image)
        if pydicom.dcmread(folder / path.name).file_meta.TransferSyntaxUID.is_compressed is False:
            raise RuntimeError(f"{kind} was not compressed")


def compare(what, folder, truth, scratch):
    document = predict(folder, scratch)
    if isinstance(document, str):
        return report(what, [document])
    problems = []
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(folder)))
    image = reader.Execute()
    if list(image.GetSize()) != document["image"]["shape"]:
        problems.append(f"shape {document['image']['shape']} instead of {image.GetSize()}")
    for vertebra in document["vertebrae"]:
        lps = image.TransformContinuousIndexToPhysicalPoint(vertebra["voxel"])
        if not np.allclose(lps, vertebra["lps"], atol=0.01):
            problems.append(f"{vertebra['label']} at {vertebra['lps']}, SimpleITK says {lps}")
    found = points(document)
    far = [np.linalg.norm(np.subtract(found[label], at)) for label, at in truth.items() if label in found]
    if found.keys() != truth.keys() or max(far, default=0) > 0.05:
        problems.append(f"{sorted(found)} instead of {sorted(truth)}, {far}")
    report(what, problems)


with tempfile.TemporaryDirectory() as scratch:
    scratch = Path(scratch)
    truth = points(predict(PHANTOM, scratch))
    series = scratch / "plain"
    plain(series)
    compare("explicit little endian", series, truth, scratch)
    for what, syntax in [("implicit", ImplicitVRLittleEndian), ("big", ExplicitVRBigEndian), ("rle", RLELossless)]:
        recoded(series, scratch / what, syntax)
        compare(what, scratch / what, truth, scratch)
    for kind in ("JPEG", "JPEG2000"):
        folder = scratch / kind.lower()
        compressed(series, folder, kind)
        compare(pydicom.dcmread(next(folder.iterdir())).file_meta.TransferSyntaxUID.name, folder, truth, scratch)
    recoded(series, scratch / "jpegls", JPEGLSLossless)
    compare("JPEG-LS", scratch / "jpegls", truth, scratch)
    bare(series, scratch / "bare")
    compare("without the header of a file", scratch / "bare", truth, scratch)

    files = Path(pydicom.data.__file__).parent / "test_files"
    for path in sorted(files.glob("*.dcm")):
        folder = scratch / ("alone-" + path.stem)
        folder.mkdir()
        shutil.copy(path, folder)
        answer = predict(folder, scratch)
        print(f"ok      {path.name}:", answer if isinstance(answer, str) else f"{len(answer['vertebrae'])} vertebrae")

print(f"{failures} differ")
sys.exit(failures > 0)
