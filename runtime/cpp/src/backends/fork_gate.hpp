// Keeps threads out of an engine library while the process forks: a child that inherits a lock of the library as
// another thread held it waits for ever. The twin of runtime/native_calls.py.
#pragma once

#include <pthread.h>

#include <chrono>
#include <condition_variable>
#include <mutex>
#include <new>

namespace hrt::backends {

class ForkGate {
public:
    // `before` is called before each fork, in its thread, when the others are out of the library.
    explicit ForkGate(void (*before)()) : before_(before) {
        gate_ = this;
        pthread_atfork([] { gate_->close(); }, [] { gate_->open(); }, [] { gate_->forget(); });
    }
    ForkGate(const ForkGate &) = delete;
    ForkGate &operator=(const ForkGate &) = delete;

    // Around a call into the library. Waits while another thread forks.
    class Inside {
    public:
        explicit Inside(ForkGate &gate) : gate_(gate) {
            std::unique_lock<std::mutex> lock(gate_.mutex_);
            gate_.changed_.wait(lock, [this] { return !gate_.closed_; });
            ++gate_.inside_;
        }
        ~Inside() {
            const std::lock_guard<std::mutex> lock(gate_.mutex_);
            --gate_.inside_;
            gate_.changed_.notify_all();
        }
        Inside(const Inside &) = delete;
        Inside &operator=(const Inside &) = delete;

    private:
        ForkGate &gate_;
    };

private:
    static constexpr std::chrono::seconds kPatience{60}; // as in Python; then the fork goes on as it would without this

    void close() {
        std::unique_lock<std::mutex> lock(mutex_);
        changed_.wait(lock, [this] { return !closed_; }); // another thread's fork
        closed_ = true;
        changed_.wait_for(lock, kPatience, [this] { return inside_ == 0; });
        lock.unlock();
        before_();
    }

    void open() {
        const std::lock_guard<std::mutex> lock(mutex_);
        closed_ = false;
        changed_.notify_all();
    }

    // In the child, whose only thread this is: others may have been waiting.
    void forget() {
        new (&mutex_) std::mutex;
        new (&changed_) std::condition_variable;
        inside_ = 0;
        closed_ = false;
    }

    inline static ForkGate *gate_ = nullptr;
    void (*before_)();
    std::mutex mutex_;
    std::condition_variable changed_;
    int inside_ = 0;
    bool closed_ = false;
};

} // namespace hrt::backends
