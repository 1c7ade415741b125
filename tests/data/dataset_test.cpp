#include "data/sampler/dataset.h"

#include <algorithm>
#include <map>
#include <numeric>
#include <string>

#include "data/token_file/token_file_writer.h"
#include "tests/data/folder.h"

namespace pscale {
namespace {

using Part = DataSplit::Part;

class DatasetTest : public FolderTest {
 protected:
  /// Token files whose token i is i, documents of the given lengths.
  std::string count_up(const std::vector<int64_t>& lengths) {
    TokenFileWriter writer(path("text"), {"count", 100000, {}});
    int32_t next = 0;
    for (const int64_t length : lengths) {
      std::vector<int32_t> tokens(static_cast<size_t>(length));
      std::iota(tokens.begin(), tokens.end(), next);
      next += static_cast<int32_t>(length);
      writer.append(tokens);
      writer.end_document();
    }
    writer.finish();
    return path("text");
  }
  static std::vector<int32_t> sample(const TokenDataset& data, uint64_t i) {
    std::vector<int32_t> tokens(static_cast<size_t>(data.length()) + 1);
    data.sample(i, tokens);
    return tokens;
  }
  static int32_t first(const TokenDataset& data, uint64_t i) { return sample(data, i)[0]; }
};

TEST_F(DatasetTest, EveryTokenOnceInEveryEpoch) {
  for (const int64_t length : {7, 10, 17, 103}) {
    const TokenDataset data(count_up({50, 3, 25, 0, 26, 1, 1, 5}), length, 42);
    ASSERT_EQ(data.tokens(), 111);
    // The first tokens of `length` epochs are cut into whole samples; as inputs all tokens come once an epoch.
    std::map<int32_t, int64_t> seen;
    for (uint64_t i = 0; i < 111; ++i) {
      const auto tokens = sample(data, i);
      for (size_t k = 0; k < static_cast<size_t>(length); ++k) ++seen[tokens[k]];
    }
    ASSERT_EQ(seen.size(), 111u);
    for (const auto& [token, times] : seen) EXPECT_EQ(times, length) << token;
  }
}

TEST_F(DatasetTest, ADocumentIsWholeAndFollowedByAnother) {
  const std::vector<int64_t> lengths{50, 3, 25, 0, 26, 1, 1, 5, 12, 9};
  const TokenDataset data(count_up(lengths), 10, 42);
  std::vector<int64_t> begins(lengths.size());
  std::partial_sum(lengths.begin(), lengths.end() - 1, begins.begin() + 1);
  const auto document_of = [&](int32_t token) { return std::upper_bound(begins.begin(), begins.end(), token) - begins.begin(); };
  std::vector<int32_t> tokens(11), documents(11);
  for (uint64_t i = 0; i < 200; ++i) {
    data.sample(i, tokens, documents);
    EXPECT_EQ(documents[0], 0);
    for (size_t k = 1; k < 11; ++k) {
      const bool same = documents[k] == documents[k - 1];
      EXPECT_EQ(documents[k], documents[k - 1] + (same ? 0 : 1));
      if (same) {
        EXPECT_EQ(tokens[k], tokens[k - 1] + 1);
        EXPECT_EQ(document_of(tokens[k]), document_of(tokens[k - 1]));
      } else {  // one ends, the next begins
        EXPECT_NE(std::count(begins.begin(), begins.end(), tokens[k]), 0);
        EXPECT_TRUE(tokens[k - 1] == 131 || std::count(begins.begin(), begins.end(), tokens[k - 1] + 1) != 0);
      }
    }
  }
}

TEST_F(DatasetTest, SamplesOfAnEpoch) {
  EXPECT_EQ(TokenDataset(count_up({21}), 10, 1).samples_per_epoch(), 3u);  // the last one reaches into the next
  EXPECT_EQ(TokenDataset(count_up({20}), 10, 1).samples_per_epoch(), 2u);
  const DataSplit all{Part::validation, 1};
  EXPECT_EQ(TokenDataset(count_up({21}), 10, 1, all).samples_per_epoch(), 2u);
  EXPECT_EQ(TokenDataset(count_up({20}), 10, 1, all).samples_per_epoch(), 1u);
}

TEST_F(DatasetTest, SamplesArePure) {
  const std::string prefix = count_up({5000});
  const TokenDataset a(prefix, 7, 42), b(prefix, 7, 42), other(prefix, 7, 43);
  std::vector<uint64_t> forward(2000);
  std::iota(forward.begin(), forward.end(), 0);
  std::map<uint64_t, int32_t> seen;
  for (const uint64_t i : forward) seen[i] = first(a, i);
  int same = 0;
  for (auto i = forward.rbegin(); i != forward.rend(); ++i) {
    EXPECT_EQ(first(b, *i), seen[*i]);
    same += first(other, *i) == seen[*i];
  }
  EXPECT_LT(same, 20);
  const uint64_t far = (uint64_t{1} << 60) + 17;
  EXPECT_EQ(sample(a, far), sample(b, far));
}

TEST_F(DatasetTest, EpochsHaveOrdersOfTheirOwn) {
  const TokenDataset data(count_up({5001}), 10, 42);
  int same = 0;
  for (uint64_t i = 0; i < 500; ++i) same += first(data, i) == first(data, 500 + i);
  EXPECT_LT(same, 10);
}

TEST_F(DatasetTest, OrderIsFixedForever) {
  // Runs are continued by later versions: the order must stay what it was.
  const TokenDataset data(count_up({100, 200, 300, 400, 1}), 10, 42);
  const int32_t expected[] = {669, 799, 69, 889, 649, 129, 899, 449};
  for (uint64_t i = 0; i < std::size(expected); ++i) EXPECT_EQ(first(data, i), expected[i]) << i;
  EXPECT_EQ(first(data, 101), 349);
  EXPECT_EQ(first(data, 1 << 20), 925);
}

TEST_F(DatasetTest, ValidationIsTheLastDocumentsInOrder) {
  const std::string prefix = count_up({40, 40, 40, 40, 40, 40, 40, 40, 25, 25});
  const TokenDataset train(prefix, 10, 42, {Part::train, 0.2});
  const TokenDataset validation(prefix, 10, 42, {Part::validation, 0.2});
  EXPECT_EQ(train.documents(), 8);
  EXPECT_EQ(train.tokens(), 320);
  EXPECT_EQ(validation.documents(), 2);
  EXPECT_EQ(validation.tokens(), 50);
  ASSERT_EQ(validation.samples_per_epoch(), 4u);
  for (uint64_t i = 0; i < 12; ++i) EXPECT_EQ(first(validation, i), 320 + 10 * static_cast<int32_t>(i % 4));
  // No token of validation is ever trained on, not even as a target.
  for (uint64_t i = 0; i < 3 * train.samples_per_epoch(); ++i) {
    const auto tokens = sample(train, i);
    EXPECT_LT(*std::max_element(tokens.begin(), tokens.end()), 320);
  }
  // The seed is for training only.
  EXPECT_EQ(first(TokenDataset(prefix, 10, 7, {Part::validation, 0.2}), 1), 330);
}

TEST_F(DatasetTest, TheBorderOfTheSplit) {
  const std::string prefix = count_up(std::vector<int64_t>(30, 20));
  const auto documents = [&](Part part, double fraction) {
    return TokenDataset(prefix, 5, 1, {part, fraction}).documents();
  };
  EXPECT_EQ(documents(Part::validation, 0.1), 3);     // exactly
  EXPECT_EQ(documents(Part::validation, 0.11), 4);    // rounded up
  EXPECT_EQ(documents(Part::validation, 0.0001), 1);  // at least one
  EXPECT_EQ(documents(Part::train, 0.0001), 29);
  EXPECT_EQ(documents(Part::train, 0), 30);
  EXPECT_EQ(documents(Part::validation, 1), 30);
}

TEST_F(DatasetTest, DocumentsAreNumberedWithinTheSample) {
  const std::string prefix = count_up({4, 3, 0, 2, 30});
  const TokenDataset data(prefix, 8, 0, {Part::validation, 1});
  std::vector<int32_t> tokens(9), documents(9);
  data.sample(0, tokens, documents);
  EXPECT_EQ(documents, (std::vector<int32_t>{0, 0, 0, 0, 1, 1, 1, 2, 2}));
  data.sample(1, tokens, documents);
  EXPECT_EQ(tokens[0], 8);
  EXPECT_EQ(documents, (std::vector<int32_t>{0, 1, 1, 1, 1, 1, 1, 1, 1}));
  data.sample(2, tokens, documents);
  EXPECT_EQ(documents, std::vector<int32_t>(9, 0));
}

TEST_F(DatasetTest, DocumentsAreThoseOfTheDocumentIndex) {
  // As Megatron writes them: documents of several sequences, nothing that says their vocabulary.
  TokenFileWriter writer(path("text"), {"count", 1000, {}}, 3);
  for (int32_t d = 0; d < 20; ++d) {
    std::vector<int32_t> tokens(8, d);
    tokens[0] = 100;  // where a document begins
    writer.append(tokens);
    writer.end_document();
  }
  writer.finish();
  std::filesystem::remove(path("text.meta.json"));
  EXPECT_EQ(TokenFile(path("text")).sequences(), 60);
  for (const Part part : {Part::train, Part::validation}) {
    const TokenDataset data(path("text"), 20, 42, {part, 0.5});
    EXPECT_EQ(data.vocabulary(), 101);
    EXPECT_EQ(data.documents(), 10);
    std::vector<int32_t> tokens(21), documents(21);
    for (uint64_t i = 0; i < 20; ++i) {
      data.sample(i, tokens, documents);
      for (size_t k = 1; k < 21; ++k) EXPECT_EQ(tokens[k] == 100, documents[k] != documents[k - 1]) << i << " " << k;
    }
  }
}

TEST_F(DatasetTest, TooLittleText) {
  const std::string error = error_of([&] { TokenDataset data(count_up({4, 6}), 10, 1); });
  EXPECT_NE(error.find("2 of 2 documents with 10 tokens"), std::string::npos) << error;
  EXPECT_NE(error.find("train.sequence_length + 1 = 11"), std::string::npos) << error;
  EXPECT_NE(error.find("prepare more text"), std::string::npos) << error;
  EXPECT_NE(error.find("at most 9"), std::string::npos) << error;
  EXPECT_NE(error_of([&] { TokenDataset data(count_up({}), 10, 1); }).find("0 tokens"), std::string::npos);
}

TEST_F(DatasetTest, TooLittleForValidationSaysWhichFractionIsEnough) {
  std::vector<int64_t> lengths(300, 50);
  lengths.back() = 3;
  const std::string prefix = count_up(lengths);
  const std::string error = error_of([&] { TokenDataset data(prefix, 60, 1, {Part::validation, 0.001}); });
  EXPECT_NE(error.find("1 of 300 documents with 3 tokens"), std::string::npos) << error;
  const std::string before = "to at least ";
  ASSERT_NE(error.find(before), std::string::npos) << error;
  const double enough = std::stod(error.substr(error.find(before) + before.size()));
  EXPECT_EQ(TokenDataset(prefix, 60, 1, {Part::validation, enough}).documents(), 3);
  EXPECT_NE(error.find("at most 2"), std::string::npos) << error;
}

TEST_F(DatasetTest, TooLittleLeftForTraining) {
  const std::string prefix = count_up({50});
  const std::string error = error_of([&] { TokenDataset data(prefix, 10, 1, {Part::train, 0.005}); });
  EXPECT_NE(error.find("training has 0 of 1 documents with 0 tokens"), std::string::npos) << error;
  EXPECT_NE(error.find("data.validation_fraction = 0.005"), std::string::npos) << error;
}

TEST_F(DatasetTest, DamagedTokensAreFound) {
  TokenFileWriter writer(path("text"), {"bytes", 257, {}});
  writer.append(std::vector<int32_t>(20, 1));
  writer.end_document();
  writer.finish();
  std::string bytes = get("text.bin");
  bytes[2 * 13 + 1] = 2;
  put("text.bin", bytes);
  const TokenDataset data(path("text"), 19, 1);
  const std::string error = error_of([&] { sample(data, 0); });
  EXPECT_NE(error.find("text.bin: token 13 is 513, not in the vocabulary of 257"), std::string::npos)
      << error;
}

}  // namespace
}  // namespace pscale
