"""``python -m harmonyrt.training``: the training loop without the rest of the command line."""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import fields, replace
from pathlib import Path

from harmonyrt.common import HarmonyError
from harmonyrt.training.config import PRACTICAL_STAGES, TrainConfig
from harmonyrt.training.train import train


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m harmonyrt.training", description="Train PHNet; resumes a run.")
    parser.add_argument("--data", type=Path, required=True, help="data root, or a dataset in iHarmony4's layout")
    parser.add_argument("--out", type=Path, required=True, help="run folder")
    length = parser.add_mutually_exclusive_group(required=True)
    length.add_argument("--minutes", type=float, help="wall-clock length that the schedule follows")
    length.add_argument("--steps", type=int)
    parser.add_argument("--shares", type=float, nargs=3, help="of the run, by stage")
    parser.add_argument("--sizes", type=int, nargs=3, help="pixels per side, by stage")
    parser.add_argument("--batches", type=int, nargs=3, help="pictures per step, by stage")
    parser.add_argument("--lr", type=float, default=1e-3)
    for name, kind in (("threads", int), ("workers", int), ("seed", int), ("ema", float), ("validate-every", float)):
        parser.add_argument(f"--{name}", type=kind)
    parser.add_argument("--optimizer", choices=("adamw", "lion"))
    parser.add_argument("--loss", choices=("foreground", "released", "paper"))
    parser.add_argument("--device")
    parser.add_argument("--ship", type=Path, help="where to write fp16 weights at every validation")
    options = vars(parser.parse_args(arguments))
    shares = options.pop("shares") or [stage.share for stage in PRACTICAL_STAGES]
    lr = options.pop("lr")
    sizes = options.pop("sizes") or [stage.size for stage in PRACTICAL_STAGES]
    batches = options.pop("batches") or [stage.batch for stage in PRACTICAL_STAGES]
    parts = zip(PRACTICAL_STAGES, sizes, batches, shares, strict=True)
    stages = tuple(replace(stage, size=size, batch=batch, share=share, lr=lr) for stage, size, batch, share in parts)
    known = {field.name for field in fields(TrainConfig)}
    settings = {key: value for key, value in options.items() if value is not None and key in known}
    try:
        result = train(TrainConfig(**settings, stages=stages))
    except HarmonyError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    print(json.dumps({"steps": result.steps, "minutes": round(result.minutes, 1), **result.validation}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
