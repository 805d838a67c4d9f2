"""Fails if a function in which a program spends more than a hundredth of its time spills registers."""

import json
import sys

report = json.load(sys.stdin)
hot = [f for f in report["functions"] if f["total_ms"] > report["predicted_ms"] / 100]
spilling = [f["symbol"] for f in hot if any(f["spills"])]
assert hot, "no function is hot"
assert not spilling, f"hot functions spill: {spilling}"
