"""A small fake of TensorRT's Python API: the builder's half as 8.6, 10 and 11 have it.

Names, parameters and members are those of :mod:`fakes.tensorrt_api`. The real wheels need a GPU and 800 MB.
Engines to run are in :mod:`fakes.tensorrt_engines`.
"""

from __future__ import annotations

import enum
import hashlib
import json
import types

from fakes import tensorrt_api
from fakes.tensorrt_api import Strict


class DataType(enum.Enum):
    FLOAT, HALF, BF16, INT8, INT32, INT64, BOOL, UINT8, FP8, INT4 = range(10)


class LayerType(enum.Enum):
    CONVOLUTION, DECONVOLUTION, MATRIX_MULTIPLY, CAST, REDUCE, CONSTANT, SHAPE, DEQUANTIZE, OTHER = range(9)


_KINDS = {"Conv": "CONVOLUTION", "ConvTranspose": "DECONVOLUTION", "MatMul": "MATRIX_MULTIPLY", "Cast": "CAST"}
_TYPES = {1: DataType.FLOAT, 10: DataType.HALF, 7: DataType.INT64}  # by onnx.TensorProto's numbers


class Tensor:
    def __init__(self, name, dtype, shape=()):
        self.name, self.dtype, self.shape = name, dtype, shape


class Layer:
    def __init__(self, kind, name, inputs, outputs):
        self.type, self.name, self._inputs, self._outputs = LayerType[kind], name, inputs, outputs
        self.num_inputs, self.num_outputs = len(inputs), len(outputs)
        self.precision, self.output_types = DataType.FLOAT, {}

    def get_input(self, index):
        return self._inputs[index]

    def get_output(self, index):
        return self._outputs[index]

    def set_output_type(self, index, dtype):
        self.output_types[index] = dtype


class Network:
    def __init__(self, flags):
        self.flags, self.layers, self.inputs = flags, [], []

    num_layers = property(lambda self: len(self.layers))
    num_inputs = property(lambda self: len(self.inputs))

    def get_layer(self, index):
        return self.layers[index]

    def get_input(self, index):
        return self.inputs[index]


class Config(Strict):
    """`flags` is a set of names here, a bit mask there."""

    own = frozenset({"api", "flags", "pools", "profiles", "timing"})

    def __init__(self, trt):
        self.api = (trt.__version__, "IBuilderConfig")
        self.flags, self.pools, self.profiles, self.timing = {"TF32"}, {}, [], None

    def set_flag(self, flag):
        assert flag.name in tensorrt_api.members(self.api[0], "BuilderFlag")
        self.flags.add(flag.name)

    def clear_flag(self, flag):
        self.flags.discard(flag.name)

    def set_memory_pool_limit(self, pool, pool_size):
        self.pools[pool.name] = pool_size

    def add_optimization_profile(self, profile):
        self.profiles.append(profile)

    def create_timing_cache(self, serialized_timing_cache):
        blob = serialized_timing_cache
        if blob == b"of another GPU":
            return None
        editable = tensorrt_api.has(self.api[0], "ITimingCache.update")
        return (EditableTimingCache if editable else TimingCache)(blob)

    def set_timing_cache(self, cache, ignore_mismatch):
        self.timing = cache

    def set_preview_feature(self, feature, enable):
        return True

    def get_timing_cache(self):
        return self.timing


class TimingCache:
    """Choices by key; what it had when it was made is a blob."""

    def __init__(self, blob):
        self.blob, self.chosen = blob, {}

    def serialize(self):
        return self.blob + b"+"

    def combine(self, input_cache, ignore_mismatch):
        return True

    def reset(self):
        self.chosen = {}
        return True


class EditableTimingCache(TimingCache):
    """From 10.8 on; a tactic that TensorRT does not have is refused."""

    def queryKeys(self):
        return [TimingCacheKey.parse(text) for text in self.chosen]

    def query(self, key):
        return self.chosen.get(str(key), TimingCacheValue(2**64 - 1, -1.0))

    def update(self, key, value):
        if value.tacticHash == NO_TACTIC:
            return False
        self.chosen[str(key)] = value
        return True


NO_TACTIC = 0xDEAD


class TimingCacheKey:
    def __init__(self, text):
        self._text = text

    @staticmethod
    def parse(text):
        if len(text) != 34 or not text.startswith("0x"):
            raise ValueError("The text should have exactly 34 characters.")
        return TimingCacheKey(text)

    def __str__(self):
        return self._text


class TimingCacheValue:
    def __init__(self, tacticHash, timingMSec):
        self.tacticHash, self.timingMSec = tacticHash, timingMSec


class Profile(dict):
    def set_shape(self, input, min, opt, max):
        self[input] = (min, opt, max)


class Refitter:
    """`engine.missing` are the names of the weights that it still lacks; refitting without all of them fails."""

    def __init__(self, engine, logger):
        self.engine, self.logger = engine, logger
        engine.refits = getattr(engine, "refits", True)

    def get_missing_weights(self):
        return list(self.engine.missing)

    def refit_cuda_engine(self):
        if not self.engine.refits:
            self.logger.log("error", "out of memory")
        return self.engine.refits


class OnnxParserRefitter:
    """Takes every initializer of a graph."""

    def __init__(self, refitter, logger):
        self.refitter, self.errors = refitter, []

    num_errors = property(lambda self: len(self.errors))

    def get_error(self, index):
        return self.errors[index]

    def refit_from_file(self, model):
        import onnx

        try:
            graph = onnx.load(model).graph
        except Exception as error:  # what TensorRT would say of the file
            self.errors.append(ParserError(-1, f"cannot parse: {type(error).__name__}"))
            return False
        values = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in graph.initializer}
        self.refitter.engine.weights = values
        self.refitter.engine.missing = [name for name in self.refitter.engine.missing if name not in values]
        return True


class ParserError:
    """8.6 knows the node's index only."""

    def __init__(self, index, description):
        self._index, self._description = index, description

    def node(self):
        return self._index

    def desc(self):
        return self._description


class NewParserError(ParserError):
    def node_name(self):
        return "from the parser"

    def node_operator(self):
        return "Frobnicate"


def fake_tensorrt(version: str) -> types.SimpleNamespace:
    """The API that the adapter uses, as this release has it."""
    major = int(version.split(".")[0])
    trt = types.SimpleNamespace(__version__=version, major=major, DataType=DataType, LayerType=LayerType)
    trt.configs, trt.networks, trt.plan, trt.engine_type = [], [], b"ptrt plan", None
    trt.opened, trt.missing = [], ["weight"]
    if tensorrt_api.has(version, "OnnxParserRefitter.refit_from_file"):
        trt.Refitter, trt.OnnxParserRefitter = Refitter, OnnxParserRefitter
    trt.runtimes, trt.loads_lean, trt.ignores_misses = [], True, False
    trt.tactics = [(0x665DED9ABBF88, 0.011264, "sm80_fast"), (0x393E4EF8AD243, 0.011878, "sm80_exact")]
    if tensorrt_api.has(version, "ITimingCache.update"):
        trt.TimingCacheKey, trt.TimingCacheValue = TimingCacheKey, TimingCacheValue
    bits = {"EXPLICIT_BATCH": 0, "EXPLICIT_PRECISION": 1} if major == 8 else {"EXPLICIT_BATCH": 0, "STRONGLY_TYPED": 1}
    known = tensorrt_api.members(version, "NetworkDefinitionCreationFlag")
    flags = {name: bit for name, bit in bits.items() if name in known}
    trt.NetworkDefinitionCreationFlag = enum.IntEnum("Flag", flags)
    for name in ("BuilderFlag", "MemoryPoolType", "ProfilingVerbosity", "HardwareCompatibilityLevel", "PreviewFeature"):
        setattr(trt, name, enum.Enum(name, sorted(tensorrt_api.members(version, name))))
    trt.LayerInformationFormat = enum.Enum("LayerInformationFormat", sorted({"ONELINE", "JSON"}))
    trt.init_libnvinfer_plugins = lambda logger, namespace: True

    class ILogger:
        Severity = enum.Enum("Severity", ["INTERNAL_ERROR", "ERROR", "WARNING", "INFO", "VERBOSE"])

    class Monitor:
        pass

    class OnnxParser:
        def __init__(self, network, logger):
            self.network, self.errors = network, []

        num_errors = property(lambda self: len(self.errors))

        def get_error(self, index):
            return self.errors[index]

        def parse_from_file(self, model):
            import onnx

            graph = onnx.shape_inference.infer_shapes(onnx.load(model)).graph
            types_ = {v.name: v.type.tensor_type.elem_type for v in (*graph.value_info, *graph.input, *graph.output)}
            types_ |= {t.name: t.data_type for t in graph.initializer}
            strong = major >= 10

            def tensor(name):
                return Tensor(name, _TYPES[types_[name]] if strong else DataType.FLOAT)

            for value in graph.input:
                shape = [d.dim_value if d.HasField("dim_value") else -1 for d in value.type.tensor_type.shape.dim]
                self.network.inputs.append(Tensor(value.name, DataType.FLOAT, shape))
            for i, node in enumerate(graph.node):
                if node.op_type == "Unknown":
                    self.errors.append((NewParserError if major >= 10 else ParserError)(i, "no importer\nfor it"))
                    return False
                kind = _KINDS.get(node.op_type, "OTHER")
                outputs = [tensor(name) for name in node.output]
                self.network.layers.append(Layer(kind, node.name, [tensor(n) for n in node.input], outputs))
            return True

    class Builder(Strict):
        api = (version, "Builder")
        own = frozenset({"logger"})

        def __init__(self, logger):
            self.logger = logger

        def create_network(self, flags):
            trt.networks.append(Network(flags))
            return trt.networks[-1]

        def create_builder_config(self):
            trt.configs.append(Config(trt))
            return trt.configs[-1]

        def create_optimization_profile(self):
            return Profile()

        def build_serialized_network(self, network, config):
            monitor = getattr(config, "progress_monitor", None)
            if monitor is not None:
                monitor.phase_start("build", None, 2)
                monitor.step_complete("build", 0)
                monitor.phase_finish("build")
            if trt.plan is None:
                self.logger.log(ILogger.Severity.ERROR, "out of\nworkspace")
            elif "EDITABLE_TIMING_CACHE" in config.flags and not self._tactics_chosen(network, config):
                return None
            return trt.plan

        def _tactics_chosen(self, network, config):
            """Time what is not in the cache, and say so as TensorRT does; `trt.tactics` is what is there, by speed."""
            for layer in network.layers:
                if layer.type is not LayerType.CONVOLUTION:
                    continue
                key = "0x" + hashlib.md5(layer.name.encode()).hexdigest()
                if key in config.timing.chosen:
                    continue
                if "ERROR_ON_TIMING_CACHE_MISS" in config.flags and not trt.ignores_misses:
                    self.logger.log(ILogger.Severity.ERROR, f"timing cache miss of {layer.name}")
                    return False
                (fastest, milliseconds, _), *_ = trt.tactics
                config.timing.chosen[key] = TimingCacheValue(fastest, milliseconds)
                head = "tactic_id, cost(in ms), cost/fastest_cost, prediction_correlation, kernel_name, tactic_hash"
                self.logger.log(ILogger.Severity.VERBOSE, f"Autotuning op {layer.name}(key: {key}):")
                self.logger.log(ILogger.Severity.VERBOSE, "Sorted table of all evaluated tactics:\n" + head)
                for number, (tactic, cost, kernel) in enumerate(trt.tactics):
                    row = f"   {number}, {cost:.7f}, {cost / milliseconds:.5f}, 0.50673, {kernel}, {tactic:#x},"
                    self.logger.log(ILogger.Severity.VERBOSE, row)
            return True

    class Runtime(Strict):
        api = (version, "Runtime")
        own = frozenset({"logger", "library"})

        def __init__(self, logger, library=None):
            self.logger, self.library = logger, library
            trt.runtimes.append(self)

        def load_runtime(self, path):
            return Runtime(self.logger, path) if trt.loads_lean else None

        def deserialize_cuda_engine(self, serialized_engine):
            stated = trt.engine_type or ("Row major linear FP16 format" if major < 11 else "Half")
            key = "Format/Datatype" if major < 11 else "DataType"
            layers = {"Layers": ["a name only", {"Outputs": [{key: stated}]}]}
            inspector = types.SimpleNamespace(get_engine_information=lambda form: json.dumps(layers))
            trt.opened.append(types.SimpleNamespace(create_engine_inspector=lambda: inspector, missing=trt.missing))
            return trt.opened[-1]

    trt.ILogger, trt.OnnxParser, trt.Builder, trt.Runtime = ILogger, OnnxParser, Builder, Runtime
    if major >= 10:
        trt.IProgressMonitor = Monitor
    return trt
