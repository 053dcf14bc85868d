// Whether this process may use the registers of AMX.
#pragma once

namespace hrt::native {

// The products that can be computed in registers.
struct Amx {
    bool bf16 = false, int8 = false;
};

// What decides it. `ask` asks the system for the memory that the registers are saved to; true if it gives it.
struct AmxFacts {
    const char *wanted = nullptr;     // HARMONYRT_NATIVE_AMX: 0 for none, for comparisons
    unsigned leaf7_edx = 0, xcr0 = 0; // of CPUID; which registers the system saves
    bool (*ask)() = nullptr;
};
Amx amx_of(const AmxFacts &facts);

// The same for this process, found out at the first call: permission is for all of its threads, and for good.
Amx amx();

} // namespace hrt::native
