#include "container/main/pull_progress.h"

#include <algorithm>

#include "container/main/human.h"

namespace hull::container {

namespace {

/// "[=====>    ]  1.2MB/3MB"
std::string bar(const LayerProgress& progress) {
    constexpr size_t kWidth = 50;
    const uint64_t total = std::max<uint64_t>(progress.total, 1);
    const auto full = static_cast<size_t>(std::min(progress.done, total) * kWidth / total);
    std::string text(full, '=');
    if (full < kWidth) {
        text += '>';
    }
    text.resize(kWidth, ' ');
    return " [" + text + "]  " + human_size(progress.done) + "/" + human_size(progress.total);
}

}  // namespace

void PullProgress::show(const LayerProgress& progress) {
    const std::string text = progress.layer.short_digits() + ": " + progress.words();
    auto line = std::ranges::find(lines_, progress.layer, &Line::layer);
    const bool is_new_line = line == lines_.end();
    if (is_new_line) {
        lines_.push_back({progress.layer, progress.phase});
        line = lines_.end() - 1;
    }
    const bool is_step = is_new_line || line->phase != progress.phase;
    line->phase = progress.phase;
    if (!is_terminal_) {
        if (is_step) {
            std::fprintf(out_, "%s\n", text.c_str());
        }
    } else if (is_new_line) {
        std::fprintf(out_, "%s\n", text.c_str());
    } else {
        const auto up = static_cast<int>(lines_.end() - line);
        // Up to the line, clear it, and down again.
        std::fprintf(out_, "\x1b[%dA\r\x1b[K%s%s\r\x1b[%dB", up, text.c_str(),
                     progress.is_moving() ? bar(progress).c_str() : "", up);
    }
    std::fflush(out_);
}

}  // namespace hull::container
