// What the operators of OpenVINO's face have in common: attributes, shapes, threads, and how they are registered.
#pragma once

#include <algorithm>
#include <memory>
#include <openvino/core/extension.hpp>
#include <openvino/core/op_extension.hpp>
#include <openvino/frontend/onnx/extension/op.hpp>
#include <openvino/op/op.hpp>
#include <vector>

#include "fused_convolution.h"
#include "openvino_threads.h"
#include "workspace.h"

namespace hrt::native {

inline bool visit(ov::AttributeVisitor &visitor, Attributes &values) {
    visitor.on_attribute("kernel", values.kernel);
    visitor.on_attribute("outputs", values.outputs);
    visitor.on_attribute("top", values.top);
    visitor.on_attribute("left", values.left);
    visitor.on_attribute("height", values.height);
    visitor.on_attribute("width", values.width);
    visitor.on_attribute("activation", values.activation);
    visitor.on_attribute("slope", values.slope);
    return true;
}

// Of a source with four sides.
inline Shape shape_of(const ov::Shape &source) {
    Shape sides{};
    std::copy(source.begin(), source.end(), sides.begin());
    return sides;
}

inline ov::Shape result_shape(const Attributes &of, const Shape &source) {
    return {static_cast<std::size_t>(source[0]), static_cast<std::size_t>(of.outputs),
            static_cast<std::size_t>(of.height), static_cast<std::size_t>(of.width)};
}

// An operator, and how the ONNX frontend finds it.
template <typename Operator>
void add(std::vector<ov::Extension::Ptr> &to, const char *name) {
    to.push_back(std::make_shared<ov::OpExtension<Operator>>());
    to.push_back(std::make_shared<ov::frontend::onnx::OpExtension<Operator>>(name, "harmonyrt"));
}

} // namespace hrt::native
