"""Finds, locates, names and measures the vertebrae in CT scans.

    import vertebrae
    for found in vertebrae.predict("scan.nii.gz"):
        print(found.label, found.lps, found.confidence)

Research use only: not a medical device. Positions are millimetres in the patient: ``lps`` to the left, the back and the head
(DICOM, ITK), ``ras`` to the right, the front and the head (NIfTI, nibabel, 3D Slicer). ``voxel`` is an index into the voxels as
they are stored, fractions count.
"""

from __future__ import annotations

import json
import os
import sys
from dataclasses import dataclass
from typing import Any, Callable, Iterator, Mapping, Sequence

import numpy as np

from . import _native
from ._native import Error, __version__

__all__ = ["Error", "Prediction", "Vertebra", "predict", "__version__"]


@dataclass(frozen=True)
class Vertebra:
    """A vertebra that was found.

    Attributes:
        label: its level, such as ``"L1"``.
        lps: centre of its body in mm to the patient's left, back and head.
        ras: the same to the right, the front and the head.
        voxel: the same as an index into the stored voxels.
        confidence: how likely the label is right, from 0 to 1.
        alternatives: other labels with how likely they are, the likeliest first.
        flags: what to look at, see the program's docs/formats.md.
        measured: with ``measure=True`` what was measured (heights and plates in mm, density in Hounsfield units), else None.
    """

    label: str
    lps: tuple[float, float, float]
    ras: tuple[float, float, float]
    voxel: tuple[float, float, float]
    confidence: float
    alternatives: tuple[tuple[str, float], ...]
    flags: tuple[str, ...]
    measured: Mapping[str, Any] | None = None

    @classmethod
    def _of(cls, found: Mapping[str, Any]) -> Vertebra:
        # An axis without a direction has no index.
        point = lambda name: tuple(float("nan") if part is None else part for part in found[name])  # noqa: E731
        return cls(
            label=found["label"],
            lps=point("lps"),
            ras=point("ras"),
            voxel=point("voxel"),
            confidence=found["confidence"],
            alternatives=tuple((other["label"], other["confidence"]) for other in found["alternatives"]),
            flags=tuple(found["flags"]) + tuple((found.get("measured") or {}).get("flags", ())),
            measured=found.get("measured"),
        )


class Prediction(Sequence):
    """What was found in a scan: a sequence of :class:`Vertebra` from the head down.

    ``prediction[0]`` is the first vertebra, ``prediction["L1"]`` that of a level (a KeyError if it was not found), and
    ``"L1" in prediction`` says whether it was.

    Attributes:
        warnings: a sentence for each thing a reader should know.
        shift: how likely all names are off by one (``confidence``) and what the ``first`` one would be then, or None.
        turned: how the picture reads better than as its header says, or None.
        measurements: with ``measure=True`` the contrast, the alignment and the bone density of the scan, else None.
    """

    def __init__(self, document: Mapping[str, Any]):
        self._document = document
        self._vertebrae = tuple(Vertebra._of(found) for found in document["vertebrae"])
        self.warnings: tuple[str, ...] = tuple(document["warnings"])
        self.shift: Mapping[str, Any] | None = document["shift"]
        self.turned: str | None = document["turned"]
        self.measurements: Mapping[str, Any] | None = document.get("measurements")

    def __len__(self) -> int:
        return len(self._vertebrae)

    def __iter__(self) -> Iterator[Vertebra]:
        return iter(self._vertebrae)

    def __getitem__(self, key):
        if isinstance(key, str):
            for found in self._vertebrae:
                if found.label == key:
                    return found
            raise KeyError(key)
        return self._vertebrae[key]

    def __contains__(self, key: object) -> bool:
        if isinstance(key, str):
            return any(found.label == key for found in self._vertebrae)
        return key in self._vertebrae

    def __repr__(self) -> str:
        if not self._vertebrae:
            return "<Prediction: no vertebra>"
        return f"<Prediction: {len(self)} vertebrae, {self[0].label} to {self[-1].label}>"

    def to_dict(self) -> dict[str, Any]:
        """The whole document, as the program writes it into NAME.vertebrae.json."""
        return json.loads(json.dumps(self._document))

    def to_pandas(self):
        """A row for each vertebra: label, confidence, positions in mm, flags, and what was measured."""
        import pandas

        rows = []
        for found in self._vertebrae:
            row = {"label": found.label, "confidence": found.confidence}
            row.update(zip(("left_mm", "back_mm", "head_mm"), found.lps))
            row["alternative"] = found.alternatives[0][0] if found.alternatives else None
            row["flags"] = " ".join(found.flags)
            if self.measurements is not None:
                figures = found.measured or {}
                hu, heights = figures.get("hu") or {}, figures.get("heights_mm") or {}
                row.update({f"hu_{name}": hu.get(name) for name in ("mean", "median", "sd", "voxels")})
                row.update({f"height_{name}_mm": heights.get(name) for name in ("anterior", "middle", "posterior")})
                row.update({name: figures.get(name) for name in ("width_mm", "depth_mm")})
                row["genant"] = (figures.get("genant") or {}).get("grade")
            rows.append(row)
        return pandas.DataFrame(rows)

    def to_markups(self, path: str | os.PathLike | None = None) -> dict[str, Any]:
        """The centres as 3D Slicer's markups (a fiducial list in LPS mm), written to ``path`` if one is given."""
        path = None if path is None else os.fspath(path)
        return json.loads(_native.to_markups(json.dumps(self._document), path))


def predict(
    scan,
    affine=None,
    *,
    measure: bool = False,
    models: str | os.PathLike | None = None,
    series: str | None = None,
    progress: Callable[[str], Any] | None = None,
):
    """Finds and names the vertebrae of a scan.

    Args:
        scan: a path (NIfTI, NRRD, MetaImage, or a folder of DICOM slices), a nibabel image, a SimpleITK image, or an array of
            Hounsfield units ``[i, j, k]`` together with ``affine``. A list or tuple of these gives a list of predictions.
        affine: of an array, the 4 x 4 (or 3 x 4) matrix that brings an index to RAS mm, as nibabel has it.
        measure: whether to measure the vertebrae, too.
        models: a folder of networks to use in place of those in the package.
        series: the SeriesInstanceUID to take of a folder that holds several.
        progress: is called with the name of each stage as it begins.

    Returns:
        A :class:`Prediction`, or a list of them.

    Raises:
        Error: the scan or a model cannot be used; the text says why and what to do.
        TypeError: ``scan`` is nothing of the above.
    """
    if isinstance(scan, (list, tuple)):
        if affine is not None:
            raise TypeError("an affine belongs to one array; give a list of images or paths without one")
        return [predict(one, measure=measure, models=models, series=series, progress=progress) for one in scan]
    models = None if models is None else os.fspath(models)
    if isinstance(scan, (str, os.PathLike)):
        document = _native.predict_path(os.fspath(scan), measure, models, series, progress)
    else:
        voxels, affine, name = _array(scan, affine)
        document = _native.predict_array(voxels, affine, name, measure, models, progress)
    return Prediction(json.loads(document))


def _array(scan, affine):
    """Voxels as float32 ``[i, j, k]``, three rows of the matrix to RAS mm, and what to call the scan."""
    if hasattr(scan, "dataobj") and hasattr(scan, "affine"):
        voxels, affine = scan.dataobj, scan.affine
        name = scan.get_filename() if hasattr(scan, "get_filename") else None
        name = name or "the nibabel image"
    elif hasattr(scan, "GetDirection") and hasattr(scan, "GetSpacing"):
        import SimpleITK

        voxels, name = SimpleITK.GetArrayViewFromImage(scan).T, "the SimpleITK image"
        dimensions = scan.GetDimension()
        if dimensions != 3:
            raise Error(f"{name} cannot be used: it has {dimensions} axes; give one volume, with three")
        steps = np.reshape(scan.GetDirection(), (3, 3)) * np.asarray(scan.GetSpacing())
        affine = np.diag([-1.0, -1.0, 1.0]) @ np.column_stack([steps, scan.GetOrigin()])
    elif isinstance(scan, np.ndarray):
        if affine is None:
            raise TypeError("an array needs the affine that says where its voxels lie: predict(array, affine)")
        voxels, name = scan, "the array"
    else:
        raise TypeError(f"a path, an array with an affine, a nibabel or a SimpleITK image is needed, not {type(scan).__name__}")
    affine = np.asarray(affine, dtype=np.float64)
    if affine.shape not in ((3, 4), (4, 4)):
        raise Error(f"{name} cannot be used: its affine has the shape {affine.shape}, not 4 x 4")
    voxels = np.asarray(voxels)
    if voxels.ndim != 3:
        raise Error(f"{name} cannot be used: it has {voxels.ndim} axes; give one volume, with three")
    if voxels.dtype.kind not in "iuf":
        raise Error(f"{name} cannot be used: its voxels are {voxels.dtype}, not real numbers")
    return voxels.astype(np.float32, copy=False), affine[:3].tolist(), name


def _main() -> int:
    """The command line."""
    return _native.main(["vertebrae", *sys.argv[1:]])
