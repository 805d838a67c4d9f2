"""Exports the operator tests of the `onnx` package that Ceria's importer is measured with.

    python export.py FOLDER [ARCHIVE]

For every node test of an operator in `OPERATORS` whose data is float32, FOLDER gets a folder `<name>` with
`model.onnx`, `input.npz`, `output.npz` and `case.json`. The package's models take every operand as an input;
here operands that Ceria needs as constants (kernels, shapes, axes, statistics ...) become initialisers, so that
what is left as an input is what a client would encrypt. ARCHIVE gets the folders of the cases without large
arrays: `cases.zip`, which the test suite runs.
"""

import json
import sys
import zipfile
from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper
from onnx.backend.test.case.node import collect_testcases

# The operators, and how many of their leading operands stay inputs.
OPERATORS = {
    "Add": 2, "ArgMax": 1, "AveragePool": 1, "BatchNormalization": 1, "Cast": 1, "Clip": 1, "Concat": 99,
    "Conv": 1, "Div": 1, "Expand": 1, "Flatten": 1, "Gemm": 1, "GlobalAveragePool": 1, "Identity": 1,
    "LogSoftmax": 1, "MatMul": 1, "Mul": 2, "Neg": 1, "Pad": 1, "Pow": 1, "ReduceMean": 1, "ReduceSum": 1,
    "Relu": 1, "Reshape": 1, "Sigmoid": 1, "Slice": 1, "Softmax": 1, "Squeeze": 1, "Sub": 2, "Tanh": 1,
    "Transpose": 1, "Unsqueeze": 1,
}  # fmt: skip

# The most elements that an array of a case in the archive has.
SMALL = 4096


def arrays(values):
    """Operands or results as arrays; the package has them as arrays, scalars or messages."""
    return [numpy_helper.to_array(v) if isinstance(v, onnx.TensorProto) else np.asarray(v) for v in values]


def skip_reason(case):
    """Why a case says nothing about encrypted float32 inference, or None."""
    graph = case.model.graph
    if not all(value.type.HasField("tensor_type") for value in [*graph.input, *graph.output]):
        return "not a tensor"
    inputs, outputs = map(arrays, case.data_sets[0])
    if inputs[0].dtype != np.float32:
        return f"input is {inputs[0].dtype}"
    results = {"ArgMax": [np.int64], "Cast": [np.float32, np.float64]}.get(graph.node[0].op_type, [np.float32])
    if outputs[0].dtype not in results:
        return f"output is {outputs[0].dtype}"
    if inputs[0].size == 0 or outputs[0].size == 0:
        return "no elements"
    if not np.isfinite(inputs[0]).all():
        return "input is not finite"
    return None


def export(case, folder):
    model = onnx.ModelProto()
    model.CopyFrom(case.model)
    graph = model.graph
    inputs, outputs = map(arrays, case.data_sets[0])
    encrypted = OPERATORS[graph.node[0].op_type]
    data = dict(zip((value.name for value in graph.input), inputs))
    for value in list(graph.input)[encrypted:]:
        graph.initializer.append(numpy_helper.from_array(data.pop(value.name), value.name))
        graph.input.remove(value)
    folder.mkdir(parents=True)
    onnx.save(model, folder / "model.onnx")
    np.savez(folder / "input.npz", **{name: array.astype(np.float32) for name, array in data.items()})
    results = zip((value.name for value in graph.output), outputs)
    kinds = {name: array if array.dtype == np.float32 else array.astype(np.float64) for name, array in results}
    np.savez(folder / "output.npz", **kinds)
    description = {"op": graph.node[0].op_type, "rtol": case.rtol, "atol": case.atol}
    (folder / "case.json").write_text(json.dumps(description))


def is_small(folder):
    loaded = (np.load(folder / name) for name in ["input.npz", "output.npz"])
    return all(array.size <= SMALL for arrays in loaded for array in arrays.values())


def pack(target, archive):
    """The same bytes for the same cases."""
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as packed:
        for folder in filter(is_small, sorted(path for path in target.iterdir() if path.is_dir())):
            for file in sorted(folder.iterdir()):
                entry = zipfile.ZipInfo(f"{folder.name}/{file.name}")
                packed.writestr(entry, file.read_bytes(), zipfile.ZIP_DEFLATED)


def main():
    target = Path(sys.argv[1])
    exported, skipped = 0, {}
    for case in collect_testcases(None):
        nodes = case.model.graph.node
        # The package also has function operators written out in others, and longer graphs.
        if case.name.endswith("_expanded") or len(nodes) != 1 or nodes[0].op_type not in OPERATORS or case.kind != "node":
            continue
        reason = skip_reason(case)
        if reason is None:
            export(case, target / case.name)
            exported += 1
        else:
            skipped[case.name] = reason
    target.mkdir(parents=True, exist_ok=True)
    (target / "skipped.json").write_text(json.dumps(skipped, indent=1, sort_keys=True))
    print(f"{exported} cases, {len(skipped)} skipped")
    if len(sys.argv) > 2:
        pack(target, sys.argv[2])


if __name__ == "__main__":
    main()
