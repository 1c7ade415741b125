#include "data/tokenizer/rank_tokenizer.h"

#include "tests/data/small_tokenizer.h"

namespace pscale {
namespace {

using Ids = std::vector<int32_t>;

class RankTokenizer : public FolderTest {};

TEST_F(RankTokenizer, MergesTheNeighboursOfTheLowestRank) {
  put("qwen.tiktoken", whole_ranks({"ab", "bc", "abcd", "cd"}));
  const auto tokenizer = make_tokenizer(path("qwen.tiktoken"));
  EXPECT_EQ(ids_of(*tokenizer, "abc"), (Ids{256, 'c'}));
  EXPECT_EQ(ids_of(*tokenizer, "xbc"), (Ids{'x', 257}));
  EXPECT_EQ(ids_of(*tokenizer, "abcd"), (Ids{258}));
  EXPECT_EQ(ids_of(*tokenizer, "e\u0301"), (Ids{0xc3, 0xa9}));  // normal form C
  EXPECT_EQ(ids_of(*tokenizer, "12"), (Ids{'1', '2'}));
  EXPECT_EQ(ids_of(*tokenizer, "ab<|endoftext|>"), (Ids{256, 260}));
  EXPECT_EQ(tokenizer->end_of_document(), 260);
  EXPECT_EQ(tokenizer->vocab_size(), 260 + 208);
  EXPECT_EQ(text_of(*tokenizer, {258, 262, 263, 'x'}), "abcd<|im_end|><|extra_0|>x");
  EXPECT_EQ(make_tokenizer(folder_.string())->name(), tokenizer->name());
}

TEST_F(RankTokenizer, NamesFileAndLine) {
  const std::string file = path("qwen.tiktoken"), good = whole_ranks({"ab"});
  const auto error = [&](const std::string& content) {
    put("qwen.tiktoken", content);
    return error_of([&] { make_tokenizer(file); });
  };
  for (const char* wrong : {"YWI=", "YWI= x", "YWI= -1", "YW 300", "Y*I= 300", "= 300", "YWI= 99999999"})
    EXPECT_NE(error(good + wrong + "\n").find(file + ":258: "), std::string::npos) << wrong;
  EXPECT_NE(error(good + "eHg= 256\n").find("rank 256 was given before"), std::string::npos);
  EXPECT_NE(error(good + "YWI= 257\n").find("ranks 256 and 257 are the same token"), std::string::npos);
  EXPECT_NE(error(good + "eHg= 258\n").find("some are missing"), std::string::npos);
  EXPECT_NE(error("").find("holds no ranks"), std::string::npos);
  EXPECT_NE(error("YWI= 0\n").find("byte 0 has no rank"), std::string::npos);
}

TEST_F(RankTokenizer, RefusesOtherEncodings) {
  put("cl100k_base.tiktoken", whole_ranks({"ab"}));
  EXPECT_NE(error_of([&] { make_tokenizer(path("cl100k_base.tiktoken")); }).find("cl100k_base is not supported"),
            std::string::npos);
}

}  // namespace
}  // namespace pscale
