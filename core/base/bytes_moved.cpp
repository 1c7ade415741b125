#include "core/base/bytes_moved.h"

#include <algorithm>
#include <fstream>
#include <sstream>
#include <string>

namespace pscale {

uint64_t BytesMoved::mebibytes() {
  std::ostringstream text;
  text << std::ifstream("/proc/self/io").rdbuf();
  std::istringstream io(text.str());
  std::string name;
  uint64_t bytes = 0, sum = 0;
  while (io >> name >> bytes)
    if (name == "rchar:" || name == "wchar:") sum += bytes;
  sum -= std::min(sum, by_looking_);
  by_looking_ += text.str().size();
  return sum >> 20;
}

}  // namespace pscale
