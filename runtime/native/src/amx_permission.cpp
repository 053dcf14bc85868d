#include "amx_permission.h"

#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>

namespace hrt::native {
namespace {

// Bits of CPUID: leaf 1 in ecx, leaf 7 in edx (Intel's manual, volume 2, CPUID).
constexpr unsigned kReadsState = 1U << 27;
constexpr unsigned kBf16 = 1U << 22, kTile = 1U << 24, kInt8 = 1U << 25;
constexpr unsigned kTileState = 3U << 17; // of XCR0: configuration and data of the registers
// Of Linux, which has given them only to those who ask since it knows AMX (Documentation/arch/x86/xstate.rst).
constexpr long kAskForPermission = 0x1023, kTileData = 18;

bool ask() { return syscall(SYS_arch_prctl, kAskForPermission, kTileData) == 0; }

AmxFacts facts() {
    AmxFacts found;
    found.wanted = std::getenv("HARMONYRT_NATIVE_AMX");
    found.ask = ask;
    unsigned a = 0, b = 0, c = 0, d = 0;
    if (__get_cpuid(1, &a, &b, &c, &d) != 0 && (c & kReadsState) != 0)
        __asm__ volatile("xgetbv" : "=a"(found.xcr0), "=d"(d) : "c"(0));
    if (__get_cpuid_count(7, 0, &a, &b, &c, &d) != 0) found.leaf7_edx = d;
    return found;
}

} // namespace

Amx amx_of(const AmxFacts &facts) {
    const bool unwanted = facts.wanted != nullptr && std::strcmp(facts.wanted, "0") == 0;
    const bool has = (facts.leaf7_edx & kTile) != 0 && (facts.xcr0 & kTileState) == kTileState;
    if (unwanted || !has || !facts.ask()) return {};
    return {(facts.leaf7_edx & kBf16) != 0, (facts.leaf7_edx & kInt8) != 0};
}

Amx amx() {
    static const Amx once = amx_of(facts());
    return once;
}

} // namespace hrt::native
