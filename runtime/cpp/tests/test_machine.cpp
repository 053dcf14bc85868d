// How many cores a process may use; the cases of tests/runtime/test_machine.py.
#include "machine.hpp"

#include <doctest/doctest.h>

#include <filesystem>
#include <fstream>
#include <map>
#include <string>

#include <stdlib.h>

namespace {

namespace fs = std::filesystem;

// A tree that looks like "/".
class Root {
public:
    explicit Root(const std::map<std::string, std::string> &files) {
        std::string name = (fs::temp_directory_path() / "hrt-root-XXXXXX").string();
        path_ = mkdtemp(name.data());
        for (const auto &[file, text] : files) {
            fs::create_directories((path_ / file).parent_path());
            std::ofstream(path_ / file) << text;
        }
    }
    ~Root() { fs::remove_all(path_); }
    Root(const Root &) = delete;
    Root &operator=(const Root &) = delete;
    double quota() const { return hrt::cores_by_quota(path_.string()).value_or(-1); }

private:
    fs::path path_;
};

} // namespace

TEST_CASE("the CPU quota of both versions of control groups is read") {
    CHECK(Root({}).quota() == -1);
    CHECK(Root({{"proc/self/cgroup", "0::/\n"}, {"sys/fs/cgroup/cpu.max", "max 100000\n"}}).quota() == -1);
    CHECK(Root({{"proc/self/cgroup", "0::/\n"}, {"sys/fs/cgroup/cpu.max", "150000 100000\n"}}).quota() == 1.5);
    CHECK(Root({{"proc/self/cgroup", "0::/a/b\n"}, {"sys/fs/cgroup/a/b/cpu.max", "50000 100000\n"}}).quota() == 0.5);
    CHECK(Root({{"proc/self/cgroup", "0::/a/b\n"},
                {"sys/fs/cgroup/a/b/cpu.max", "max 100000\n"},
                {"sys/fs/cgroup/a/cpu.max", "200000 100000\n"},
                {"sys/fs/cgroup/cpu.max", "400000 100000\n"}})
              .quota() == 2);
    CHECK(Root({{"proc/self/cgroup", "0::/docker/1f\n"}, {"sys/fs/cgroup/cpu.max", "300000 100000\n"}}).quota() == 3);
    CHECK(Root({{"proc/self/cgroup", "5:memory:/x\n4:cpu,cpuacct:/x\n0::/x\n"},
                {"sys/fs/cgroup/cpu,cpuacct/x/cpu.cfs_quota_us", "250000\n"},
                {"sys/fs/cgroup/cpu,cpuacct/x/cpu.cfs_period_us", "100000\n"},
                {"sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us", "-1\n"},
                {"sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us", "100000\n"}})
              .quota() == 2.5);
    CHECK(Root({{"proc/self/cgroup", "4:cpu:/x\n"},
                {"sys/fs/cgroup/cpu/cpu.cfs_quota_us", "100000"},
                {"sys/fs/cgroup/cpu/cpu.cfs_period_us", "100000"}})
              .quota() == 1);
    CHECK(Root({{"proc/self/cgroup", "0::/\nnonsense\n"}, {"sys/fs/cgroup/cpu.max", "nonsense"}}).quota() == -1);
    CHECK(Root({{"proc/self/cgroup", "0::/\n"}, {"sys/fs/cgroup/cpu.max", "1000 0"}}).quota() == -1);
}

TEST_CASE("there is a core at least") { CHECK(hrt::cores() >= 1); }
