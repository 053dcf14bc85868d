"""Tactics files: which kernel TensorRT chose for each operation, and builds that choose the same ones.

TensorRT chooses kernels by timing them, so two builds of one graph on two GPUs of one kind may differ. A build that
records (``--record-tactics``) writes its choices as JSON; one that is given that file (``--tactics``) times nothing:
every operation gets the kernel of the file, and an operation that is not in it fails the build. A hand may change the
file: all kernels that were timed stand with each choice. No hash rests on a tactics file: it is an input of the
build, as the graph is, and the plan that comes of it passes the same gate and gets its own hash.

API: editable timing caches of TensorRT 10.8 to 11.4 (`EDITABLE_TIMING_CACHE`, `ITimingCache.update`, `query`,
`queryKeys`) and `ERROR_ON_TIMING_CACHE_MISS`; the lines of the log are those that NVIDIA's sampleEditableTimingCache
reads. Keys hold for one release and one kind of GPU.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

from harmonyrt.common import HarmonyError, WorkFailed
from harmonyrt.common.files import write_json
from harmonyrt.export.targets import BuildOptions
from harmonyrt.runtime.backends.tensorrt.log import Log
from harmonyrt.runtime.backends.tensorrt.versions import Capability, named

KIND, SCHEMA = "harmonyrt-tactics", 1
_KEY, _TACTIC = re.compile(r"0x[0-9a-f]{32}"), re.compile(r"0x[0-9a-f]{1,16}")
_OPERATION = re.compile(r"Autotuning op (.+?)\s*\(key: (0x[0-9a-fA-F]{32})\)")
_CANDIDATE = re.compile(r"^\s*\d+, [\d.]+, [\d.]+, -?[\d.]+, ([^,]+), (0x[0-9a-fA-F]+)")


@dataclass
class TacticsFile:
    """The choices of a file, and what a build adds to them.

    Attributes:
        path: of the file.
        records: whether what is not in the file is timed and added; otherwise it fails the build.
        version: of TensorRT.
        gpu: compute capability, for example ``"8.9"``.
        entries: by key of the operation: ``tactic`` and ``milliseconds``, and where TensorRT told them ``operation``
            and ``kernels``, the names of all that were timed, by their tactics.
    """

    path: Path
    records: bool
    version: str
    gpu: str
    entries: dict[str, dict[str, Any]]
    _heard: _Heard = field(default_factory=lambda: _Heard())

    @classmethod
    def choose(cls, trt: ModuleType, options: BuildOptions, capability: Capability) -> TacticsFile | None:
        """What a build was given; None where it was given nothing.

        Raises:
            HarmonyError: this release has no editable timing cache, or the file does not fit.
        """
        if options.tactics is None:
            return None
        if not hasattr(trt, "TimingCacheKey"):
            raise HarmonyError(
                f"tactics can be chosen from TensorRT 10.8 on, found {trt.__version__}: leave --tactics and"
                " --record-tactics out, or install a newer one"
            )
        if options.optimization_level == 0:
            raise HarmonyError("optimisation level 0 takes the first kernel that works; give a tactics build 1 to 5")
        made = cls(options.tactics, options.record_tactics, trt.__version__, named(capability), {})
        if made.path.exists() or not made.records:
            made.entries = made._read()
        return made

    def load(self, trt: ModuleType, config: Any, log: Log) -> None:
        """Give a builder's configuration the choices of the file.

        Raises:
            HarmonyError: TensorRT does not take one of them.
        """
        config.set_flag(trt.BuilderFlag.EDITABLE_TIMING_CACHE)
        timings = config.create_timing_cache(b"")
        for key, entry in self.entries.items():
            value = trt.TimingCacheValue(int(entry["tactic"], 16), entry["milliseconds"])
            if not timings.update(trt.TimingCacheKey.parse(key), value):
                raise HarmonyError(
                    f"TensorRT {self.version} does not take tactic {entry['tactic']} for {key} of {self.path}:"
                    f" {log.last_error}; record the file again"
                )
        if self.records:
            log.listeners.append(self._heard)
        else:
            config.set_flag(trt.BuilderFlag.ERROR_ON_TIMING_CACHE_MISS)
        config.set_timing_cache(timings, ignore_mismatch=False)

    def why_failed(self, log: Log) -> str:
        """The end of a sentence about a build that failed with these choices."""
        return (
            f"{log.last_error}; with --tactics every operation must be in {self.path}: record it again for this graph"
        )

    def save(self, config: Any) -> None:
        """After a build: add what was timed to the file, or see that nothing was.

        Raises:
            WorkFailed: a build that should not have timed anything did.
        """
        timings = config.get_timing_cache()
        chosen = {str(key): timings.query(key) for key in timings.queryKeys()}
        new = {key: value for key, value in chosen.items() if key not in self.entries and value.timingMSec >= 0}
        if not self.records and new:
            raise WorkFailed(
                f"{len(new)} operations are not in {self.path} and were chosen by timing, {min(new)} among them;"
                " record the file again for this graph"
            )
        if self.records:
            heard = self._heard.operations
            self.entries |= {key: {**_written(value), **heard.get(key, {})} for key, value in new.items()}
            about = {"kind": KIND, "schema": SCHEMA, "tensorrt": self.version, "compute_capability": self.gpu}
            write_json(self.path, {**about, "tactics": dict(sorted(self.entries.items()))})

    def _read(self) -> dict[str, dict[str, Any]]:
        try:
            found = json.loads(self.path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise HarmonyError(f"{self.path} cannot be read ({error}); record it with --record-tactics") from None
        if not isinstance(found, dict) or found.get("kind") != KIND or found.get("schema") != SCHEMA:
            raise HarmonyError(f"{self.path} is not a tactics file of schema {SCHEMA}; record it with --record-tactics")
        made_for = (found.get("tensorrt"), found.get("compute_capability"))
        if made_for != (self.version, self.gpu):
            raise HarmonyError(
                f"{self.path} was recorded with TensorRT {made_for[0]} on compute capability {made_for[1]}, and this is"
                f" TensorRT {self.version} on {self.gpu}: record one here"
            )
        entries = found.get("tactics")
        wrong = (
            [key for key, entry in entries.items() if not _is_entry(key, entry)] if isinstance(entries, dict) else ()
        )
        if not isinstance(entries, dict) or wrong:
            raise HarmonyError(
                f"{self.path} has no tactic and milliseconds for {wrong[0] if wrong else 'its operations'}; mend it, or"
                " record it again"
            )
        return entries


def _is_entry(key: str, entry: Any) -> bool:
    if not isinstance(entry, dict) or not _KEY.fullmatch(key) or not _TACTIC.fullmatch(str(entry.get("tactic"))):
        return False
    milliseconds = entry.get("milliseconds")
    return isinstance(milliseconds, int | float) and not isinstance(milliseconds, bool) and milliseconds >= 0


def _written(value: Any) -> dict[str, Any]:
    return {"tactic": hex(value.tacticHash), "milliseconds": round(value.timingMSec, 6)}


class _Heard:
    """Names of operations and their kernels, from what TensorRT says while it times them."""

    def __init__(self) -> None:
        self.operations: dict[str, dict[str, Any]] = {}
        self._kernels: dict[str, str] = {}

    def __call__(self, message: str) -> None:
        for line in message.splitlines():
            if operation := _OPERATION.search(line):
                self._kernels = {}
                self.operations[operation[2].lower()] = {"operation": operation[1], "kernels": self._kernels}
            elif candidate := _CANDIDATE.match(line):
                self._kernels[candidate[2].lower()] = candidate[1].strip()
