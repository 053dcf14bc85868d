"""The model that harmonizes pictures in Triton: its Python backend makes one object for each instance.

`model.py` of a repository imports it from here, so the Python of the server needs `harmonyrt` and one inference engine.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from harmonyrt.common import HarmonyError, WorkFailed
from harmonyrt.runtime.caller import heard
from harmonyrt.runtime.harmonizer import Harmonizer
from harmonyrt.runtime.machine import cores
from harmonyrt.serving.parameters import number, read_parameters, whole_number

BUNDLE = "bundle"


class TritonPythonModel:
    """A composite and its mask in, the harmonized picture out.

    `composite` and `harmonized` are UINT8 [height, width, 3], `mask` is UINT8 [height, width].

    Parameters of a request: `strength` (0 to 1.5), `keep` ("luminance" or "hue"), `fit_mask`; of a DiffHarmony bundle
    `seed`, `sample` and `steps` too. What the runtime remarks goes into the server's log, and to the client as the
    answer's parameter `remarks` where Triton's release has such.
    """

    def initialize(self, args: Mapping[str, str]) -> None:
        """Open the bundle of the version's folder.

        Args:
            args: of the backend, with `model_config`, `model_repository` (the model's folder), `model_version`,
                `model_instance_kind` and `model_instance_device_id`.
        """
        import triton_python_backend_utils as triton  # only there inside Triton

        self._triton = triton
        config = json.loads(args["model_config"])
        given = {name: value["string_value"] for name, value in config.get("parameters", {}).items()}
        kind, ordinal = args["model_instance_kind"], args["model_instance_device_id"]
        instances = sum(int(group.get("count", 1)) for group in config.get("instance_group", ())) or 1
        try:
            self._harmonizer = Harmonizer.open(
                Path(args["model_repository"], args["model_version"], BUNDLE),
                backend=given.get("backend", "auto"),
                threads=whole_number("threads", given.get("threads", max(1, cores() // instances)), 1),
                device={"CPU": "cpu", "GPU": f"cuda:{ordinal}"}.get(kind.removeprefix("KIND_")),
                target=given.get("target"),
                precision=given.get("precision"),
                sessions=1,
                megapixel_limit=number("max_megapixels", given.get("max_megapixels", 60)),
            )
        except HarmonyError as error:
            raise triton.TritonModelException(str(error)) from None
        self._tells_remarks = _has_parameters(triton)
        info = self._harmonizer.info
        self._diffusion = info.model == "diffharmony"
        triton.Logger.log_info(f"{args['model_name']}: {info.backend} on {info.device}, {info.precision}: {info.why}")
        if info.random_weights:
            triton.Logger.log_warn(f"{args['model_name']}: the weights are random: its pictures mean nothing")

    def execute(self, requests: Sequence[Any]) -> list[Any]:
        """Answer requests, each with its picture or with its own error."""
        return [self._answer(request) for request in requests]

    def finalize(self) -> None:
        """Give the engine back."""
        self._harmonizer.close()

    def _answer(self, request: Any) -> Any:
        triton = self._triton
        try:
            options = read_parameters(json.loads(request.parameters() or "{}"), self._diffusion)
            composite, mask = (
                triton.get_input_tensor_by_name(request, name).as_numpy() for name in ("composite", "mask")
            )
            with heard() as sentences:
                picture = self._harmonizer.harmonize(composite, mask, **options)
        except (HarmonyError, MemoryError) as error:
            failed = isinstance(error, (WorkFailed, MemoryError))
            sentence = str(error) or "the machine ran out of memory; send a smaller picture"
            code = triton.TritonError.INTERNAL if failed else triton.TritonError.INVALID_ARG
            return triton.InferenceResponse(error=triton.TritonError(sentence, code))
        output = triton.Tensor("harmonized", np.ascontiguousarray(picture))
        for message, _ in sentences:
            triton.Logger.log_warn(message)
        if not sentences or not self._tells_remarks:
            return triton.InferenceResponse([output])
        remarks = "\n".join(message for message, _ in sentences)
        return triton.InferenceResponse([output], parameters={"remarks": remarks})


def _has_parameters(triton: Any) -> bool:
    """Whether answers may have parameters in this release of Triton."""
    try:
        triton.InferenceResponse([], parameters={"remarks": ""})
    except TypeError:
        return False
    return True
