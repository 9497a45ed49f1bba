#include "base/thread_guard.h"

namespace hull {

void thread_is_guarded(ThreadKind /*kind*/) {}

}  // namespace hull
