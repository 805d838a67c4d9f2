"""Writes `expected.npz` beside each model: the results of ONNX's reference evaluator on the held-out inputs.

The arrays are named like the ONNX outputs and have the samples as their first axis. They are what the tests
compare the clear model with.
"""

from pathlib import Path

import numpy as np
from onnx.reference import ReferenceEvaluator

for path in sorted(Path(__file__).parent.glob("*/model.onnx")):
    model = ReferenceEvaluator(str(path))
    (name,) = model.input_names
    samples = np.load(path.parent / "inputs.npz")[name]
    results = np.stack([model.run(None, {name: sample})[0] for sample in samples])
    np.savez_compressed(path.parent / "expected.npz", **{model.output_names[0]: results})
    print(path.parent.name, results.shape)
