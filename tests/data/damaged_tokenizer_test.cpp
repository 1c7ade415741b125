// Files with random damage end in an error or in a tokenizer that works; with sanitizers, in no undefined behaviour.
#include <random>

#include "tests/data/small_tokenizer.h"

namespace pscale {
namespace {

std::string damage(std::string content, std::mt19937& random) {
  const auto place = [&] { return random() % content.size(); };
  switch (random() % 6) {
    case 0: content.resize(place()); break;
    case 1: content[place()] = random() % 2 ? static_cast<char>(random()) : "abcXYZ0189"[random() % 10]; break;
    case 2: content.erase(place(), 1 + random() % 40); break;
    case 3: content.insert(place(), content.substr(place(), 1 + random() % 40)); break;
    case 4: {  // a number becomes another one
      const size_t digit = content.find_first_of("0123456789", place());
      if (digit != std::string::npos) content.replace(digit, 1, random() % 2 ? "-" : "99999999999");
      break;
    }
    default: {  // a value of another kind
      const char* values[] = {"null", "true", "[]", "{}", "\"\"", "1e308", "-1", "[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]"};
      const size_t colon = content.find(':', place());
      if (colon == std::string::npos) break;
      const size_t end = std::min(content.find_first_of(",}]", colon), content.size());
      content.replace(colon + 1, end - colon - 1, values[random() % std::size(values)]);
    }
  }
  return content;
}

using DamagedTokenizer = FolderTest;

TEST_F(DamagedTokenizer, EndsInAnErrorOrInWorkingTokens) {
  Json json = small_tokenizer();
  json["normalizer"] = {{"type", "NFC"}};
  json["pre_tokenizer"] = {
      {"type", "Sequence"},
      {"pretokenizers",
       {{{"type", "Split"}, {"behavior", "Isolated"}, {"invert", false},
         {"pattern", {{"Regex", R"((?i:'s|'t)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}|\s+(?!\S)|\s+)"}}}},
        {{"type", "Digits"}, {"individual_digits", true}},
        {{"type", "ByteLevel"}, {"add_prefix_space", false}, {"use_regex", false}}}}};
  const std::string whole = json.dump(), text = "Hello, h\u00e9llo  12345's \u4f60\r\n<|endoftext|> end ";
  std::mt19937 random(11);
  int refused = 0, read = 0;
  for (int k = 0; k < 120; ++k) {
    std::string content = damage(whole, random);
    if (random() % 3 == 0) content = damage(content, random);
    const std::string path = put("tokenizer.json", content);
    try {
      const auto tokenizer = make_tokenizer(path);
      const auto ids = ids_of(*tokenizer, text);
      for (const int32_t id : ids) ASSERT_LT(id, tokenizer->vocab_size());
      text_of(*tokenizer, ids);
      ++read;
    } catch (const UserError& wrong) {
      EXPECT_NE(std::string(wrong.what()).find(path), std::string::npos) << wrong.what();
      ++refused;
    }
  }
  EXPECT_GT(refused, 40);
  EXPECT_GT(read, 0);
}

}  // namespace
}  // namespace pscale
