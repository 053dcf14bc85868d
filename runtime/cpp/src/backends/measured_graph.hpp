// Convolutions by the native kernels as a graph that OpenVINO reads, for cpu_speed.cpp; the twin of
// runtime/native/measured_graph.py, which says why it is written as text.
#pragma once

#include <openvino/runtime/core.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <random>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

namespace hrt::backends {

class MeasuredGraph {
public:
    explicit MeasuredGraph(std::string precision) : precision_(std::move(precision)) {}

    // A 3x3 convolution with an input and an output in FP32, apart from those before it.
    void add(std::size_t channels, std::size_t side) {
        const std::vector<std::size_t> shape = {1, channels, side, side};
        const std::vector<std::size_t> packed = {channels / 16, channels, 9, 16};
        const std::string sides = joined(shape, "", ",", "");
        const std::string element = precision_ == "bf16" ? "BF16" : "FP32";
        Value source = layer("Parameter", "shape=\"" + sides + "\" element_type=\"f32\"", shape, "FP32", {});
        std::vector<Value> inputs;
        if (precision_ == "bf16") {
            source = layer("Convert", "destination_type=\"bf16\"", shape, element, {source});
            inputs = {source, constant<std::uint16_t>(packed, element), constant<std::uint16_t>({channels}, element)};
        } else if (precision_ == "int8") {
            inputs = {source, constant<std::int8_t>(packed, "I8"), constant<float>({channels}, element),
                      constant<float>({channels}, element)};
        } else {
            inputs = {source, constant<float>(packed, element), constant<float>({channels}, element)};
        }
        const std::string length = std::to_string(side);
        Value made = layer(precision_ == "int8" ? "QuantizedConvolution" : "FusedConvolution",
                           "kernel=\"3\" outputs=\"" + std::to_string(channels) + "\" top=\"1\" left=\"1\" height=\"" +
                               length + "\" width=\"" + length + "\" activation=\"1\" slope=\"0\"",
                           shape, element, inputs);
        if (precision_ == "bf16") made = layer("Convert", "destination_type=\"f32\"", shape, "FP32", {made});
        layer("Result", "", shape, "", {made});
    }

    std::shared_ptr<ov::Model> read(ov::Core &core) const {
        ov::Tensor weights(ov::element::u8, ov::Shape{constants_.size()});
        std::copy(constants_.begin(), constants_.end(), weights.data<std::uint8_t>());
        return core.read_model(
            "<net name=\"measured\" version=\"11\"><layers>" + layers_ + "</layers><edges>" + edges_ + "</edges></net>",
            weights);
    }

private:
    struct Value {
        int layer;
        std::size_t port;
        std::string dims;
    };

    static std::string joined(const std::vector<std::size_t> &sides, const char *before, const char *between,
                              const char *after) {
        std::string text;
        for (const std::size_t one : sides)
            text += (text.empty() ? "" : between) + (before + std::to_string(one)) + after;
        return text;
    }

    Value layer(const std::string &kind, const std::string &data, const std::vector<std::size_t> &shape,
                const std::string &element, const std::vector<Value> &inputs) {
        const int number = count_++;
        const std::string id = std::to_string(number);
        const bool ours = kind == "FusedConvolution" || kind == "QuantizedConvolution";
        const std::string dims = joined(shape, "<dim>", "", "</dim>");
        std::string ports;
        for (std::size_t port = 0; port < inputs.size(); ++port) {
            ports += "<port id=\"" + std::to_string(port) + "\">" + inputs[port].dims + "</port>";
            edges_ += "<edge from-layer=\"" + std::to_string(inputs[port].layer) + "\" from-port=\"" +
                      std::to_string(inputs[port].port) + "\" to-layer=\"" + id + "\" to-port=\"" +
                      std::to_string(port) + "\"/>";
        }
        layers_ += "<layer id=\"" + id + "\" name=\"" + kind + id + "\" type=\"" + kind + "\" version=\"" +
                   (ours ? "harmonyrt" : "opset1") + "\"><data " + data + "/><input>" + ports + "</input>";
        if (!element.empty()) {
            layers_ += "<output><port id=\"" + std::to_string(inputs.size()) + "\" precision=\"" + element + "\">" +
                       dims + "</port></output>";
        }
        layers_ += "</layer>";
        return {number, inputs.size(), dims};
    }

    // Of numbers that do not matter for the time: any small ones.
    template <typename Number>
    Value constant(const std::vector<std::size_t> &shape, const std::string &element) {
        std::size_t count = 1;
        for (const std::size_t side : shape) count *= side;
        const std::size_t offset = constants_.size();
        constants_.resize(offset + count * sizeof(Number));
        for (std::size_t i = 0; i < count; ++i) {
            const auto number = number_of<Number>(static_cast<int>(random_() % 255) - 127);
            std::memcpy(&constants_[offset + i * sizeof(Number)], &number, sizeof number);
        }
        const char *type = element == "I8" ? "i8" : element == "BF16" ? "bf16" : "f32";
        return layer("Const",
                     std::string("element_type=\"") + type + "\" shape=\"" + joined(shape, "", ",", "") +
                         "\" offset=\"" + std::to_string(offset) + "\" size=\"" +
                         std::to_string(constants_.size() - offset) + "\"",
                     shape, element, {});
    }

    template <typename Number>
    static Number number_of(int value) {
        if constexpr (std::is_same_v<Number, std::uint16_t>) { // BF16: the upper half
            const float number = static_cast<float>(value) / 64;
            std::uint32_t bits = 0;
            std::memcpy(&bits, &number, sizeof bits);
            return static_cast<std::uint16_t>(bits >> 16U);
        } else if constexpr (std::is_same_v<Number, float>) {
            return static_cast<float>(value) / 64;
        } else {
            return static_cast<Number>(value);
        }
    }

    std::string precision_, layers_, edges_;
    std::vector<std::uint8_t> constants_;
    std::minstd_rand random_{1};
    int count_ = 0;
};

} // namespace hrt::backends
