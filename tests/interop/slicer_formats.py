"""NRRD and MetaImage files as SimpleITK and pynrrd write them: the same spine at the same points, in every orientation."""

import sys
import tempfile
from pathlib import Path

import nrrd
import numpy as np
import SimpleITK as sitk

from program import PHANTOM, points, predict

failures = 0


def check(what, path, scratch, expected):
    global failures
    document = predict(path, scratch)
    if isinstance(document, str):
        failures += 1
        print(f"FAILED {what}: {document}")
        return
    found = points(document)
    far = {label: np.linalg.norm(np.subtract(found[label], at)) for label, at in expected.items() if label in found}
    good = found.keys() == expected.keys() and max(far.values(), default=0) < 0.05
    failures += not good
    print(f"{'ok     ' if good else 'FAILED '}{what} {max(far.values(), default=0):.3f} mm")


with tempfile.TemporaryDirectory() as scratch:
    scratch = Path(scratch)
    truth = points(predict(PHANTOM, scratch))
    image = sitk.Cast(sitk.ReadImage(str(PHANTOM)), sitk.sitkInt16)
    for ending in ["nrrd", "nhdr", "mha", "mhd"]:
        for compressed in [False, True]:
            path = scratch / f"plain-{compressed}.{ending}"
            sitk.WriteImage(image, str(path), useCompression=compressed)
            check(f"{ending}, compressed: {compressed}", path, scratch, truth)
    for code in ["RAS", "PIR", "SAL", "ILP", "ASR"]:
        turned = sitk.DICOMOrient(image, code)
        for ending in ["nrrd", "mha"]:
            path = scratch / f"{code}.{ending}"
            sitk.WriteImage(turned, str(path), useCompression=True)
            check(f"{ending} stored {code}", path, scratch, truth)
    for kind in [sitk.sitkInt32, sitk.sitkFloat32, sitk.sitkFloat64]:
        for ending in ["nrrd", "mha"]:
            path = scratch / f"kind-{kind}.{ending}"
            sitk.WriteImage(sitk.Cast(image, kind), str(path), useCompression=True)
            check(f"{ending} of {sitk.GetPixelIDValueAsString(kind)}", path, scratch, truth)
    # Slicer's own space, the first axis varying fastest.
    data = sitk.GetArrayFromImage(image).transpose(2, 1, 0)
    steps = np.array(image.GetDirection()).reshape(3, 3) * image.GetSpacing()
    header = {
        "space": "right-anterior-superior",
        "space directions": (steps.T * [-1, -1, 1]),
        "space origin": np.array(image.GetOrigin()) * [-1, -1, 1],
        "encoding": "gzip",
    }
    nrrd.write(str(scratch / "ras.nrrd"), data, header)
    check("nrrd of pynrrd, RAS", scratch / "ras.nrrd", scratch, truth)
sys.exit(failures > 0)
