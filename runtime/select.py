"""Which backend runs a bundle: the first of :mod:`harmonyrt.runtime.choices` that this machine can run; never silently
another.

Whatever is passed over is reported with its reason.
"""

from __future__ import annotations

import importlib
import logging
import re
from dataclasses import dataclass
from types import ModuleType

from harmonyrt.common import HarmonyError, OutOfMemory
from harmonyrt.runtime.backends import Session, SessionOptions, failures
from harmonyrt.runtime.bundle import Bundle
from harmonyrt.runtime.choices import (
    BACKENDS,
    FASTEST,
    ONLY_ASKED_FOR,
    OPENS,
    Choice,
    check_precision,
    choices_for,
    kept_speed_of_kernels,
    slower_than_fp32,
    speed_for,
    wanted_engines,
)
from harmonyrt.runtime.machine import may_have_gpu
from harmonyrt.runtime.manifest import TARGETS

log = logging.getLogger("harmonyrt.runtime")


@dataclass(frozen=True)
class Selected:
    """What was opened, and what was passed over: pairs of label and reason."""

    choice: Choice
    session: Session
    why: str
    skipped: tuple[tuple[str, str], ...]


def open_best(
    bundle: Bundle, backend: str, target: str | None, options: SessionOptions, precision: str | None = None
) -> Selected:
    """Open the session that was asked for, or with ``"auto"`` the first of the order that this machine can run.

    Args:
        bundle: an open bundle.
        backend: ``"auto"`` or one of :data:`BACKENDS`.
        target: only engines of this target, for a bundle that has several for one backend; None for any.
        options: threads, device (None: any), cache.
        precision: only engines of this one; :data:`FASTEST`: any; None: any but those :data:`ONLY_ASKED_FOR`, unless
            nothing else can run.

    Raises:
        HarmonyError: an unknown name, or nothing that was asked for can run here; every reason is in the sentence.
    """
    if backend != "auto" and backend not in BACKENDS:
        raise HarmonyError(f"backend {backend!r} is not known; give auto or one of {', '.join(BACKENDS)}")
    device = options.device
    if device is not None and (not isinstance(device, str) or re.fullmatch(r"cpu|cuda(:\d+)?", device) is None):
        raise HarmonyError(f"device {device!r} is not known; give cpu, cuda or cuda:N, or none for any")
    if target is not None and target not in TARGETS:
        raise HarmonyError(f"target {target!r} is not known; give one of {', '.join(TARGETS)}")
    check_precision(precision)
    engines = wanted_engines(bundle.manifest, target, precision)
    decides = backend == "auto" or precision == FASTEST
    speed = speed_for(engines, options) if decides else kept_speed_of_kernels(engines, backend, options)
    choices, why = choices_for(bundle.manifest, engines, backend, options, precision, speed)
    skipped: list[tuple[str, str]] = []
    without_kernels: dict[tuple[str, str], str] = {}
    no_memory = False
    for choice in choices:
        try:
            reason, session = _try(bundle, choice)
        except OutOfMemory as error:
            reason, session, no_memory = str(error), None, True
        if session is not None:
            for label, cause in skipped:
                expected = may_have_gpu() or not label.endswith(", cuda)")
                log.log(logging.INFO if expected else logging.DEBUG, "skipped %s: %s", label, cause)
            no_kernels = without_kernels.get((choice.backend, choice.engine.target))
            if no_kernels is not None and not choice.engine.is_native:
                log.warning("%s: %s runs, slower than with native kernels: %s", bundle.path, choice.label, no_kernels)
            found = choice.engine.precision
            if precision is None and found in ONLY_ASKED_FOR and set(bundle.manifest.precisions) - set(ONLY_ASKED_FOR):
                log.warning("%s: %s runs unasked, since no other engine of it can run here", bundle.path, found)
            slow = slower_than_fp32(choice, speed, bundle.manifest) if decides else None
            if slow is not None:
                why = f"{why}; {slow}"
                log.warning("%s: %s", bundle.path, slow)
            log.info("opened %s with %s: %s", bundle.path, choice.label, why)
            return Selected(choice, session, why, tuple(skipped))
        skipped.append((choice.label, reason))
        if choice.engine.is_native:
            without_kernels[choice.backend, choice.engine.target] = reason
    if not skipped:
        found = ", ".join(engine.label for engine in bundle.manifest.engines)
        asked = f"backend {backend}" + (f", target {target}" if target else "")
        own = "openvino" if precision == "bf16" else "onnx"  # which has no BF16
        build = f"--targets {target or (OPENS[backend][0] if backend in OPENS else own)}"
        if precision not in (None, FASTEST):
            asked, build = f"{asked}, precision {precision}", f"{build} --precisions {precision}"
        raise HarmonyError(f"{bundle.path} has no engine for {asked}: found {found or 'none'}; build one with {build}")
    reasons = "; ".join(f"{label}: {reason}" for label, reason in skipped)
    kind = OutOfMemory if no_memory else HarmonyError
    raise kind(f"{bundle.path} cannot run as asked (backend {backend}, device {options.device}): {reasons}")


def _try(bundle: Bundle, choice: Choice) -> tuple[str, Session | None]:
    """A session, or why there is none.

    Raises:
        OutOfMemory: the engine was tried and memory ran out; another backend of the order may need less.
    """
    module = backend_module(choice.backend)
    reason = module.why_not(choice.engine, choice.options)
    if reason is not None:
        return reason, None
    path = bundle.verified_file(choice.engine)  # a tampered file is an error, not a reason to take another engine
    try:
        failures.check_room(path, sum(file.bytes for file in choice.engine.files))
        return "", module.open_session(path, choice.engine, bundle.manifest, choice.options)
    except OutOfMemory:
        raise
    except MemoryError as error:
        raise failures.no_memory(f"{path} cannot be opened ({error or 'MemoryError'})") from None
    except HarmonyError as error:
        return str(error), None


def backend_module(name: str) -> ModuleType:
    """The module of a backend, imported when it is first asked for."""
    try:
        return importlib.import_module(f"harmonyrt.runtime.backends.{name}")
    except ModuleNotFoundError as error:
        if error.name != f"harmonyrt.runtime.backends.{name}":
            raise
        raise HarmonyError(f"this installation has no {name} backend; install the full harmonyrt") from None
