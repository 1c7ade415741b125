#include "launch/eval/windows.h"

#include <algorithm>

namespace pscale {

std::vector<Window> windows_of(const TokenFile& file, int64_t length, int64_t most) {
  const bool marked = file.meaning() && file.meaning()->end_of_document;
  std::vector<Window> windows;
  int64_t judged = 0;
  for (int64_t document = 0; document < file.documents(); ++document) {
    // Judged are the tokens [begin, end); with a mark the token before `begin` is one, else the first has none before it.
    const int64_t begin = file.document_begin(document) + (marked ? 0 : 1);
    const int64_t end = file.document_begin(document + 1) - (marked ? 1 : 0);
    const int64_t earliest = begin - 1;  // of an input
    for (int64_t at = begin; at < end; at += length) {
      if (most > 0 && judged >= most) return windows;
      int64_t counted = std::min(length, end - at);
      if (most > 0) counted = std::min(counted, most - judged);
      const int64_t last = at + counted - 1;  // target
      const int64_t first = std::max(earliest, last - length);
      windows.push_back({first, last - first, counted});
      judged += counted;
    }
  }
  return windows;
}

}  // namespace pscale
