"""API keys: a file with one on each line, or the SHA-256 of one as `sha256:HEX`. Only hashes are kept in memory."""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Mapping
from pathlib import Path

from harmonyrt.common import HarmonyError
from harmonyrt.serving.problems import Problem

_SHORTEST = 16  # characters


class Keys:
    """Those who may ask.

    Args:
        hashes: SHA-256 of every key; empty: everybody may.
    """

    def __init__(self, hashes: tuple[bytes, ...] = ()) -> None:
        self._hashes = hashes

    @classmethod
    def read(cls, path: Path | None) -> Keys:
        """Read a file of keys; blank lines and those that begin with # are comments.

        Raises:
            HarmonyError: it cannot be read, holds none, or one that is too short to be secret.
        """
        if path is None:
            return cls()
        try:
            lines = [line.strip() for line in path.read_text(encoding="utf-8").splitlines()]
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is not text"
            raise HarmonyError(f"the API keys in {path} cannot be read ({reason}); give a file of lines") from None
        found = []
        for number, line in enumerate(lines, 1):
            if not line or line.startswith("#"):
                continue
            hashed = re.fullmatch(r"sha256:([0-9a-fA-F]{64})", line)
            if hashed is None and (len(line) < _SHORTEST or not line.isascii() or " " in line):
                raise HarmonyError(
                    f"line {number} of {path} is no API key; give {_SHORTEST} ASCII characters or more without spaces,"
                    " or sha256: and the hash of a key"
                )
            found.append(bytes.fromhex(hashed[1]) if hashed else _hash(line))
        if not found:
            raise HarmonyError(f"{path} holds no API key; write one on a line, or leave --api-keys out")
        return cls(tuple(found))

    def __bool__(self) -> bool:
        return bool(self._hashes)

    def check(self, headers: Mapping[str, str]) -> None:
        """Refuse who brings no known key, in `Authorization: Bearer KEY` or `X-API-Key: KEY`.

        Raises:
            Problem: 401.
        """
        if not self._hashes:
            return
        scheme, _, given = headers.get("authorization", "").partition(" ")
        key = given.strip() if scheme.lower() == "bearer" else headers.get("x-api-key", "")
        presented = _hash(key)
        found = False
        for known in self._hashes:  # every one, so that time tells nothing
            found |= hmac.compare_digest(known, presented)
        if not found:
            what = "this API key is not known" if key else "no API key was given"
            raise Problem(
                401, f"{what}; send one as Authorization: Bearer KEY", {"WWW-Authenticate": 'Bearer realm="harmonyrt"'}
            )


def _hash(key: str) -> bytes:
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).digest()
