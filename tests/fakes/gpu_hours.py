"""What the tests of the first hour with a GPU share."""

from __future__ import annotations

import json

MACHINE = {"card": None, "cpu": "a CPU", "python": "3.11", "versions": {"torch": "2"}, "system": "Linux"}


def numbers_in(found, path=""):
    """Where a structure has numbers."""
    if isinstance(found, dict):
        return [place for key, value in found.items() for place in numbers_in(value, f"{path}.{key}")]
    if isinstance(found, list):
        return [place for k, value in enumerate(found) for place in numbers_in(value, f"{path}[{k}]")]
    return [path] if isinstance(found, int | float) and not isinstance(found, bool) else []


def rows(hour):
    return [json.loads(line) for line in hour.rows_file.read_text().splitlines()]
