"""What TensorRT says while it works, kept for sentences instead of printed."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import ModuleType
from typing import Any


@dataclass
class Log:
    """Errors so far; `logger` is what TensorRT's constructors want, and must live as long as what they made."""

    logger: Any = None
    errors: list[str] = field(default_factory=list)

    @property
    def last_error(self) -> str:
        """The last error as the end of a sentence."""
        return " ".join(self.errors[-1].split()) if self.errors else "it gave no reason"


def open_log(trt: ModuleType) -> Log:
    """A log for a flavour of TensorRT."""
    log = Log()
    serious = (trt.ILogger.Severity.ERROR, trt.ILogger.Severity.INTERNAL_ERROR)

    class Logger(trt.ILogger):  # type: ignore[name-defined, misc]
        def __init__(self) -> None:
            trt.ILogger.__init__(self)

        def log(self, severity: Any, message: str) -> None:
            if severity in serious:
                log.errors.append(message)

    log.logger = Logger()
    return log
