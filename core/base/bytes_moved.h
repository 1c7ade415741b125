// Bytes a process has read and written: a sign that it gets on while it waits for a disk.
#pragma once

#include <cstdint>

namespace pscale {

class BytesMoved {
 public:
  /// MiB that this process has read and written by system calls so far, sockets included, without what these looks read;
  /// 0 where the system does not tell (/proc/self/io). Data written comes to a disk later, see sync.
  uint64_t mebibytes();

 private:
  uint64_t by_looking_ = 0;
};

}  // namespace pscale
