#include "data/tokenizer/tokenizer.h"

#include "tests/data/folder.h"

namespace pscale {
namespace {

TEST(ByteTokenizer, RoundTripsEveryByte) {
  const auto tokenizer = make_tokenizer("bytes");
  std::string text;
  for (int c = 0; c < 256; ++c) text.push_back(static_cast<char>(c));
  std::vector<int32_t> tokens = {7};
  tokenizer->encode(text, tokens);
  ASSERT_EQ(tokens.size(), 257u);
  EXPECT_EQ(tokens[0], 7);  // appends
  for (int c = 0; c < 256; ++c) EXPECT_EQ(tokens[static_cast<size_t>(c) + 1], c);
  std::string back;
  tokenizer->decode(std::span(tokens).subspan(1), back);
  EXPECT_EQ(back, text);
}

TEST(ByteTokenizer, EndOfDocumentHasNoText) {
  const auto tokenizer = make_tokenizer("bytes");
  EXPECT_EQ(tokenizer->vocab_size(), 257);
  EXPECT_EQ(tokenizer->end_of_document(), 256);
  EXPECT_EQ(tokenizer->name(), "bytes");
  EXPECT_FALSE(tokenizer->needs_utf8());
  EXPECT_EQ(tokenizer->safe_cut("abc"), 3u);
  std::string text;
  tokenizer->decode(std::vector<int32_t>{65, 256, 66}, text);
  EXPECT_EQ(text, "AB");
  for (const int32_t wrong : {-1, 257})
    EXPECT_NE(
        error_of([&] { tokenizer->decode(std::vector<int32_t>{wrong}, text); }).find(std::to_string(wrong)),
        std::string::npos);
}

using TokenizerNames = FolderTest;

TEST_F(TokenizerNames, OtherNamesSayWhatExists) {
  put("vocab.txt", "a");
  for (const std::string name : {"tokenizer.json", "vocab.txt", ""}) {
    const std::string file = path(name), error = error_of([&] { make_tokenizer(file); });
    EXPECT_NE(error.find(file), std::string::npos) << error;
    EXPECT_NE(error.find("a tokenizer.json, a folder that holds one"), std::string::npos) << error;
  }
  EXPECT_NE(error_of([] { make_tokenizer("bytes", "<eos>"); }).find("--end-of-document <eos>"), std::string::npos);
}

}  // namespace
}  // namespace pscale
