#include "data/sampler/document_order.h"

#include <algorithm>
#include <numeric>
#include <thread>

#include "data/sampler/blended_dataset.h"
#include "data/token_file/token_file_writer.h"
#include "tests/data/folder.h"

namespace pscale {
namespace {

namespace fs = std::filesystem;

class DocumentOrderTest : public FolderTest {
 protected:
  /// Documents of 0 to 12 tokens; token i is i % 50000.
  std::string write(int64_t documents, const std::string& name = "text", int64_t longer = 0) {
    TokenFileWriter writer(path(name), {"count", 50000, {}});
    int32_t next = 0;
    for (int64_t d = 0; d < documents; ++d) {
      std::vector<int32_t> tokens(static_cast<size_t>(d * 7 % 13 + (d == 3 ? longer : 0)));
      for (int32_t& token : tokens) token = next++ % 50000;
      writer.append(tokens);
      writer.end_document();
    }
    writer.finish();
    return path(name);
  }
  /// Places in the file of all tokens of an epoch, found by walking.
  static std::vector<int64_t> walk(const DocumentOrder& order, uint64_t epoch) {
    std::vector<int64_t> places;
    auto cursor = order.at(epoch, 0);
    while (static_cast<int64_t>(places.size()) < order.tokens()) {
      for (int64_t k = 0; k < cursor.left(); ++k) places.push_back(cursor.token() + k);
      cursor.next();
    }
    return places;
  }
  std::vector<fs::path> cached() const {
    std::vector<fs::path> files;
    std::error_code none;
    for (const auto& entry : fs::directory_iterator(path("text.cache"), none))
      if (entry.path().extension() == ".index") files.push_back(entry.path());
    return files;
  }
};

TEST_F(DocumentOrderTest, RandomAccessIsWhatWalkingGives) {
  const TokenFile file(write(500));
  const DocumentOrder order(file, 20, 450, 42);
  EXPECT_EQ(order.tokens(), file.document_begin(450) - file.document_begin(20));
  std::vector<int64_t> before;
  for (const uint64_t epoch : {0, 1, 2, 1000, 100000}) {
    const auto places = walk(order, epoch);
    for (int64_t t = 0; t < order.tokens(); ++t) {
      const auto cursor = order.at(epoch, t);
      ASSERT_EQ(cursor.token(), places[static_cast<size_t>(t)]) << epoch << " " << t;
      ASSERT_GE(cursor.left(), 1);
    }
    EXPECT_NE(places, before);
    before = places;
    // Every token of every document once.
    auto sorted = places;
    std::sort(sorted.begin(), sorted.end());
    for (size_t t = 0; t < sorted.size(); ++t) ASSERT_EQ(sorted[t], file.document_begin(20) + static_cast<int64_t>(t));
  }
}

TEST_F(DocumentOrderTest, IndexIsKeptBesideTheData) {
  const TokenFile file(write(100));
  const DocumentOrder order(file, 0, 100, 42);
  EXPECT_TRUE(cached().empty());
  order.at(0, 5);
  ASSERT_EQ(cached(), std::vector<fs::path>{order.path(0)});
  const auto made = fs::last_write_time(cached()[0]);
  order.at(order.epochs_together() - 1, 5);  // in the same file
  const DocumentOrder again(file, 0, 100, 42);
  again.at(1, 5);
  ASSERT_EQ(cached().size(), 1u);
  EXPECT_EQ(fs::last_write_time(cached()[0]), made);
  order.at(order.epochs_together(), 5);  // built when it is needed
  EXPECT_EQ(cached().size(), 2u);
}

TEST_F(DocumentOrderTest, OtherInputsHaveOtherFiles) {
  const TokenFile file(write(100)), other(write(100, "other", 1));
  const DocumentOrder order(file, 0, 100, 42);
  EXPECT_NE(order.path(0), DocumentOrder(file, 0, 100, 43).path(0));
  EXPECT_NE(order.path(0), DocumentOrder(file, 0, 99, 42).path(0));
  EXPECT_NE(fs::path(order.path(0)).filename(), fs::path(DocumentOrder(other, 0, 100, 42).path(0)).filename());
  // The same files elsewhere have the same key.
  for (const char* end : {".bin", ".idx", ".meta.json"}) fs::copy_file(path("text") + end, path("moved") + end);
  const TokenFile moved(path("moved"));
  EXPECT_EQ(fs::path(order.path(0)).filename(), fs::path(DocumentOrder(moved, 0, 100, 42).path(0)).filename());
}

TEST_F(DocumentOrderTest, DamagedIndexIsMadeAgain) {
  const TokenFile file(write(300));
  const auto expected = walk(DocumentOrder(file, 0, 300, 42), 3);
  ASSERT_EQ(cached().size(), 1u);
  const std::string name = fs::relative(cached()[0], folder_).string(), good = get(name);
  for (const size_t at : {size_t{0}, size_t{9}, size_t{20}, size_t{30}, size_t{41}, size_t{48}, size_t{60}, good.size() - 1}) {
    std::string bad = good;
    bad[at] = static_cast<char>(bad[at] ^ 1);
    put(name, bad);
    EXPECT_EQ(walk(DocumentOrder(file, 0, 300, 42), 3), expected) << at;
    EXPECT_EQ(get(name), good) << at;
  }
  for (const std::string& bad : {std::string(), good.substr(0, 20), good.substr(0, good.size() - 8), good + "12345678"}) {
    put(name, bad);
    EXPECT_EQ(walk(DocumentOrder(file, 0, 300, 42), 3), expected) << bad.size();
    EXPECT_EQ(get(name), good);
  }
}

TEST_F(DocumentOrderTest, WithoutAPlaceForTheIndex) {
  const TokenFile file(write(300));
  const auto expected = walk(DocumentOrder(file, 0, 300, 42), 3);
  fs::remove_all(path("text.cache"));
  put("text.cache", "a file where the folder should be");
  EXPECT_EQ(walk(DocumentOrder(file, 0, 300, 42), 3), expected);
  EXPECT_EQ(get("text.cache"), "a file where the folder should be");
}

TEST_F(DocumentOrderTest, ManyAtOnceMakeOneFile) {
  const TokenFile file(write(2000));
  std::vector<std::thread> threads;
  std::vector<int64_t> found(8);
  for (size_t t = 0; t < found.size(); ++t)
    threads.emplace_back([&, t] { found[t] = DocumentOrder(file, 0, 2000, 42).at(2, 777).token(); });
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(std::count(found.begin(), found.end(), found[0]), 8);
  EXPECT_EQ(cached().size(), 1u);
}

TEST_F(DocumentOrderTest, BlendedSamplesAreTheSourcesOwn) {
  const std::string a = write(300, "a"), b = write(200, "b", 40);
  const BlendedDataset data({{a, 3.0}, {b, 1.0}}, 9, 42);
  const TokenDataset alone[] = {{a, 9, 42}, {b, 9, 42}};
  std::vector<int32_t> tokens(10), expected(10);
  uint64_t counts[2] = {0, 0};
  for (uint64_t i = 0; i < 1000; ++i) {
    const size_t s = data.blend()[i].source;
    data.sample(i, tokens);
    alone[s].sample(counts[s]++, expected);
    ASSERT_EQ(tokens, expected) << i;
  }
  EXPECT_EQ(counts[0], 750u);
  EXPECT_EQ(data.name(1), "b");
  // Without weights, by size: both go through their documents at the same pace.
  const BlendedDataset by_size({{a, {}}, {b, {}}}, 9, 42);
  EXPECT_DOUBLE_EQ(by_size.blend().weight(0) / by_size.blend().weight(1),
                   static_cast<double>(alone[0].tokens()) / static_cast<double>(alone[1].tokens()));
}

TEST_F(DocumentOrderTest, BlendNamesEverySourceThatIsWrong) {
  const std::string a = write(300, "a"), small = write(2, "small");
  const std::string error =
      error_of([&] { BlendedDataset({{a, {}}, {path("none"), {}}, {small, {}}}, 9, 42); });
  EXPECT_NE(error.find(path("none")), std::string::npos) << error;
  EXPECT_NE(error.find(small + ": training has 2 of 2 documents with 7 tokens"), std::string::npos) << error;
  fs::create_directory(path("x"));
  const BlendedDataset same({{a, {}}, {write(300, "x/a"), {}}}, 9, 42);
  EXPECT_EQ(same.name(1), path("x/a"));
}

}  // namespace
}  // namespace pscale
