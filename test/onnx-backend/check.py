"""Compiles, encrypts, evaluates and decrypts every exported case, and writes the outcomes as a page.

    python check.py CERIA CASES [PAGE] [NAME ...]

CERIA is the program, CASES the folder that `export.py` wrote. A case passes if the decrypted result differs from
ONNX's by at most 2^-BITS of the largest element, or of 1 if that is larger. Ranges of activations come from the
case's own input. With names, only those cases are run.
"""

import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import onnx

# What `ceria compile --precision` is given, and what a case is held to: approximations may take as much again.
PRECISION = 10
MAX_DEGREE = 127
BITS = 8


def last_line(error):
    lines = [line for line in error.stderr.splitlines() if line.strip()]
    # Without the place of the model on this machine.
    return re.sub(r"\S*model\.onnx: ", "", lines[-1]) if lines else f"exit status {error.returncode}"


def difference(result, expected):
    """The largest difference, as a part of the largest element or of 1."""
    if result.size != expected.size:
        return float("inf")
    return float(np.max(np.abs(result.reshape(expected.shape) - expected)) / max(1, np.max(np.abs(expected))))


def chosen_difference(model, values, result):
    """By how much the elements that `ArgMax` chose fall short of the largest, which exact ties make the only
    meaningful measure on encrypted values."""
    attributes = {attribute.name: attribute.i for attribute in model.graph.node[0].attribute}
    axis = attributes.get("axis", 0) % values.ndim
    largest = values.max(axis, keepdims=True)
    chosen = np.take_along_axis(values, result.astype(np.int64).reshape(largest.shape), axis)
    return float(np.max(largest - chosen) / max(1, np.max(np.abs(values))))


def run(ceria, case, folder):
    """Whether a case passes, and what there is to say about it."""
    inputs, expected = np.load(case / "input.npz"), np.load(case / "output.npz")
    np.savez(folder / "calibrate.npz", **{name: inputs[name][None] for name in inputs})
    bundle, result = folder / "case.ceria", folder / "result.npz"

    def command(*arguments):
        subprocess.run([ceria, *arguments], check=True, capture_output=True, text=True, timeout=300)

    try:
        calibration = ["--calibrate", folder / "calibrate.npz", "--precision", str(PRECISION), "--max-degree", str(MAX_DEGREE)]
        command("compile", case / "model.onnx", "-o", bundle, "--quiet", *calibration)
    except subprocess.CalledProcessError as error:
        return False, f"refused: {last_line(error).removeprefix('error: ')}"
    except subprocess.TimeoutExpired:
        return False, "fails: takes more than five minutes to compile"
    try:
        command("check", bundle, "--input", case / "input.npz", "-o", result)
    except subprocess.CalledProcessError as error:
        return False, f"fails: {last_line(error)}"
    except subprocess.TimeoutExpired:
        return False, "fails: takes more than five minutes to run"
    results = np.load(result)
    model = onnx.load(case / "model.onnx")
    if model.graph.node[0].op_type == "ArgMax":
        (values,) = inputs.values()
        (chosen,) = results.values()
        worst = chosen_difference(model, values, chosen)
    else:
        worst = max(difference(results[name], expected[name]) for name in expected)
    bits = f"{-np.log2(worst):.0f} bits" if worst > 0 else "exact"
    return worst <= 2.0**-BITS, ("passes" if worst <= 2.0**-BITS else "fails") + f", {bits}"


def page(rows):
    passed = sum(ok for _, _, ok, _ in rows)
    refused = sum(outcome.startswith("refused") for *_, outcome in rows)
    return "\n".join([
        "# ONNX operators",
        "",
        "The operator tests of the `onnx` package that apply to encrypted float32 inference, through `ceria check`:",
        "compiled, encrypted, evaluated and decrypted, and compared with ONNX's own result (`test/onnx-backend/`).",
        f"Of {len(rows)} cases {passed} pass and {refused} are refused. Bits are those of the largest difference",
        f"relative to the largest element, or to 1 if that is larger; {BITS} are asked for, compiled with",
        f"`--precision {PRECISION} --max-degree {MAX_DEGREE}`. `ArgMax`, `Softmax` and `LogSoftmax` are done by the client after decryption.",
        "",
        "| operator | case | outcome |",
        "|---|---|---|",
        *(f"| {op} | `{name}` | {outcome} |" for op, name, _, outcome in rows),
        "",
    ])  # fmt: skip


def main():
    ceria, cases, *rest = sys.argv[1:]
    names = set(rest[1:])
    rows = []
    for case in sorted(path for path in Path(cases).iterdir() if path.is_dir()):
        if names and case.name not in names:
            continue
        with tempfile.TemporaryDirectory() as folder:
            ok, outcome = run(Path(ceria).absolute(), case, Path(folder))
        rows.append((json.loads((case / "case.json").read_text())["op"], case.name, ok, outcome))
        print(f"{case.name}: {outcome}", flush=True)
    rows.sort(key=lambda row: row[:2])
    if rest:
        Path(rest[0]).write_text(page(rows))
    bad = [row for row in rows if not row[2] and not row[3].startswith("refused")]
    print(f"{sum(row[2] for row in rows)} passed, {len(bad)} failed")
    sys.exit(bool(bad))


if __name__ == "__main__":
    main()
