"""What `predict --measure --format json,mask,dicom-seg,dicom-sr` wrote, read by others.

    pip install highdicom nibabel
    python dicom_results.py RESULTS...

RESULTS are stems such as out/series: NAME.vertebrae.json, NAME_seg.nii.gz, NAME_seg.dcm and NAME_sr.dcm. The segmentation has
to be the mask, voxel by voxel in the patient, and the report has to say what the document says.
"""

import json
import sys
import warnings

import highdicom as hd
import nibabel
import numpy as np
import pydicom

warnings.simplefilter("error", UserWarning)
VERSE = {f"C{i}": i for i in range(1, 8)} | {f"T{i}": 7 + i for i in range(1, 13)} | {"T13": 28}
VERSE |= {f"L{i}": 19 + i for i in range(1, 7)} | {"S1": 26, "S2": 26}
HEIGHTS = {"255549009": "anterior", "255562008": "middle", "255551008": "posterior"}
DERIVED = {"373098007": "mean", "373099004": "median", "386136009": "sd"}
PHASE = pydicom.sr.coding.Code("109058", "DCM", "Contrast Phase")


def positions(affine, indices):
    return indices @ affine[:3, :3].T + affine[:3, 3]


def check_segmentation(stem):
    """Every voxel of every segment lies where the mask has that vertebra, and none is missing."""
    seg = hd.seg.segread(f"{stem}_seg.dcm")
    mask = nibabel.load(f"{stem}_seg.nii.gz")
    labels = np.asarray(mask.dataobj)
    inverse = np.linalg.inv(mask.affine)
    pixels = seg.pixel_array.reshape(-1, seg.Rows, seg.Columns)
    names = {item.SegmentNumber: item.SegmentLabel for item in seg.SegmentSequence}
    shared = seg.SharedFunctionalGroupsSequence[0]
    row, column = np.reshape(shared.PlaneOrientationSequence[0].ImageOrientationPatient, (2, 3)).astype(float)
    between_rows, between_columns = map(float, shared.PixelMeasuresSequence[0].PixelSpacing)
    built = np.zeros_like(labels)
    for frame, own in zip(pixels, seg.PerFrameFunctionalGroupsSequence):
        number = own.SegmentIdentificationSequence[0].ReferencedSegmentNumber
        origin = np.array(own.PlanePositionSequence[0].ImagePositionPatient, float)
        i, j = np.nonzero(frame)
        lps = origin + np.outer(j * between_columns, row) + np.outer(i * between_rows, column)
        index = positions(inverse, lps * [-1, -1, 1])
        nearest = np.rint(index).astype(int)
        assert np.abs(index - nearest).max(initial=0) < 0.02, "voxels lie between those of the mask"
        built[tuple(nearest.T)] = VERSE[names[number]]
        source = own.DerivationImageSequence[0].SourceImageSequence[0]
        assert source.ReferencedSOPInstanceUID
    assert np.array_equal(built, labels), f"{(built != labels).sum()} voxels differ"
    return len(names)


def check_report(stem):
    document = json.load(open(f"{stem}.vertebrae.json"))
    report = hd.sr.srread(f"{stem}_sr.dcm")
    groups = report.content.get_planar_roi_measurement_groups()
    assert len(groups) == len(document["vertebrae"])
    for group, vertebra in zip(groups, document["vertebrae"]):
        assert group.tracking_identifier == vertebra["label"]
        point = group.roi.value
        assert np.allclose(point, vertebra["lps"], atol=1e-3), (point, vertebra["lps"])
        assert group.finding_type.meaning in (f"{vertebra['label']} vertebra", "Vertebra")
        figures, numbers = vertebra["measured"], 0
        for measured in group.get_measurements():
            name, value = measured.name.meaning, measured.value
            if name == "Certainty of Finding":
                expected = 100 * vertebra["confidence"]
            elif name == "Certainty of Feature":
                expected = 100 * figures["quality"]
            elif name == "Height":
                place = measured[0].ContentSequence[0].ConceptCodeSequence[0].CodeValue
                expected = figures["heights_mm"][HEIGHTS[place]]
            elif name == "Attenuation Coefficient":
                expected = figures["hu"][DERIVED[measured.derivation.value]]
            else:
                expected = figures[f"{name.lower()}_mm"]
            assert abs(value - expected) < 1e-6, (name, value, expected)
            numbers += 1
        there = 2 + 3 * bool(figures["heights_mm"]) + 3 * bool(figures["hu"])
        there += (figures["width_mm"] is not None) + (figures["depth_mm"] is not None)
        assert numbers == there, (vertebra["label"], numbers, there)
        others = [item.value.meaning for item in group.get_qualitative_evaluations()
                  if item.name.meaning == "Differential Diagnosis/Impression"]
        named = [other["label"] for other in vertebra["alternatives"]]
        assert [other.split()[0] for other in others] == [n if n not in ("T13", "L6") else "Vertebra" for n in named]
    whole = report.content.get_image_measurement_groups()
    scan = document["measurements"]
    angles = {"Kyphosis": "kyphosis", "Lordosis": "lordosis", "Scoliosis": "cobb"}
    said = {group.tracking_identifier: group for group in whole}
    for title, key in angles.items():
        assert (title in said) == (scan["alignment"][key] is not None), title
        if title in said:
            assert abs(said[title].get_measurements()[0].value - scan["alignment"][key]["degrees"]) < 1e-6
    contrast = said["Contrast"]
    phase = [item.value for item in contrast.get_qualitative_evaluations() if item.name == PHASE]
    phase = phase or [item.TextValue for item in contrast[0].ContentSequence
                      if item.ConceptNameCodeSequence[0].CodeValue == "109058"]
    assert phase == [scan["contrast"]["phase"]], phase
    return len(groups)


for stem in sys.argv[1:]:
    segments, groups = check_segmentation(stem), check_report(stem)
    print(f"{stem}: {segments} segments are the mask's, {groups} groups say what the document says")
