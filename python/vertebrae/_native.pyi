from typing import Any, Callable, Sequence

import numpy as np
import numpy.typing as npt

__version__: str

class Error(Exception): ...

def predict_path(
    path: str,
    measure: bool,
    models: str | None,
    series: str | None,
    progress: Callable[[str], Any] | None,
) -> str: ...
def predict_array(
    voxels: npt.NDArray[np.float32],
    affine: Sequence[Sequence[float]],
    name: str,
    measure: bool,
    models: str | None,
    progress: Callable[[str], Any] | None,
) -> str: ...
def to_markups(document: str, path: str | None) -> str: ...
def main(arguments: Sequence[str]) -> int: ...
