// What people see of a pull.
#pragma once

#include <cstdio>
#include <string>
#include <vector>

#include "container/image/pull.h"

namespace hull::container {

/// On a terminal a line a layer, which is written again and again, as docker's client has it; elsewhere a
/// line for each step of a layer's. One thread at a time.
class PullProgress {
  public:
    PullProgress(std::FILE* out, bool is_terminal) : out_{out}, is_terminal_{is_terminal} {}
    void show(const LayerProgress& progress);

  private:
    struct Line {
        Digest layer;
        LayerProgress::Phase phase;
    };

    std::FILE* out_;
    bool is_terminal_;
    std::vector<Line> lines_;
};

}  // namespace hull::container
