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
  EXPECT_TRUE(tokenizer->encodes_in_pieces());
  std::string text;
  tokenizer->decode(std::vector<int32_t>{65, 256, 66}, text);
  EXPECT_EQ(text, "AB");
  for (const int32_t wrong : {-1, 257})
    EXPECT_NE(
        error_of([&] { tokenizer->decode(std::vector<int32_t>{wrong}, text); }).find(std::to_string(wrong)),
        std::string::npos);
}

TEST(Tokenizer, OtherNamesSayWhatExists) {
  const std::string error = error_of([] { make_tokenizer("tokenizer.json"); });
  EXPECT_NE(error.find("tokenizer.json"), std::string::npos);
  EXPECT_NE(error.find("--tokenizer bytes"), std::string::npos);
}

}  // namespace
}  // namespace pscale
