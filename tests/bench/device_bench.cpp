// What one request costs in the model of each device: the queue, the request and its answer.
//   hull_device_bench [--rounds=N] [--benchmark_filter=REGEX …]
// Without --rounds: how long one takes, the guest's driver included. With it: just so many of each, in order
// to count instructions of the device alone (what the kernel does for its system calls is not in them), as
// scripts/bench-devices does:
//   valgrind --tool=callgrind --toggle-collect='hull::bench::serve(*' hull_device_bench --rounds=1000 …
#include <benchmark/benchmark.h>

#include <cstdio>
#include <cstdlib>
#include <string_view>

#include "tests/bench/request.h"

namespace hull::bench {

namespace {

struct Benchmark {
    const char* name;
    std::unique_ptr<Request> (*make)();
};
constexpr Benchmark kBenchmarks[] = {
    {"block_read_4k", make_block_read},   {"net_send_64", make_net_send},
    {"net_receive_64", make_net_receive}, {"console_write_16", make_console_write},
    {"vsock_echo_64", make_vsock_echo},   {"rng_fill_64", make_rng_fill},
};

}  // namespace

/// A function of its own, by whose name callgrind knows what to count.
[[gnu::noinline]] void serve(Request& request) {
    request.serve();
    benchmark::ClobberMemory();  // so that this function is still there when the device is done
}

namespace {

void run(benchmark::State& state, const Benchmark& benchmark) {
    // Whatever grows with the first requests has grown when counting begins.
    constexpr int kFirst = 512;
    const auto request = benchmark.make();
    for (int round = 0; round < kFirst; ++round) {
        request->ask();
        request->serve();
    }
    for (auto round : state) {
        request->ask();
        serve(*request);
    }
    if (!request->all_came()) {
        std::fprintf(stderr, "hull_device_bench: not every request of %s was answered\n", benchmark.name);
        std::exit(1);
    }
}

}  // namespace

}  // namespace hull::bench

int main(int argc, char** argv) {
    benchmark::Initialize(&argc, argv);
    constexpr std::string_view kRounds = "--rounds=";
    long rounds = 0;
    if (argc == 2 && std::string_view{argv[1]}.starts_with(kRounds)) {
        rounds = std::atol(argv[1] + kRounds.size());
        --argc;
    }
    if (benchmark::ReportUnrecognizedArguments(argc, argv)) {
        return 2;
    }
    for (const hull::bench::Benchmark& benchmark : hull::bench::kBenchmarks) {
        auto* made = benchmark::RegisterBenchmark(benchmark.name, hull::bench::run, benchmark);
        if (rounds > 0) {
            made->Iterations(rounds);
        }
    }
    benchmark::RunSpecifiedBenchmarks();
    return 0;
}
