"""Tensors of the open inference protocol, version 2, over HTTP: JSON, with binary data behind it.

Source: the protocol's inference API and its binary tensor data extension (little-endian, row by row, no padding).
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from harmonyrt.serving.problems import Problem

DATATYPES = {
    "BOOL": "?",
    "UINT8": "u1",
    "UINT16": "<u2",
    "UINT32": "<u4",
    "UINT64": "<u8",
    "INT8": "i1",
    "INT16": "<i2",
    "INT32": "<i4",
    "INT64": "<i8",
    "FP16": "<f2",
    "FP32": "<f4",
    "FP64": "<f8",
}
"""NumPy's name of each data type that is known here."""
JSON_LENGTH = "inference-header-content-length"
_MOST_JSON = 16 << 20


@dataclass(frozen=True)
class Spec:
    """A tensor that a model takes or gives; -1 in its shape is any number."""

    name: str
    datatype: str
    shape: tuple[int, ...]

    def described(self) -> dict[str, Any]:
        """As a model's metadata has it."""
        return {"name": self.name, "datatype": self.datatype, "shape": list(self.shape)}


@dataclass(frozen=True)
class Inference:
    """A request: its tensors, its parameters, and which outputs it wants in which form.

    Attributes:
        tensors: by name; views of the request's body where they came as binary data.
        parameters: what is neither a tensor nor the protocol's own.
        outputs: wanted, and whether as binary data.
        id: of the request, given back.
    """

    tensors: dict[str, np.ndarray]
    parameters: dict[str, Any]
    outputs: dict[str, bool]
    id: str | None = field(default=None)


def _bad(what: str) -> Problem:
    return Problem(400, what)


def read_inference(
    body: bytearray, headers: Mapping[str, str], inputs: Sequence[Spec], outputs: Sequence[Spec]
) -> Inference:
    """Read the body of an inference request.

    Args:
        body: JSON, and binary data behind it.
        headers: of the request, names in lower case.
        inputs: all that the model takes; each must be there.
        outputs: all that it gives.

    Raises:
        Problem: 400: not as the protocol has it, or not as the model has it.
    """
    if headers.get("content-encoding", "identity").lower() not in ("", "identity"):
        raise Problem(415, "the body is compressed; send it as it is")
    length = _json_length(headers, len(body))
    request = _json(body, length)
    rest = memoryview(body)[length:]
    given = request.get("inputs")
    if not isinstance(given, list) or not all(isinstance(one, dict) for one in given):
        raise _bad("the request has no list of inputs; give one, as the protocol has it")
    known, tensors, at = {spec.name: spec for spec in inputs}, {}, 0
    for one in given:
        name = one.get("name")
        if not isinstance(name, str) or name not in known or name in tensors:
            raise _bad(f"the request has an input {str(name)[:80]!r}; give each of {', '.join(known)} once")
        shape = _shape(one, known[name])
        size = _parameters(one).get("binary_data_size")
        if size is None:
            tensors[name] = _from_json(one, known[name], shape)
            continue
        wanted = math.prod(shape) * np.dtype(DATATYPES[known[name].datatype]).itemsize
        if not _is_whole(size) or size != wanted or at + size > len(rest):
            raise _bad(
                f"the input {name} of shape {list(shape)} has {wanted} bytes, its binary_data_size is {str(size)[:40]}"
                f" and {len(rest) - at} bytes are left of the body; send all of them"
            )
        tensors[name] = np.frombuffer(rest[at : at + size], DATATYPES[known[name].datatype]).reshape(shape)
        at += size
    for name in known:
        if name not in tensors:
            raise _bad(f"the request has no input {name}; give each of {', '.join(known)}")
    if at != len(rest):
        raise _bad(f"the body has {len(rest) - at} bytes behind its tensors; send none")
    parameters = dict(_parameters(request))
    binary = parameters.pop("binary_data_output", False) is True
    identity = request.get("id")
    return Inference(
        tensors,
        parameters,
        _outputs(request, outputs, binary),
        identity if isinstance(identity, str) and len(identity) <= 1000 else None,
    )


def _json_length(headers: Mapping[str, str], size: int) -> int:
    given = headers.get(JSON_LENGTH)
    if given is None:
        length = size
    elif given.isascii() and given.isdigit() and len(given) < 12 and int(given) <= size:
        length = int(given)
    else:
        raise _bad(f"the {JSON_LENGTH} is {given[:40]!r} and the body has {size} bytes; give the length of its JSON")
    if length > _MOST_JSON:
        raise _bad(f"the request has more than {_MOST_JSON >> 20} MB of JSON; send its tensors as binary data")
    return length


def _json(body: bytearray, length: int) -> dict[str, Any]:
    try:
        request = json.loads(body[:length])
    except (ValueError, RecursionError) as error:
        what = str(error)[:100] if isinstance(error, ValueError) else "nested too deeply"
        raise _bad(f"the request is no JSON ({what}); send the protocol's own") from None
    if not isinstance(request, dict):
        raise _bad("the request is no JSON object; send the protocol's own")
    return request


def _parameters(of: dict[str, Any]) -> dict[str, Any]:
    found = of.get("parameters")
    if found is not None and not isinstance(found, dict):
        raise _bad("the parameters are no JSON object; send one, or none")
    return found or {}


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _shape(one: dict[str, Any], spec: Spec) -> tuple[int, ...]:
    shape, datatype = one.get("shape"), one.get("datatype")
    if datatype != spec.datatype:
        raise _bad(f"the input {spec.name} is of {str(datatype)[:40]}; give {spec.datatype}")
    fits = isinstance(shape, list) and len(shape) == len(spec.shape)
    sides = zip(shape, spec.shape, strict=True) if isinstance(shape, list) and fits else ()
    if not fits or not all(_is_whole(side) and 0 < side < 1 << 31 and wanted in (-1, side) for side, wanted in sides):
        raise _bad(f"the input {spec.name} has the shape {str(shape)[:80]}; give {list(spec.shape)} (-1: any number)")
    return tuple(shape)  # type: ignore[arg-type]  # a list of whole numbers: checked above


def _from_json(one: dict[str, Any], spec: Spec, shape: tuple[int, ...]) -> np.ndarray:
    count = math.prod(shape)
    try:
        values = np.array(one.get("data"))
    except (ValueError, OverflowError, RecursionError):
        values = np.empty(0, object)
    kind = np.dtype(DATATYPES[spec.datatype])
    numbers = values.dtype.kind in ("iufb" if kind.kind == "f" else "iub")
    if values.size != count or not numbers or values.shape not in (shape, (count,)):
        raise _bad(f"the data of the input {spec.name} are no {count} numbers; give them row by row, or binary data")
    if kind.kind in "ui" and (values.min() < np.iinfo(kind).min or values.max() > np.iinfo(kind).max):
        raise _bad(f"the data of the input {spec.name} go beyond {spec.datatype}; give what it holds")
    return values.astype(kind).reshape(shape)


def _outputs(request: dict[str, Any], specs: Sequence[Spec], binary: bool) -> dict[str, bool]:
    known = [spec.name for spec in specs]
    given = request.get("outputs")
    if given is None:
        return dict.fromkeys(known, binary)
    if not isinstance(given, list) or not all(isinstance(one, dict) for one in given):
        raise _bad("the outputs are no list of objects; give one, or none for all")
    found = {}
    for one in given:
        name = one.get("name")
        if name not in known:
            raise _bad(f"the request wants an output {str(name)[:80]!r}; the model gives {', '.join(known)}")
        found[name] = _parameters(one).get("binary_data", binary) is True
    return found or dict.fromkeys(known, binary)


def write_inference(
    model: str, version: str, request: Inference, outputs: Mapping[str, np.ndarray], specs: Sequence[Spec]
) -> tuple[bytes, int | None]:
    """The body of the answer, and the length of its JSON where binary data follow."""
    described, pieces = [], []
    for spec in specs:
        if spec.name not in request.outputs:
            continue
        values = np.ascontiguousarray(outputs[spec.name], DATATYPES[spec.datatype])
        one: dict[str, Any] = {"name": spec.name, "datatype": spec.datatype, "shape": list(values.shape)}
        if request.outputs[spec.name]:
            one["parameters"] = {"binary_data_size": values.nbytes}
            pieces.append(values.tobytes())
        else:
            one["data"] = values.ravel().tolist()
        described.append(one)
    answer: dict[str, Any] = {"model_name": model, "model_version": version, "outputs": described}
    if request.id is not None:
        answer["id"] = request.id
    head = json.dumps(answer).encode()
    return b"".join([head, *pieces]), len(head) if pieces else None
