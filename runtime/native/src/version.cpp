// What both libraries export, so that a runtime asks before it hands over an engine that they may not know.
//
// Versions are counted up, and a library of one computes engines of all before it. 1: FusedConvolution in FP32; 2: the
// same in BF16, and QuantizedConvolution. runtime/native/__init__.py and runtime/cpp/src/backends/native.hpp know which
// one an engine needs. Libraries without this function are of version 1.

extern "C" __attribute__((visibility("default"))) int harmonyrt_native_version() { return 2; }
