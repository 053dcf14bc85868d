"""Stand-ins of compute-sanitizer, nsys and ncu for dry runs: they run the program and write what its readers expect.

    python gpu_tools.py NAME OPTIONS... PROGRAM ARGUMENTS...

Options that the real programs do not have are refused, as they would refuse them.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

# Options with a value, as the programs' manuals have them (Compute Sanitizer 2025.3, Nsight Systems 2025.5, Nsight
# Compute 2025.3).
SANITIZER = {"--tool", "--error-exitcode", "--target-processes", "--leak-check"}
PROFILE = {"--trace", "--sample", "--cpuctxsw", "--cuda-graph-trace", "--force-overwrite", "--output"}
STATS = {"--report", "--format", "--force-export", "--output"}
COMPUTE = {"--set", "--launch-count", "--target-processes", "--log-file"}
SWITCHES = {"--csv"}


def split(given: list[str], options: set[str]) -> tuple[dict[str, str], list[str]]:
    """Options, and what follows them."""
    found: dict[str, str] = {}
    while given and given[0].startswith("--"):
        name, *given = given
        if name in SWITCHES:
            continue
        if name not in options:
            sys.exit(f"unrecognized option '{name}'")
        found[name], *given = given
    return found, given


def main(given: list[str]) -> int:
    name, *given = given
    if name == "compute-sanitizer":
        options, program = split(given, SANITIZER)
        print("========= COMPUTE-SANITIZER")
        code = subprocess.run(program).returncode
        kind = "RACECHECK" if options["--tool"] == "racecheck" else "ERROR"
        print(f"========= {kind} SUMMARY: 0 errors")
        return code
    if name == "ncu":
        options, program = split(given, COMPUTE)
        code = subprocess.run(program).returncode
        Path(options["--log-file"]).write_text('"ID","Kernel Name","Metric Name","Metric Value"\n')
        return code
    verb, *given = given
    if verb == "profile":
        options, program = split(given, PROFILE)
        code = subprocess.run(program).returncode
        Path(options["--output"] + ".nsys-rep").write_text("dry")
        return code
    options, files = split(given, STATS)
    assert all(Path(file).exists() for file in files)
    rows = [{"Time (%)": 100.0, "Total Time (ns)": 1, "Instances": 1, "Name": "a stand-in"}]
    Path(f"{options['--output']}_{options['--report']}.json").write_text(json.dumps(rows))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
