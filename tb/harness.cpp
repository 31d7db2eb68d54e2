// Drives harness.v without cocotb, for the time that the model takes by itself: the same files in and out as network_tests.py.
//
// Arguments: images, address of the program, its jobs, first word and number of words written out after an image, latency
// of memory, cycles after which an image is given up. Reads image.hex and input_N.hex, writes output_N.hex, and prints for
// every image its cycles, the seconds that they took, and the reports, a semicolon and the counts of the units' activity as
// hexadecimal numbers.
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

#include "Vtop.h"
#include "verilated.h"

// Verilator writes a double underscore in a name as ___05F.

namespace {

constexpr uint64_t RESET_CYCLES = 3;
constexpr uint64_t REPORT_CYCLES = 100;  // after the end of a program, for its last report

[[noreturn]] void fail(const std::string& message) {
    std::fprintf(stderr, "%s\n", message.c_str());
    std::exit(1);
}

class Harness {
public:
    explicit Harness(uint64_t latency) {
        top.latency = latency;
        top.report___05Fready = 1;
        top.activity___05Fready = 1;
        top.record = 0;
        top.rst = 1;
        cycle(RESET_CYCLES);
        top.rst = 0;
        cycle(2);
    }

    ~Harness() { top.final(); }

    void load(const std::string& path) { transfer(top.load, path); }

    void dump(const std::string& path, uint64_t start, uint64_t words) {
        top.dump_start = start;
        top.dump_end = start + words - 1;
        transfer(top.dump, path);
    }

    // Runs the program to its end; returns its cycles.
    uint64_t run(uint64_t program, size_t jobs, uint64_t limit) {
        const uint64_t start = cycles;
        reports.clear();
        activity.clear();
        top.command___05Fpayload = program;
        top.command___05Fvalid = 1;
        top.eval();
        while (!top.command___05Fready) cycle();
        cycle();
        top.command___05Fvalid = 0;
        cycle();
        while (top.busy) {
            if (cycles - start > limit) fail("still busy after " + std::to_string(limit) + " cycles");
            cycle();
        }
        for (uint64_t waited = 0; reports.size() < jobs && waited < REPORT_CYCLES; ++waited) cycle();
        if (top.error || top.fault) fail(top.error ? "the accelerator found a bad descriptor" : "access outside the memory");
        if (reports.size() != jobs) fail(std::to_string(jobs) + " reports expected, got " + std::to_string(reports.size()));
        return cycles - start;
    }

    std::vector<std::string> reports, activity;

private:
    void cycle(uint64_t count = 1) {
        for (; count > 0; --count) {
            if (top.report___05Fvalid) reports.push_back(hexadecimal(top.report___05Fpayload));
            if (top.activity___05Fvalid) activity.push_back(hexadecimal(top.activity___05Fpayload));
            top.clk = 1;
            top.eval();
            top.clk = 0;
            top.eval();
            ++cycles;
        }
    }

    // The path's last character is the least significant byte.
    template <typename Strobe>
    void transfer(Strobe& strobe, const std::string& path) {
        constexpr size_t words = sizeof(top.file) / sizeof(top.file[0]);
        if (path.size() > 4 * words) fail("path too long: " + path);
        for (size_t word = 0; word < words; ++word) top.file[word] = 0;
        for (size_t index = 0; index < path.size(); ++index) {
            const uint32_t byte = static_cast<unsigned char>(path[path.size() - 1 - index]);
            top.file[index / 4] |= byte << (8 * (index % 4));
        }
        strobe = 1;
        cycle(2);
        strobe = 0;
        cycle(2);
    }

    template <size_t words>
    static std::string hexadecimal(const VlWide<words>& number) {
        std::string text;
        char digits[9];
        for (size_t index = words; index-- > 0;) {
            std::snprintf(digits, sizeof digits, "%08x", number[index]);
            text += digits;
        }
        return text;
    }

    VerilatedContext context;
    Vtop top{&context};
    uint64_t cycles = 0;
};

}  // namespace

int main(int count, char** arguments) {
    if (count != 8) fail("7 arguments expected, got " + std::to_string(count - 1));
    uint64_t numbers[7];
    for (int index = 0; index < 7; ++index) numbers[index] = std::strtoull(arguments[index + 1], nullptr, 10);
    const auto& [images, program, jobs, output_address, output_words, latency, limit] = numbers;
    Harness harness(latency);
    harness.load("image.hex");
    for (uint64_t image = 0; image < images; ++image) {
        harness.load("input_" + std::to_string(image) + ".hex");
        const auto started = std::chrono::steady_clock::now();
        const uint64_t cycles = harness.run(program, jobs, limit);
        const std::chrono::duration<double> taken = std::chrono::steady_clock::now() - started;
        harness.dump("output_" + std::to_string(image) + ".hex", output_address, output_words);
        std::printf("%llu %.6f", static_cast<unsigned long long>(cycles), taken.count());
        for (const auto& report : harness.reports) std::printf(" %s", report.c_str());
        std::printf(" ;");
        for (const auto& counts : harness.activity) std::printf(" %s", counts.c_str());
        std::printf("\n");
    }
    return 0;
}
