"""What TensorRT says while it works, kept for sentences instead of printed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any


@dataclass
class Log:
    """Errors and warnings so far; `logger` is what TensorRT's constructors want, and must outlive what they made.

    `listeners` are told every message, of any severity.
    """

    logger: Any = None
    errors: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    listeners: list[Callable[[str], None]] = field(default_factory=list)

    @property
    def last_error(self) -> str:
        """The last error as the end of a sentence; 8.6 says only by a warning that CUDA does not start."""
        said = self.errors or self.warnings
        return " ".join(said[-1].split()) if said else "it gave no reason"


def open_log(trt: ModuleType) -> Log:
    """Make a logger of the installed TensorRT or TensorRT for RTX."""
    log = Log()
    severities = trt.ILogger.Severity

    class Logger(trt.ILogger):  # type: ignore[name-defined, misc]
        def __init__(self) -> None:
            trt.ILogger.__init__(self)

        def log(self, severity: Any, message: str) -> None:
            if severity in (severities.ERROR, severities.INTERNAL_ERROR):
                log.errors.append(message)
            elif severity == severities.WARNING:
                log.warnings.append(message)
            for listener in log.listeners:
                listener(message)

    log.logger = Logger()
    return log
