"""What a server is started with: its options, with their defaults, checked."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, field
from pathlib import Path

from harmonyrt.common import HarmonyError

MEGABYTE = 1_000_000


@dataclass(frozen=True)
class Settings:
    """Options of `harmonyrt serve`, as its ``--help`` explains them.

    Attributes:
        bundles: folders that `harmonyrt build` wrote; the first one is the default model.
        host: address to listen on.
        port: 0 for any free one.
        sessions: how many requests the engine works on at once; None for the runtime's default.
        threads: CPU threads of the engine; None for all cores.
        queue: how many requests may wait for their turn.
        max_wait: seconds that a request may expect to wait for its turn; more are refused. None: about twice what it
            takes by itself, so that answers stay quick under any load.
        timeout: seconds for a request, from its first byte to its answer.
        max_upload_mb: largest body, in megabytes (10^6 bytes).
        max_megapixels: largest picture.
        megapixels_in_flight: how many megapixels are decoded at once; None: what four of the largest pictures have.
        api_keys: file of keys; None: everybody may ask.
        log: "json" or "text".
        backend: as `Harmonizer.open` takes it.
        device: likewise.
        target: likewise.
        precision: likewise.
        provider: likewise.
    """

    bundles: tuple[Path, ...]
    host: str = "127.0.0.1"
    port: int = 8000
    sessions: int | None = None
    threads: int | None = None
    queue: int = 64
    max_wait: float | None = None
    timeout: float = 30.0
    max_upload_mb: float = 64.0
    max_megapixels: float = 60.0
    megapixels_in_flight: float | None = None
    api_keys: Path | None = None
    log: str = "text"
    backend: str = "auto"
    device: str | None = None
    target: str | None = None
    precision: str | None = None
    provider: str | None = None
    stall: float = field(default=10.0)

    def __post_init__(self) -> None:
        """Refuse what cannot be.

        Raises:
            HarmonyError: no bundle, or a number out of its range.
        """
        if not self.bundles:
            raise HarmonyError("no bundle was given; name the folder of one that harmonyrt build wrote")
        for name in ("timeout", "max_upload_mb", "max_megapixels", "stall"):
            if not getattr(self, name) > 0:
                raise HarmonyError(f"--{name.replace('_', '-')} is {getattr(self, name):g}; give a number above 0")
        for name in ("max_wait", "megapixels_in_flight"):
            value = getattr(self, name)
            if value is not None and not value >= 0:
                raise HarmonyError(f"--{name.replace('_', '-')} is {value:g}; give a number above 0")
        if self.queue < 0:
            raise HarmonyError(f"--queue is {self.queue}; give 0 or more")
        if not 0 <= self.port <= 65535:
            raise HarmonyError(f"--port is {self.port}; give 0 (any free one) to 65535")
        if self.log not in ("json", "text"):
            raise HarmonyError(f"--log is {self.log}; give json or text")

    @property
    def upload_limit(self) -> int:
        """Largest body in bytes."""
        return int(self.max_upload_mb * MEGABYTE)

    @property
    def is_public(self) -> bool:
        """Whether other machines can reach the address."""
        if self.host == "localhost":
            return False
        try:
            return not ipaddress.ip_address(self.host).is_loopback
        except ValueError:  # a name
            return True
