"""The package against the program: the same names, places and figures, to the last digit."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

import vertebrae

ROOT = Path(__file__).resolve().parents[2]
SCAN = ROOT / "testing_dataset" / "phantom-11-001.nii.gz"
MODELS = ROOT / "saved_models"


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    """What the command line of the package says of the scan, measured."""
    folder = tmp_path_factory.mktemp("program")
    command = [sys.executable, "-c", "import sys, vertebrae; sys.exit(vertebrae._main())", "predict", str(SCAN)]
    command += ["--output", str(folder), "--measure", "--format", "json", "--quiet", "--models", str(MODELS)]
    subprocess.run(command, check=True)
    return json.loads((folder / "phantom-11-001.vertebrae.json").read_text())


def comparable(document, whose=("input", "seconds", "models")):
    return {key: value for key, value in document.items() if key not in whose}


def test_a_path_gives_the_programs_document(program):
    found = vertebrae.predict(SCAN, measure=True, models=MODELS)
    assert comparable(found.to_dict(), ("seconds",)) == comparable(program, ("seconds",))
    assert len(found) == len(program["vertebrae"]) > 3
    first = found[0]
    assert first.label == program["vertebrae"][0]["label"] and first.label in found and "C9" not in found
    assert found[first.label] is first and [one.label for one in found[:2]] == [one.label for one in list(found)[:2]]
    assert first.ras == (-first.lps[0], -first.lps[1], first.lps[2])
    with pytest.raises(KeyError):
        found["C1x"]


def test_the_networks_of_the_package_are_those_of_the_repository(program):
    found = vertebrae.predict(str(SCAN), measure=True)
    models = [model["sha256"] for model in found.to_dict()["models"]]
    assert models == [model["sha256"] for model in program["models"]]
    assert comparable(found.to_dict()) == comparable(program)


def test_images_and_arrays_give_what_their_file_gives(program):
    nib = pytest.importorskip("nibabel")
    image = nib.load(SCAN)
    array = np.asarray(image.dataobj)
    for found in [
        vertebrae.predict(image, measure=True),
        vertebrae.predict(array, image.affine, measure=True),
        vertebrae.predict(array.astype(np.float64), image.affine[:3], measure=True),
        # The same voxels in another order, with the affine that says so.
        vertebrae.predict(array[::-1], image.affine @ flipped(array.shape[0]), measure=True),
    ]:
        for one, expected in zip(found, program["vertebrae"]):
            assert one.label == expected["label"] and np.allclose(one.lps, expected["lps"], atol=1e-3)
            assert one.confidence == expected["confidence"] and one.measured == expected["measured"]


def flipped(size):
    matrix = np.diag([-1.0, 1.0, 1.0, 1.0])
    matrix[0, 3] = size - 1
    return matrix


def test_simpleitk_images_give_what_their_file_gives(program):
    sitk = pytest.importorskip("SimpleITK")
    found = vertebrae.predict(sitk.ReadImage(str(SCAN)))
    assert [one.label for one in found] == [one["label"] for one in program["vertebrae"]]
    for one, expected in zip(found, program["vertebrae"]):
        assert np.allclose(one.lps, expected["lps"], atol=1e-3)


def test_lists_give_lists_and_tables_have_a_row_a_vertebra(tmp_path):
    pandas = pytest.importorskip("pandas")
    [a, b] = vertebrae.predict([SCAN, str(SCAN)], measure=True)
    assert [one.label for one in a] == [one.label for one in b]
    table = a.to_pandas()
    assert isinstance(table, pandas.DataFrame) and list(table["label"]) == [one.label for one in a]
    assert table["hu_mean"].notna().any()
    markups = a.to_markups(tmp_path / "a.mrk.json")
    assert json.loads((tmp_path / "a.mrk.json").read_text()) == markups
    assert markups["markups"][0]["controlPoints"][0]["position"] == list(a[0].lps)
    assert os.listdir(tmp_path) == ["a.mrk.json"]


def test_errors_are_the_programs_sentences(tmp_path):
    broken = tmp_path / "broken.nii.gz"
    broken.write_bytes(b"\x1f\x8b\x08 nothing")
    with pytest.raises(vertebrae.Error, match="broken.nii.gz cannot be used: "):
        vertebrae.predict(broken)
    with pytest.raises(vertebrae.Error, match="gone.nii.gz"):
        vertebrae.predict(tmp_path / "gone.nii.gz")
    with pytest.raises(vertebrae.Error, match="are not in"):
        vertebrae.predict(SCAN, models=tmp_path)
    with pytest.raises(vertebrae.Error, match="has 4 axes"):
        vertebrae.predict(np.zeros((2, 2, 2, 2)), np.eye(4))
    with pytest.raises(vertebrae.Error, match="shape"):
        vertebrae.predict(np.zeros((20, 20, 20)), np.eye(2))
    with pytest.raises(vertebrae.Error, match="the array cannot be used: "):
        vertebrae.predict(np.zeros((20, 20, 20)), np.zeros((4, 4)))
    with pytest.raises(TypeError, match="affine"):
        vertebrae.predict(np.zeros((20, 20, 20)))
    with pytest.raises(TypeError, match="not int"):
        vertebrae.predict(3)


def test_progress_is_told_and_what_it_raises_ends_the_work():
    stages = []
    vertebrae.predict(SCAN, measure=True, progress=stages.append)
    assert stages[0] == "course" and stages[-1] == "measuring" and "names" in stages

    class Enough(Exception):
        pass

    def enough(stage):
        raise Enough(stage)

    with pytest.raises(Enough, match="course"):
        vertebrae.predict(SCAN, progress=enough)


def test_python_goes_on_meanwhile():
    steps, done = [], threading.Event()

    def count():
        while not done.is_set():
            steps.append(time.perf_counter())
            time.sleep(0.005)

    counter = threading.Thread(target=count)
    counter.start()
    begin = time.perf_counter()
    vertebrae.predict(SCAN)
    took = time.perf_counter() - begin
    done.set()
    counter.join()
    # With the lock held the other thread would stand still.
    assert max(b - a for a, b in zip(steps, steps[1:])) < max(0.5 * took, 0.1)


def test_ctrl_c_is_a_keyboard_interrupt():
    program = (
        "import os, signal, vertebrae\n"
        # A shell's background job inherits an ignored signal, and Python leaves that so.
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "def interrupt(stage): os.kill(os.getpid(), signal.SIGINT)\n"
        f"vertebrae.predict({str(SCAN)!r}, progress=interrupt)\n"
    )
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert ran.returncode in (-signal.SIGINT, 1, 130) and "KeyboardInterrupt" in ran.stderr, ran.stderr


def test_the_command_line_comes_along():
    program = Path(sys.executable).with_name("vertebrae")
    ran = subprocess.run([program, "--version"], capture_output=True, text=True)
    assert ran.returncode == 0 and ran.stdout.strip() == f"vertebrae {vertebrae.__version__}"
    assert subprocess.run([program, "predict"], capture_output=True).returncode == 2
