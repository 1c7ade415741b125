// Reads the files of a corpus ahead of those who encode it: a thread of its own gathers batches of pieces, so that
// decompression and waiting for a disk or a pipe cost no time of theirs.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <exception>
#include <functional>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "data/text/text_files.h"

namespace pscale {

/// A line of a JSONL file, or a text or a piece of one. Consecutive pieces of one text are concatenated to it.
struct CorpusPiece {
  const TextFile* file = nullptr;
  int64_t line = 0;  ///< of the piece's first byte, from 1 where the file's part begins (place_of)
  std::string text;
  bool begins = true, ends = true;  ///< its document
  std::string problem;              ///< why its document cannot be used; empty where it can
};

struct CorpusBatch {
  std::vector<CorpusPiece> pieces;
  int64_t files = 0, bytes = 0;  ///< read completely, and of all files (as they lie on the disk), so far
};

struct CorpusReading {
  size_t batch = size_t{4} << 20;       ///< bytes of text in a batch, about
  size_t longest = size_t{256} << 20;  ///< bytes of a line, or of a text between two places where it may be cut
  /// The largest n at which a beginning of a text may be cut into pieces; 0: nowhere.
  std::function<size_t(std::string_view)> cut;
};

class CorpusReader {
 public:
  /// `files` must outlive it.
  CorpusReader(const TextFiles& files, CorpusReading reading);
  ~CorpusReader();
  CorpusReader(const CorpusReader&) = delete;
  CorpusReader& operator=(const CorpusReader&) = delete;

  /// Waits for the next batch; false at the end. Throws UserError with file and line where a file cannot be read or is
  /// damaged, after all that was read before it.
  bool next(CorpusBatch& batch);

 private:
  class Gatherer;
  void run();
  bool put(CorpusBatch batch);

  const TextFiles& files_;
  const CorpusReading reading_;
  std::atomic<bool> stop_ = false;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<CorpusBatch> ready_;
  bool done_ = false;
  std::exception_ptr error_;
  std::thread thread_;
};

/// "FILE: line N: " for the `line`-th line of what is read of a file.
std::string place_of(const TextFile& file, int64_t line);

}  // namespace pscale
