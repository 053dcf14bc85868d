// NVRTC without NVIDIA, as libfake_nvrtc.so: "compiles" the kernels' sources to an ELF header and the names of the
// kernels that it finds in them, if every file that they include was given. FAKE_NVRTC=fail makes it refuse, with a
// log.

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <map>
#include <set>
#include <string>

namespace {

enum { SUCCESS = 0, COMPILATION = 6 };

struct Program {
    std::string main;
    std::map<std::string, std::string> headers;
    std::string log, cubin;
};

int compilations = 0;

// A source, with everything that it includes; false where a file is missing.
bool expanded(const Program &program, const std::string &text, std::set<std::string> &seen, std::string &out) {
    static const std::string word = "#include \"";
    std::size_t at = 0;
    for (std::size_t found; (found = text.find(word, at)) != std::string::npos;) {
        out.append(text, at, found - at);
        const std::size_t from = found + word.size(), to = text.find('"', from);
        const std::string name = text.substr(from, to - from);
        const auto header = program.headers.find(name);
        if (header == program.headers.end()) return false;
        if (seen.insert(name).second && !expanded(program, header->second, seen, out)) return false;
        at = to + 1;
    }
    out.append(text, at);
    return true;
}

} // namespace

extern "C" {

int fake_nvrtc_compilations() { return compilations; }

const char *nvrtcGetErrorString(int error) { return error == COMPILATION ? "NVRTC_ERROR_COMPILATION" : "NVRTC_ERROR"; }
int nvrtcVersion(int *major, int *minor) {
    *major = 13;
    *minor = 5;
    return SUCCESS;
}
int nvrtcGetNumSupportedArchs(int *count) {
    *count = 2;
    return SUCCESS;
}
int nvrtcGetSupportedArchs(int *architectures) {
    const char *asked = std::getenv("FAKE_NVRTC");
    const bool old = asked != nullptr && std::string(asked) == "old";
    architectures[0] = 75;
    architectures[1] = old ? 80 : 89;
    return SUCCESS;
}
int nvrtcCreateProgram(void **program, const char *text, const char *, int count, const char *const *texts,
                       const char *const *names) {
    auto *made = new Program{text, {}, "", ""};
    for (int i = 0; i < count; ++i) made->headers[names[i]] = texts[i];
    *program = made;
    return SUCCESS;
}
int nvrtcDestroyProgram(void **program) {
    delete static_cast<Program *>(*program);
    *program = nullptr;
    return SUCCESS;
}
int nvrtcCompileProgram(void *program, int count, const char *const *options) {
    auto &one = *static_cast<Program *>(program);
    const char *asked = std::getenv("FAKE_NVRTC");
    ++compilations;
    if (asked != nullptr && std::string(asked) == "fail") {
        one.log = "\nharmonize.cu(1): error: it was asked to fail\n";
        return COMPILATION;
    }
    std::set<std::string> seen;
    std::string text;
    const bool ordered =
        count == 2 && std::string(options[0]) == "--gpu-architecture=sm_89" && std::string(options[1]) == "--std=c++17";
    if (!ordered || !expanded(one, one.main, seen, text) || seen.size() != one.headers.size()) {
        one.log = "the options or the files are not as they should be\n";
        return COMPILATION;
    }
    one.cubin.assign(64, '\0');
    std::memcpy(one.cubin.data(),
                "\x7f"
                "ELF",
                4);
    static const std::string word = "extern \"C\" __global__ void ";
    for (std::size_t at = 0; (at = text.find(word, at)) != std::string::npos;) {
        at += word.size();
        one.cubin += text.substr(at, text.find('(', at) - at) + '\n';
    }
    const std::uint64_t size = one.cubin.size();
    std::memcpy(one.cubin.data() + 40, &size, sizeof size);
    return SUCCESS;
}
int nvrtcGetProgramLogSize(void *program, std::size_t *size) {
    *size = static_cast<Program *>(program)->log.size() + 1;
    return SUCCESS;
}
int nvrtcGetProgramLog(void *program, char *log) {
    const std::string &text = static_cast<Program *>(program)->log;
    std::memcpy(log, text.c_str(), text.size() + 1);
    return SUCCESS;
}
int nvrtcGetCUBINSize(void *program, std::size_t *size) {
    *size = static_cast<Program *>(program)->cubin.size();
    return SUCCESS;
}
int nvrtcGetCUBIN(void *program, char *cubin) {
    const std::string &code = static_cast<Program *>(program)->cubin;
    std::memcpy(cubin, code.data(), code.size());
    return SUCCESS;
}

} // extern "C"
