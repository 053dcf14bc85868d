// The operator FusedConvolution of the operator set "harmonyrt", as every face of the kernels has it.
//
// Inputs: source (N,C,H,W), packed weights (winograd.h), bias (outputs), and for gated weights the second packed
// weights and the gates (N,C,1,1). The result is (N, outputs, height, width). All are FP32, or all BF16 where a face
// takes it.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "winograd.h"

namespace hrt::native {

// As the graph has them: those of Convolution that do not follow from the source.
struct Attributes {
    std::int64_t kernel = 3, outputs = 0, top = 0, left = 0, height = 0, width = 0, activation = 0;
    float slope = 0.0F;
};

using Shape = std::array<std::int64_t, 4>; // N, C, H, W

// How many values the packed weights have.
inline std::size_t packed_size(const Attributes &of, std::int64_t inputs) {
    const std::int64_t blocks = (of.outputs + kOutputBlock - 1) / kOutputBlock;
    return static_cast<std::size_t>(blocks * kOutputBlock * inputs * of.kernel * of.kernel);
}

// Why the operator cannot be computed; null when it can.
inline const char *why_not(const Attributes &of) {
    constexpr std::int64_t most = 1 << 20;
    const bool possible = (of.kernel == 2 || of.kernel == 3) && of.outputs > 0 && of.outputs <= most && of.height > 0 &&
                          of.height <= most && of.width > 0 && of.width <= most && of.top >= 0 && of.top < of.kernel &&
                          of.left >= 0 && of.left < of.kernel && of.activation >= 0 && of.activation <= 2;
    return possible ? nullptr : "an attribute is out of range";
}

// The same for a source; the attributes are possible.
inline const char *why_not(const Attributes &of, const Shape &source) {
    constexpr std::int64_t most = 1 << 20;
    for (const std::int64_t side : source)
        if (side <= 0 || side > most) return "the source must be (N,C,H,W) of a size that is known";
    // Every row and column of the result has the source under it, not only padding.
    if (of.height > source[2] + of.top || of.width > source[3] + of.left)
        return "the result is larger than the padded source";
    return nullptr;
}

// Numbers of values; those of the gates are ignored where the weights have none.
struct Counts {
    std::size_t plain = 0, bias = 0, gated = 0, gates = 0;
};
inline const char *why_not(const Attributes &of, const Shape &source, const Counts &counts, bool is_gated) {
    const std::size_t packed = packed_size(of, source[1]);
    if (counts.plain != packed || (is_gated && counts.gated != packed))
        return "the weights are not packed for these channels";
    if (counts.bias != static_cast<std::size_t>(of.outputs)) return "the bias must have one value per output channel";
    if (is_gated && counts.gates != static_cast<std::size_t>(source[0] * source[1]))
        return "there must be one gate per picture and channel";
    return nullptr;
}

inline Convolution convolution_of(const Attributes &of, const Shape &source) {
    Convolution conv;
    conv.batch = static_cast<int>(source[0]);
    conv.inputs = static_cast<int>(source[1]);
    conv.outputs = static_cast<int>(of.outputs);
    conv.kernel = static_cast<int>(of.kernel);
    conv.source_height = static_cast<int>(source[2]);
    conv.source_width = static_cast<int>(source[3]);
    conv.top = static_cast<int>(of.top);
    conv.left = static_cast<int>(of.left);
    conv.height = static_cast<int>(of.height);
    conv.width = static_cast<int>(of.width);
    conv.activation = static_cast<Activation>(of.activation);
    conv.slope = of.slope;
    return conv;
}

} // namespace hrt::native
