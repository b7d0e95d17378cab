"""The built program, and what it says of a scan."""

import json
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = ROOT / "target/release/vertebrae"
PHANTOM = ROOT / "testing_dataset/phantom-11-001.nii.gz"


def predict(scan, output):
    """The document of a scan, or the sentence that refuses it."""
    command = [PROGRAM, "predict", scan, "--output", output, "--format", "json", "--quiet"]
    ran = subprocess.run(command + ["--models", ROOT / "saved_models"], capture_output=True, text=True)
    assert ran.returncode in (0, 1), ran.stderr
    assert "panicked" not in ran.stderr, ran.stderr
    if ran.returncode == 1:
        sentence = ran.stderr.strip().splitlines()[0]
        assert sentence.startswith("error: "), ran.stderr
        return sentence
    name = Path(scan).name
    for ending in (".nii.gz", ".nii", ".hdr", ".img", ".hdr.gz", ".img.gz", ".nrrd", ".nhdr", ".mha", ".mhd"):
        name = name.removesuffix(ending)
    return json.loads((Path(output) / f"{name}.vertebrae.json").read_text())


def points(document):
    """Label to LPS position."""
    return {vertebra["label"]: vertebra["lps"] for vertebra in document["vertebrae"]}
