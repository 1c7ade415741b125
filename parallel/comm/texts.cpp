#include "parallel/comm/texts.h"

#include <algorithm>
#include <cstring>

namespace pscale {

std::vector<std::string> gather_texts(Communicator& group, const std::string& own, Purpose purpose) {
  // Collectives move bits, whatever the type: all is sent as int32.
  const auto ranks = static_cast<size_t>(group.size());
  const auto bytes = static_cast<int64_t>(own.size());
  std::vector<int64_t> sizes(ranks);
  group.all_gather(&bytes, sizes.data(), 2, DType::int32, purpose).wait();
  const int64_t words = (*std::max_element(sizes.begin(), sizes.end()) + 3) / 4;
  std::vector<std::string> texts(ranks);
  if (words == 0) return texts;
  std::vector<int32_t> mine(static_cast<size_t>(words)), all(static_cast<size_t>(words) * ranks);
  std::memcpy(mine.data(), own.data(), own.size());
  group.all_gather(mine.data(), all.data(), words, DType::int32, purpose).wait();
  for (size_t r = 0; r < ranks; ++r)
    texts[r].assign(reinterpret_cast<const char*>(all.data() + r * static_cast<size_t>(words)), static_cast<size_t>(sizes[r]));
  return texts;
}

std::vector<std::string> gather_problems(Communicator& group, const std::vector<std::string>& own, Purpose purpose) {
  std::vector<std::string> problems;
  for (const std::string& text : gather_texts(group, join(own, "\n"), purpose)) {
    for (size_t begin = 0; begin < text.size();) {
      const size_t end = std::min(text.find('\n', begin), text.size());
      const std::string problem = text.substr(begin, end - begin);
      if (std::find(problems.begin(), problems.end(), problem) == problems.end()) problems.push_back(problem);
      begin = end + 1;
    }
  }
  return problems;
}

}  // namespace pscale
