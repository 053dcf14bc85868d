"""What a frame leaves for the next one, in a file: plain arrays and numbers, so that opening one runs nothing."""

from __future__ import annotations

import json
from collections import deque
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np

from harmonyrt.common import HarmonyError
from harmonyrt.runtime.colour_maps import ColourMaps
from harmonyrt.runtime.fit import Fitted
from harmonyrt.video.looking import Look
from harmonyrt.video.steadiness import State, Steadier
from harmonyrt.video.watching import Watcher

_CLASSES = {kind.__name__: kind for kind in (State, Watcher, Steadier, Look, Fitted, ColourMaps)}


def write_state(path: Path, state: State) -> None:
    """Write a state."""
    arrays: dict[str, np.ndarray] = {}
    described = _described(state, arrays)
    with open(path, "wb") as file:
        np.savez(file, described=np.array(json.dumps(described)), **arrays)  # type: ignore[arg-type]  # names are a0, a1


def read_state(path: Path) -> State:
    """Read a state.

    Raises:
        HarmonyError: the file is damaged.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            state = _made(json.loads(str(file["described"])), file)
    except (OSError, ValueError, KeyError) as error:
        raise HarmonyError(f"{path} is damaged ({error}); remove its folder and begin again") from None
    return state


def _described(value: Any, arrays: dict[str, np.ndarray]) -> Any:
    if isinstance(value, np.ndarray):
        name = f"a{len(arrays)}"
        arrays[name] = value
        return {"array": name}
    if type(value).__name__ in _CLASSES:
        kept = {f.name: _described(getattr(value, f.name), arrays) for f in fields(value) if f.name != "answer"}
        return {"class": type(value).__name__, "fields": kept}
    if isinstance(value, (tuple, deque)):
        return {"tuple": [float(number) for number in value]}
    return value.item() if isinstance(value, np.generic) else value


def _made(described: Any, file: Any) -> Any:
    if not isinstance(described, dict):
        return described
    if "array" in described:
        return file[described["array"]]
    if "tuple" in described:
        return tuple(described["tuple"])
    made = {name: _made(value, file) for name, value in described["fields"].items()}
    if described["class"] == "Watcher":
        made["answer"] = None
    if described["class"] == "Steadier":
        made["_waiting"] = deque()
    return _CLASSES[described["class"]](**made)
