#include "cpu_speed.hpp"

#include "../compiled_cache.hpp"
#include "../machine.hpp"
#include "../sha256.hpp"
#include "measured_graph.hpp"
#include "native.hpp"

#include <openvino/opsets/opset13.hpp>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <functional>
#include <limits>
#include <memory>
#include <random>
#include <string>
#include <utility>
#include <vector>

namespace hrt::backends {
namespace {

// Names and numbers as in runtime/cpu_probe.py and runtime/cpu_speed.py, which say why.
namespace op = ov::opset13;
using Clock = std::chrono::steady_clock;
using Value = ov::Output<ov::Node>;
using Shape = std::vector<std::int64_t>;

struct Layer {
    std::int64_t channels, side;
};
constexpr Layer kLayers[] = {{256, 32}, {128, 64}};
constexpr int kLeastRounds = 3, kMostRounds = 40;
constexpr double kSeconds = 1, kPatience = 3;
constexpr std::size_t kCopied = 1U << 26U;
constexpr int kCopies = 6;
constexpr const char *kFormat = "1";

double seconds_since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

// Graphs of one precision.
class Graphs {
public:
    explicit Graphs(const std::string &precision)
        : type_(precision == "bf16"   ? ov::element::bf16
                : precision == "fp16" ? ov::element::f16
                                      : ov::element::f32) {}

    Value convolution(const Value &picture, const Layer &layer) {
        return convolved(typed(picture), numbers(weights_shape(layer)));
    }

    // As Q/DQ pairs arrive in OpenVINO: unsigned activations, signed weights.
    Value quantized(const Value &picture, const Layer &layer) {
        const Value weights = cut(numbers(weights_shape(layer)), -1.27F, 1.27F, 255);
        return convolved(cut(picture, 0, 2.55F, 256), weights);
    }

    // The operations of export/rewrites/winograd.py in F(4x4, 3x3), with arbitrary numbers in its matrices.
    Value winograd(const Value &picture, const Layer &layer) {
        const std::int64_t channels = layer.channels, rows = layer.side / 4, tiles = rows * rows;
        const Value padded =
            std::make_shared<op::Pad>(picture, whole({0, 0, 1, 1}), whole({0, 0, 3, 3}), ov::op::PadMode::CONSTANT);
        const Value blocks =
            std::make_shared<op::SpaceToDepth>(padded, op::SpaceToDepth::SpaceToDepthMode::BLOCKS_FIRST, 4);
        const Value deep = reshaped(blocks, {4, 4, channels, rows + 1, rows + 1});
        ov::OutputVector pieces;
        for (const std::int64_t down : {0, 1}) {
            for (const std::int64_t across : {0, 1}) {
                const std::int64_t high = down == 0 ? 4 : 2, wide = across == 0 ? 4 : 2;
                const Value piece = std::make_shared<op::Slice>(deep, whole({0, 0, down, across}),
                                                                whole({high, wide, down + rows, across + rows}),
                                                                whole({1, 1, 1, 1}), whole({0, 1, 3, 4}));
                pieces.push_back(reshaped(piece, {high * wide, channels * tiles}));
            }
        }
        const Value transformed = product(numbers({36, 36}), typed(std::make_shared<op::Concat>(pieces, 0)));
        const Value by_channel = reshaped(transformed, {36, channels, tiles});
        const Value products = product(numbers({36, channels, channels}), by_channel);
        const Value back = product(numbers({16, 36}), reshaped(products, {36, channels * tiles}));
        return std::make_shared<op::DepthToSpace>(reshaped(back, {1, 16 * channels, rows, rows}),
                                                  op::DepthToSpace::DepthToSpaceMode::BLOCKS_FIRST, 4);
    }

private:
    static Shape weights_shape(const Layer &layer) { return {layer.channels, layer.channels, 3, 3}; }

    static Value whole(const Shape &values) {
        return op::Constant::create(ov::element::i64, ov::Shape{values.size()}, values);
    }
    static Value reshaped(const Value &value, const Shape &shape) {
        return std::make_shared<op::Reshape>(value, whole(shape), false);
    }
    static Value product(const Value &a, const Value &b) { return std::make_shared<op::MatMul>(a, b, false, false); }
    static Value convolved(const Value &picture, const Value &weights) {
        const ov::CoordinateDiff pad{1, 1};
        return std::make_shared<op::Convolution>(picture, weights, ov::Strides{1, 1}, pad, pad, ov::Strides{1, 1});
    }
    static Value cut(const Value &value, float lowest, float highest, std::size_t levels) {
        const Value low = op::Constant::create(ov::element::f32, ov::Shape{}, {lowest});
        const Value high = op::Constant::create(ov::element::f32, ov::Shape{}, {highest});
        return std::make_shared<op::FakeQuantize>(value, low, high, low, high, levels);
    }

    Value typed(const Value &value) const {
        if (type_ == ov::element::f32) return value;
        return std::make_shared<op::Convert>(value, type_);
    }
    // Weights; which does not matter for the time.
    Value numbers(const Shape &shape) {
        std::size_t count = 1;
        for (const std::int64_t side : shape) count *= static_cast<std::size_t>(side);
        std::vector<float> values(count);
        std::normal_distribution<float> normal;
        for (float &value : values) value = normal(random_);
        return typed(op::Constant::create(ov::element::f32, ov::Shape(shape.begin(), shape.end()), values));
    }

    ov::element::Type type_;
    std::mt19937 random_{1};
};

std::shared_ptr<ov::Model> graph_of(ov::Core &core, const std::string &precision, const std::string &variant) {
    if (variant == " native") {
        MeasuredGraph graph(precision);
        for (const Layer &layer : kLayers) {
            graph.add(static_cast<std::size_t>(layer.channels), static_cast<std::size_t>(layer.side));
        }
        return graph.read(core);
    }
    Graphs graphs(precision);
    ov::ParameterVector inputs;
    ov::OutputVector outputs;
    for (const Layer &layer : kLayers) {
        const auto side = static_cast<std::size_t>(layer.side);
        inputs.push_back(std::make_shared<op::Parameter>(
            ov::element::f32, ov::Shape{1, static_cast<std::size_t>(layer.channels), side, side}));
        const Value made = !variant.empty()      ? graphs.winograd(inputs.back(), layer)
                           : precision == "int8" ? graphs.quantized(inputs.back(), layer)
                                                 : graphs.convolution(inputs.back(), layer);
        // The type is in the graph, as in engines: left to the hint, OpenVINO keeps some products in FP32.
        outputs.push_back(std::make_shared<op::Convert>(std::make_shared<op::Relu>(made), ov::element::f32));
    }
    return std::make_shared<ov::Model>(outputs, inputs);
}

ov::InferRequest request(ov::Core &core, const std::string &name) {
    const std::string precision = name.substr(0, name.find(' ')), variant = name.substr(precision.size());
    const ov::AnyMap settings = {
        {"INFERENCE_PRECISION_HINT", precision == "bf16"   ? "bf16"
                                     : precision == "fp16" ? "f16"
                                                           : "f32"},
        {"PERFORMANCE_HINT", "LATENCY"},
        {"NUM_STREAMS", 1},
        {"INFERENCE_NUM_THREADS", 1},
    };
    ov::CompiledModel compiled = core.compile_model(graph_of(core, precision, variant), "CPU", settings);
    ov::InferRequest made = compiled.create_infer_request();
    std::mt19937 random;
    std::normal_distribution<float> normal;
    for (std::size_t i = 0; i < compiled.inputs().size(); ++i) {
        ov::Tensor tensor = made.get_input_tensor(i);
        std::generate_n(tensor.data<float>(), tensor.get_size(), [&] { return normal(random); });
    }
    made.infer(); // the first run sets up what later ones use
    return made;
}

// 10^9 bytes a second, read and written.
double copying() {
    const std::vector<char> source(kCopied, 1);
    std::vector<char> target(kCopied);
    double best = std::numeric_limits<double>::infinity();
    for (int i = 0; i < kCopies; ++i) {
        const auto start = Clock::now();
        std::memcpy(target.data(), source.data(), kCopied);
        best = std::min(best, seconds_since(start));
        if (target[static_cast<std::size_t>(i)] != 1) throw std::runtime_error("memory was not copied"); // and is read
    }
    return 2 * static_cast<double>(kCopied) / best / 1e9;
}

std::string quoted_json(const std::string &text) {
    std::string out = "\"";
    for (const char c : text) {
        if (c == '"' || c == '\\') out += '\\';
        out += static_cast<unsigned char>(c) < ' ' ? ' ' : c;
    }
    return out + "\"";
}

std::string number(double value, int digits) {
    char text[64];
    std::snprintf(text, sizeof text, "%.*f", digits, value);
    return text;
}

// Whether native kernels compute a precision here; those of another OpenVINO do not, of which opening a bundle speaks.
bool has_kernels(const char *precision, const std::function<void()> &add) {
    try {
        native::check("1", "openvino", precision); // or newer, as the precision needs
        add();
        return true;
    } catch (const std::exception &) {
        return false;
    }
}

std::string measured_now(ov::Core &core, const std::string &version, const std::function<void()> &add_native) {
    const auto began = Clock::now();
    const auto offered = core.get_property("CPU", ov::device::capabilities);
    const auto has = [&](const char *name) { return std::find(offered.begin(), offered.end(), name) != offered.end(); };
    std::vector<std::string> names = {"fp32"};
    if (has("BF16")) names.emplace_back("bf16");
    if (has("FP16")) names.emplace_back("fp16");
    if (has("INT8")) names.emplace_back("int8");
    names.emplace_back("fp32 winograd");
    if (has("BF16")) names.emplace_back("bf16 winograd");
    if (has_kernels("fp32", add_native)) names.emplace_back("fp32 native");
    if (has("BF16") && has_kernels("bf16", add_native)) names.emplace_back("bf16 native");
    if (has("INT8") && has_kernels("int8", add_native)) names.emplace_back("int8 native");
    std::vector<ov::InferRequest> requests;
    for (const std::string &name : names) requests.push_back(request(core, name));
    std::vector<double> times(names.size(), std::numeric_limits<double>::infinity());
    const auto started = Clock::now();
    for (int round = 0; round < kMostRounds; ++round) {
        const bool enough = round >= kLeastRounds && seconds_since(started) > kSeconds;
        if (enough || (round > 0 && seconds_since(began) > kPatience)) break;
        for (std::size_t i = 0; i < names.size(); ++i) {
            const auto start = Clock::now();
            requests[i].infer();
            times[i] = std::min(times[i], seconds_since(start));
        }
    }
    std::string milliseconds;
    for (std::size_t i = 0; i < names.size(); ++i) {
        milliseconds += (i > 0 ? ", " : "") + quoted_json(names[i]) + ": " + number(times[i] * 1000, 4);
    }
    return "{\"cpu\": " + quoted_json(cpu_model()) + ", \"library\": " + quoted_json(version) +
           ", \"milliseconds\": {" + milliseconds + "}, \"copy_gb_per_s\": " + number(copying(), 2) + "}";
}

} // namespace

std::string cpu_speed(ov::Core &core, const char *cache, bool measure, const std::function<void()> &add_native) {
    CompiledCache kept(cache);
    const std::string version = ov::get_openvino_version().buildNumber, flags = cpu_flags();
    Sha256 digest;
    digest.update(flags.data(), flags.size());
    const CacheKey key = {{"kind", "cpu-speed"}, {"format", kFormat},
                          {"cpu", cpu_model()},  {"features", digest.hex().substr(0, 16)},
                          {"library", version},  {"native", native::build_of("openvino")}};
    std::string content;
    const auto make = [&content](std::size_t size) {
        content.resize(size);
        return content.data();
    };
    if (!measure) return kept.read(key, make) ? content : "";
    if (!kept.keeps()) return "";
    content = measured_now(core, version, add_native);
    kept.write(key, [&content](std::ostream &stream) { stream << content; });
    return content;
}

} // namespace hrt::backends
