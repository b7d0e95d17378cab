"""NIfTI files of many kinds: the same affine as nibabel's, the same points as SimpleITK's, the same spine."""

import itertools
import sys
import tempfile
from pathlib import Path

import nibabel as nib
import numpy as np
import SimpleITK as sitk

from program import PHANTOM, points, predict

failures = 0


def check(what, document, image, expected, tolerance, itk=None):
    """Compares a document with nibabel's affine, with points that are expected and with SimpleITK's world."""
    global failures
    if isinstance(document, str):
        print(f"FAILED {what}: {document}")
        failures += 1
        return
    problems = []
    affine = np.array(document["image"]["affine"])
    if not np.allclose(affine, image.affine[:3], atol=1e-4):
        problems.append(f"affine {affine.tolist()} instead of {image.affine[:3].tolist()}")
    for vertebra in document["vertebrae"]:
        world = image.affine @ [*vertebra["voxel"], 1]
        if not np.allclose(world[:3], vertebra["ras"], atol=0.01):
            problems.append(f"{vertebra['label']} at {vertebra['ras']}, nibabel says {world[:3]}")
        if itk is not None:
            lps = itk.TransformContinuousIndexToPhysicalPoint(vertebra["voxel"])
            if not np.allclose(lps, vertebra["lps"], atol=0.01):
                problems.append(f"{vertebra['label']} at {vertebra['lps']}, SimpleITK says {lps}")
    if expected is not None:
        found = points(document)
        far = {label: np.linalg.norm(np.subtract(found[label], at)) for label, at in expected.items() if label in found}
        if found.keys() != expected.keys() or max(far.values(), default=0) > tolerance:
            problems.append(f"{sorted(found)} instead of {sorted(expected)}, {far}")
    failures += bool(problems)
    print(("FAILED " if problems else "ok     ") + what, *problems, sep="\n       " if problems else " ")


def itk(path):
    try:
        return sitk.ReadImage(str(path))
    except RuntimeError:
        return None


with tempfile.TemporaryDirectory() as scratch:
    scratch = Path(scratch)
    source = nib.load(PHANTOM)
    data = np.asarray(source.dataobj)
    truth = points(predict(PHANTOM, scratch))

    def case(what, image, ending="nii.gz", same=True, tolerance=0.05, with_itk=True):
        path = scratch / f"{what}.{ending}"
        nib.save(image, path)
        stored = nib.load(path)
        check(what, predict(path, scratch), stored, truth if same else None, tolerance, itk(path) if with_itk else None)

    whole = np.clip(data, -1024, 3000)
    for kind in (np.int16, np.int32, np.float32, np.float64):
        case(f"nifti1-{kind.__name__}", nib.Nifti1Image(whole.astype(kind), source.affine))
    for kind in (np.int64, np.float32):
        image = nib.Nifti2Image(whole.astype(kind), source.affine, dtype=kind)
        case(f"nifti2-{kind.__name__}", image, with_itk=False)
    for kind in (np.uint8, np.int8, np.uint16, np.uint32, np.uint64):
        # Unsigned values with an intercept, as scl_inter has it.
        low, high = np.iinfo(kind).min, min(np.iinfo(kind).max, 4000)
        slope = 4024 / (high - low)
        stored = np.round((whole + 1024) / slope + low).astype(kind)
        image = nib.Nifti1Image(stored, source.affine, dtype=kind)
        image.header.set_slope_inter(slope, -1024 - low * slope)
        path = scratch / f"scaled-{kind.__name__}.nii.gz"
        nib.save(image, path)
        check(path.name, predict(path, scratch), nib.load(path), truth, 1.0)
    case("pair", nib.Nifti1Pair(whole.astype(np.int16), source.affine), "img")
    case("zipped-pair", nib.Nifti1Pair(whole.astype(np.int16), source.affine), "img.gz")
    case("pair-2", nib.Nifti2Pair(whole.astype(np.int16), source.affine), "img", with_itk=False)
    big = nib.Nifti1Image(whole.astype(">i2"), source.affine, nib.Nifti1Header(endianness=">"))
    case("big-endian", big)
    case("four-dimensional", nib.Nifti1Image(whole.astype(np.int16)[..., None], source.affine), with_itk=False)

    for codes in itertools.product((0, 1), (0, 1)):
        image = nib.Nifti1Image(whole.astype(np.int16), source.affine)
        image.set_sform(source.affine, codes[0])
        image.set_qform(source.affine, codes[1])
        case(f"sform-{codes[0]}-qform-{codes[1]}", image, same=any(codes), with_itk=any(codes))
    # Both, and they differ: nibabel takes the sform.
    image = nib.Nifti1Image(whole.astype(np.int16), source.affine)
    moved = source.affine.copy()
    moved[:3, 3] += [5, 7, -11]
    image.set_sform(source.affine, 1)
    image.set_qform(moved, 1)
    case("sform-before-qform", image, with_itk=False)

    for axes in itertools.permutations(range(3)):
        for signs in itertools.product((1, -1), repeat=3):
            turn = np.column_stack([axes, signs])
            image = source.as_reoriented(turn)
            case("orientation-" + "".join(nib.aff2axcodes(image.affine)), image)

    for degrees in (5, 14, 20):
        angle = np.radians(degrees)
        turn = np.eye(4)
        turn[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
        image = nib.Nifti1Image(whole.astype(np.int16), turn @ source.affine)
        path = scratch / f"oblique-{degrees}.nii.gz"
        nib.save(image, path)
        document = predict(path, scratch)
        turned = {label: (np.diag([-1, -1, 1]) @ turn[:3, :3] @ np.diag([-1, -1, 1]) @ at) for label, at in truth.items()}
        check(path.name, document, nib.load(path), turned, 0.05, itk(path))
        warned = any("turned by" in warning for warning in document["warnings"])
        if warned != (degrees > 15):
            print(f"FAILED oblique-{degrees}: warned is {warned}")
            failures += 1

print(f"{failures} differ")
sys.exit(failures > 0)
