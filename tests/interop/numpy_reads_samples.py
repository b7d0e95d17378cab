"""Does NumPy open every sample of a folder, with the right types? Prints how many there are."""
import sys
from pathlib import Path
import numpy as np

samples = sorted(Path(sys.argv[1]).glob("*-sample.npy"))
assert samples, "no samples"
for path in samples:
    sample = np.load(path)
    labelling = np.load(str(path).replace("-sample", "-labelling"))
    assert sample.dtype == np.float32 and labelling.dtype == np.uint8, (path, sample.dtype, labelling.dtype)
    assert sample.shape[-2:] == labelling.shape[-2:], (path, sample.shape, labelling.shape)
    assert np.isfinite(sample).all() and labelling.max() <= 26, path
print(len(samples), "samples", sample.shape, labelling.shape)
