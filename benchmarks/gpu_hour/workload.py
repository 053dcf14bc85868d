"""What NVIDIA's tools look at: one bundle, opened and called a few times, then closed.

python -m harmonyrt.benchmarks.gpu_hour.workload BUNDLE TARGET DEVICE CALLS
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from harmonyrt.benchmarks.gpu_hour.soak import picture
from harmonyrt.common.programs import module_command


def command(bundle: object, target: str, device: str, calls: int) -> list[str]:
    """The command that runs it."""
    return [*module_command("harmonyrt.benchmarks.gpu_hour.workload"), str(bundle), target, device, str(calls)]


def main(argv: Sequence[str] | None = None) -> int:
    """Open, call, close; prints how many calls were made."""
    bundle, target, device, calls = sys.argv[1:] if argv is None else argv
    from harmonyrt.runtime import Harmonizer

    pair = picture(512, 512)
    with Harmonizer.open(bundle, target=target, device=device) as harmonizer:
        for _ in range(int(calls)):  # the first plain, the second recorded, then replayed
            harmonizer.harmonize(*pair)
    print(f"{calls} calls")
    return 0


if __name__ == "__main__":
    sys.exit(main())
