"""TensorRT's Python API as far as we call it, written down from NVIDIA's own bindings; the fakes are held to it.

Source: the bindings themselves, as the wheels on PyPI carry them, for 8.6.1, 10.0.1, 10.4.0, 10.16.1, 11.1.0 and
11.4.0, the newest in November 2026 (11.2.1 and 11.3.0 were read too: of what stands here they have what 11.1 has).
`tests/runtime/backends/tensorrt/test_api.py` holds the fakes to the table, the table to the bindings that are installed
(:mod:`fakes.tensorrt_bindings`; `make test-tensorrt-api` fetches those of every release), and to TensorRT for RTX.
"""

from __future__ import annotations

VERSIONS = ("8.6.1", "10.0.1", "10.4.0", "10.16.0", "11.1.0", "11.4.0")

# Class.method: parameters; the same in every version unless it stands in SINCE or UNTIL. An overload is any of several.
METHODS: dict[str, tuple[tuple[str, ...], ...]] = {
    "Builder.create_network": (("flags",),),
    "Builder.create_builder_config": ((),),
    "Builder.create_optimization_profile": ((),),
    "Builder.build_serialized_network": (("network", "config"),),
    "IBuilderConfig.set_flag": (("flag",),),
    "IBuilderConfig.clear_flag": (("flag",),),
    "IBuilderConfig.set_memory_pool_limit": (("pool", "pool_size"),),
    "IBuilderConfig.add_optimization_profile": (("profile",),),
    "IBuilderConfig.set_preview_feature": (("feature", "enable"),),
    "IBuilderConfig.create_timing_cache": (("serialized_timing_cache",),),
    "IBuilderConfig.set_timing_cache": (("cache", "ignore_mismatch"),),
    "IBuilderConfig.get_timing_cache": ((),),
    "ITimingCache.serialize": ((),),
    "ITimingCache.reset": ((),),
    "ITimingCache.combine": (("input_cache", "ignore_mismatch"),),
    "ITimingCache.queryKeys": ((),),
    "ITimingCache.query": (("key",),),
    "ITimingCache.update": (("key", "value"),),
    "IOptimizationProfile.set_shape": (("input", "min", "opt", "max"),),
    "IProgressMonitor.phase_start": (("phase_name", "parent_phase", "num_steps"),),
    "IProgressMonitor.step_complete": (("phase_name", "step"),),
    "IProgressMonitor.phase_finish": (("phase_name",),),
    "OnnxParser.parse_from_file": (("model",),),
    "OnnxParser.get_error": (("index",),),
    "ParserError.node": ((),),
    "ParserError.desc": ((),),
    "ParserError.node_name": ((),),
    "ParserError.node_operator": ((),),
    "INetworkDefinition.get_layer": (("index",),),
    "INetworkDefinition.get_input": (("index",),),
    "ILayer.get_input": (("index",),),
    "ILayer.get_output": (("index",),),
    "ILayer.set_output_type": (("index", "dtype"),),
    "Runtime.deserialize_cuda_engine": (("serialized_engine",),),
    "Runtime.load_runtime": (("path",),),
    "Runtime.get_engine_validity": (("buffer",),),
    "Refitter.get_missing_weights": ((),),
    "Refitter.refit_cuda_engine": ((),),
    "OnnxParserRefitter.refit_from_file": (("model",),),
    "OnnxParserRefitter.get_error": (("index",),),
    "ICudaEngine.get_tensor_name": (("index",),),
    "ICudaEngine.get_tensor_mode": (("name",),),
    "ICudaEngine.get_tensor_dtype": (("name",),),
    "ICudaEngine.get_tensor_shape": (("name",),),
    "ICudaEngine.get_tensor_profile_shape": (("name", "profile_index"),),
    "ICudaEngine.create_execution_context": (("strategy",), ("runtime_config",)),  # but see signatures()
    "ICudaEngine.create_runtime_config": ((),),
    "ICudaEngine.create_engine_inspector": ((),),
    "ICudaEngine.get_weight_streaming_automatic_budget": ((),),
    "EngineInspector.get_engine_information": (("format",),),
    "IRuntimeConfig.set_execution_context_allocation_strategy": (("strategy",),),
    "IExecutionContext.set_input_shape": (("name", "shape"),),
    "IExecutionContext.get_tensor_shape": (("name",),),
    "IExecutionContext.set_tensor_address": (("name", "memory"),),
    "IExecutionContext.execute_async_v3": (("stream_handle",),),
    "IExecutionContext.set_optimization_profile_async": (("profile_index", "stream_handle"),),
}

# Class.property: whether we may write it; 8.6 lets more be written.
PROPERTIES: dict[str, bool] = {
    "Builder.max_threads": True,
    "IBuilderConfig.flags": True,
    "IBuilderConfig.builder_optimization_level": True,
    "IBuilderConfig.hardware_compatibility_level": True,
    "IBuilderConfig.profiling_verbosity": True,
    "IBuilderConfig.progress_monitor": True,
    "OnnxParser.num_errors": False,
    "OnnxParserRefitter.num_errors": False,
    "INetworkDefinition.num_layers": False,
    "INetworkDefinition.num_inputs": False,
    "ILayer.type": False,
    "ILayer.name": True,
    "ILayer.num_inputs": False,
    "ILayer.num_outputs": False,
    "ILayer.precision": True,
    "Runtime.engine_host_code_allowed": True,
    "ICudaEngine.num_io_tensors": False,
    "ICudaEngine.num_optimization_profiles": False,
    "ICudaEngine.streamable_weights_size": False,
    "ICudaEngine.weight_streaming_budget_v2": True,
    "ICudaEngine.weight_streaming_scratch_memory_size": False,
    "IExecutionContext.active_optimization_profile": False,
}

_NEW_IN_10_0 = (
    *("IBuilderConfig.progress_monitor", "ICudaEngine.streamable_weights_size"),
    *("IProgressMonitor.phase_start", "IProgressMonitor.step_complete", "IProgressMonitor.phase_finish"),
    *("ParserError.node_name", "ParserError.node_operator"),
    *("OnnxParserRefitter.refit_from_file", "OnnxParserRefitter.get_error", "OnnxParserRefitter.num_errors"),
)
_NEW_IN_10_1 = (
    *("ICudaEngine.weight_streaming_budget_v2", "ICudaEngine.get_weight_streaming_automatic_budget"),
    "ICudaEngine.weight_streaming_scratch_memory_size",
)
_NEWER = (
    *("ITimingCache.queryKeys", "ITimingCache.query", "ITimingCache.update"),
    *("ICudaEngine.create_runtime_config", "IRuntimeConfig.set_execution_context_allocation_strategy"),
)
SINCE = {
    **dict.fromkeys(_NEW_IN_10_0, "10.0.1"),
    **dict.fromkeys(_NEW_IN_10_1, "10.4.0"),
    **dict.fromkeys(_NEWER, "10.16.0"),
}
"""First of VERSIONS that has it."""
ONLY_RTX = ("Runtime.get_engine_validity",)
"""What TensorRT for RTX has and TensorRT has not (1.7.1.116, by its own documentation strings)."""
UNTIL = {"ILayer.set_output_type": "10.16.0", "ILayer.precision": "10.16.0"}
"""Last of VERSIONS that has it."""

_FLAGS_10_4 = {
    *("FP16", "BF16", "INT8", "DEBUG", "GPU_FALLBACK", "REFIT", "DISABLE_TIMING_CACHE", "TF32", "SPARSE_WEIGHTS"),
    *("SAFETY_SCOPE", "OBEY_PRECISION_CONSTRAINTS", "PREFER_PRECISION_CONSTRAINTS", "DIRECT_IO"),
    *("REJECT_EMPTY_ALGORITHMS", "VERSION_COMPATIBLE", "EXCLUDE_LEAN_RUNTIME", "FP8", "ERROR_ON_TIMING_CACHE_MISS"),
    *("DISABLE_COMPILATION_CACHE", "WEIGHTLESS", "STRIP_PLAN", "REFIT_IDENTICAL", "WEIGHT_STREAMING", "INT4"),
    "REFIT_INDIVIDUAL",
}
_NEW_IN_10_16 = {"EDITABLE_TIMING_CACHE", "STRICT_NANS", "MONITOR_MEMORY", "FP4", "DISTRIBUTIVE_INDEPENDENCE"}
_GONE_IN_11 = {
    *("FP16", "BF16", "INT8", "FP8", "INT4", "FP4", "OBEY_PRECISION_CONSTRAINTS", "PREFER_PRECISION_CONSTRAINTS"),
    *("REJECT_EMPTY_ALGORITHMS", "WEIGHTLESS"),
}
_ONLY_8_6 = {"STRICT_TYPES", "ENABLE_TACTIC_HEURISTIC"}
_NEW_IN_10 = {
    *("BF16", "ERROR_ON_TIMING_CACHE_MISS", "DISABLE_COMPILATION_CACHE", "WEIGHTLESS", "STRIP_PLAN"),
    *("REFIT_IDENTICAL", "WEIGHT_STREAMING", "INT4", "REFIT_INDIVIDUAL"),
}
_TYPES_10 = {"FLOAT", "HALF", "BF16", "INT8", "INT32", "INT64", "BOOL", "UINT8", "FP8", "INT4"}
_POOLS = {"WORKSPACE", "DLA_MANAGED_SRAM", "DLA_LOCAL_DRAM", "DLA_GLOBAL_DRAM", "TACTIC_DRAM"}
_EVERY = dict.fromkeys

ENUMS: dict[str, dict[str, set[str]]] = {
    "BuilderFlag": {
        "8.6.1": _FLAGS_10_4 - _NEW_IN_10 | _ONLY_8_6,
        "10.0.1": _FLAGS_10_4 - {"INT4", "REFIT_INDIVIDUAL"},
        "10.4.0": _FLAGS_10_4,
        "10.16.0": _FLAGS_10_4 | _NEW_IN_10_16,
        **_EVERY(("11.1.0", "11.4.0"), (_FLAGS_10_4 | _NEW_IN_10_16) - _GONE_IN_11),
    },
    "NetworkDefinitionCreationFlag": {
        "8.6.1": {"EXPLICIT_BATCH", "EXPLICIT_PRECISION"},
        **_EVERY(("10.0.1", "10.4.0"), {"EXPLICIT_BATCH", "STRONGLY_TYPED"}),
        "10.16.0": {"EXPLICIT_BATCH", "STRONGLY_TYPED", "PREFER_AOT_PYTHON_PLUGINS", "PREFER_JIT_PYTHON_PLUGINS"},
        **_EVERY(("11.1.0", "11.4.0"), {"STRONGLY_TYPED", "PREFER_AOT_PYTHON_PLUGINS", "PREFER_JIT_PYTHON_PLUGINS"}),
    },
    "DataType": {
        "8.6.1": {"FLOAT", "HALF", "INT8", "INT32", "BOOL", "UINT8", "FP8"},
        **_EVERY(("10.0.1", "10.4.0"), _TYPES_10),
        **_EVERY(VERSIONS[3:], _TYPES_10 | {"FP4", "E8M0"}),
    },
    "HardwareCompatibilityLevel": {
        **_EVERY(("8.6.1", "10.0.1", "10.4.0"), {"NONE", "AMPERE_PLUS"}),
        **_EVERY(VERSIONS[3:], {"NONE", "AMPERE_PLUS", "SAME_COMPUTE_CAPABILITY"}),
    },
    "PreviewFeature": {
        "8.6.1": {
            "FASTER_DYNAMIC_SHAPES_0805",
            "DISABLE_EXTERNAL_TACTIC_SOURCES_FOR_CORE_0805",
            "PROFILE_SHARING_0806",
        },
        "10.0.1": {"PROFILE_SHARING_0806"},
        "10.4.0": {"PROFILE_SHARING_0806", "ALIASED_PLUGIN_IO_10_03"},
        "10.16.0": {
            *("PROFILE_SHARING_0806", "ALIASED_PLUGIN_IO_10_03"),
            *("RUNTIME_ACTIVATION_RESIZE_10_10", "MULTIDEVICE_RUNTIME_10_16"),
        },
        **_EVERY(("11.1.0", "11.4.0"), {"ALIASED_PLUGIN_IO_10_03", "RUNTIME_ACTIVATION_RESIZE_10_10"}),
    },
    "ExecutionContextAllocationStrategy": {
        "8.6.1": set(),
        **_EVERY(VERSIONS[1:], {"STATIC", "ON_PROFILE_CHANGE", "USER_MANAGED"}),
    },
    "TensorIOMode": _EVERY(VERSIONS, {"NONE", "INPUT", "OUTPUT"}),
    "LayerInformationFormat": _EVERY(VERSIONS, {"ONELINE", "JSON"}),
    "ProfilingVerbosity": {
        "8.6.1": {"LAYER_NAMES_ONLY", "DETAILED", "NONE", "DEFAULT", "VERBOSE"},
        **_EVERY(VERSIONS[1:], {"LAYER_NAMES_ONLY", "DETAILED", "NONE"}),
    },
    "MemoryPoolType": {
        "8.6.1": _POOLS,
        **_EVERY(VERSIONS[1:], _POOLS | {"TACTIC_SHARED_MEMORY"}),
    },
}


def table_version(version: str) -> str:
    """The newest of VERSIONS that is not newer than a release: ``"11.3.0"`` -> ``"11.1.0"``."""
    number = _number(version)
    return [known for known in VERSIONS if _number(known) <= number][-1]


def has(version: str, name: str) -> bool:
    """Whether a release has a method or property."""
    first, last = SINCE.get(name, VERSIONS[0]), UNTIL.get(name, VERSIONS[-1])
    known = (name in METHODS or name in PROPERTIES) and name not in ONLY_RTX
    return known and _number(first) <= _number(table_version(version)) <= _number(last)


def signatures(version: str, name: str) -> tuple[tuple[str, ...], ...]:
    """Parameters of a method in a release, several for overloads."""
    if name == "ICudaEngine.create_execution_context":
        return {"8.6.1": ((),), "10.0.1": (("strategy",),), "10.4.0": (("strategy",),)}.get(version, METHODS[name])
    return METHODS[name]


def members(version: str, enum: str) -> set[str]:
    """Members of an enumeration in a release."""
    return ENUMS[enum][table_version(version)]


def _number(version: str) -> tuple[int, ...]:
    return tuple(map(int, version.split(".")))


class Strict:
    """What pybind11's classes do: attributes that the release does not have cannot be set.

    Attributes:
        api: (version, class) whose properties may be written.
        own: what the fake itself keeps.
    """

    api: tuple[str, str] = ("", "")
    own: frozenset[str] = frozenset()

    def __setattr__(self, name: str, value: object) -> None:
        version, kind = self.api
        full = f"{kind}.{name}"
        if name not in self.own and not (has(version, full) and PROPERTIES.get(full)):
            raise AttributeError(f"{kind!r} object of TensorRT {version} has no writable attribute {name!r}")
        object.__setattr__(self, name, value)
