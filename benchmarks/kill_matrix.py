"""Kill and stall every process of the simulated teleoperation cell in motion, one by one.

    python benchmarks/kill_matrix.py            # about half a minute per process and signal

Prints how long the arms took to rest, and the fastest joint speed seen until four seconds later.
"""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
TEST = ROOT / "tests" / "integration" / "test_killed_processes.py"


def main() -> int:
    """Run the matrix of the test and print its table; returns pytest's exit code."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.jsonl"
        environment = {**os.environ, "ATE_KILL_MATRIX": "1", "ATE_KILL_REPORT": str(report)}
        command = [sys.executable, "-m", "pytest", "-q", str(TEST), *sys.argv[1:]]
        code = subprocess.run(command, cwd=ROOT, env=environment, check=False).returncode
        lines = report.read_text().splitlines() if report.exists() else []
        print(f"{'process':18} {'signal':8} {'rest [ms]':24} fastest [rad/s]")
        for case in map(json.loads, lines):
            rests = ", ".join(f"{side} {1e3 * rest:.0f}" for side, rest in case["rest_s"].items())
            print(f"{case['process']:18} {case['signal']:8} {rests:24} {case['fastest']:.2f}")
    return code


if __name__ == "__main__":
    sys.exit(main())
