// Damaged tokenizer files end in an error or in a tokenizer that works; with sanitizers, in no undefined behaviour.
#include "tests/data/mutations.h"
#include "tests/data/small_tokenizer.h"

namespace pscale {
namespace {

class DamagedTokenizer : public FolderTest {
 protected:
  /// Reads `content` as the file `name` and uses the tokenizer.
  void use(const std::string& name, const std::string& content) const {
    const auto tokenizer = make_tokenizer(put(name, content));
    const auto ids = ids_of(*tokenizer, "Hello, h\u00e9llo  12345's \u4f60\r\n<|endoftext|> end ");
    for (const int32_t id : ids) ASSERT_LT(id, tokenizer->vocab_size());
    text_of(*tokenizer, ids);
  }
  std::string whole_json() const {
    Json json = small_tokenizer();
    json["normalizer"] = {{"type", "NFC"}};
    json["pre_tokenizer"] = {
        {"type", "Sequence"},
        {"pretokenizers",
         {{{"type", "Split"},
           {"behavior", "Isolated"},
           {"invert", false},
           {"pattern", {{"Regex", R"((?i:'s|'t)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}|\s+(?!\S)|\s+)"}}}},
          {{"type", "Digits"}, {"individual_digits", true}},
          {{"type", "ByteLevel"}, {"add_prefix_space", false}, {"use_regex", false}}}}};
    return json.dump();
  }
};

TEST_F(DamagedTokenizer, Json) {
  const Outcomes seen =
      check_mutations(whole_json(), 100, 1, [&](const std::string& bad) { use("tokenizer.json", bad); });
  EXPECT_GT(seen.refused, 50);
}

/// Changes that leave it JSON: a value becomes one of another kind.
TEST_F(DamagedTokenizer, ValuesOfAnotherKind) {
  const std::string whole = whole_json();
  const Json values[] = {nullptr, true, -1, 99999999999, 1e308, "", "x", Json::array(), Json::object(), {1, {2, {3}}}};
  std::mt19937_64 random(3);
  int refused = 0;
  constexpr int kCount = 150;
  for (int number = 0; number < kCount; ++number) {
    const Json flat = Json::parse(whole).flatten();
    auto place = flat.begin();
    // Half of them outside the vocabulary and the merges.
    do {
      place = flat.begin();
      std::advance(place, static_cast<std::ptrdiff_t>(random() % flat.size()));
    } while (number % 2 && place.key().starts_with("/model/"));
    Json bad = Json::parse(whole);
    Json::json_pointer pointer(place.key());
    for (auto up = random() % 3; up > 0 && !pointer.parent_pointer().empty(); --up) pointer = pointer.parent_pointer();
    bad[pointer] = values[random() % std::size(values)];
    try {
      use("tokenizer.json", bad.dump());
    } catch (const UserError& wrong) {
      EXPECT_NE(std::string(wrong.what()).find(path("tokenizer.json")), std::string::npos) << wrong.what();
      ++refused;
    }
  }
  EXPECT_GT(refused, kCount / 2);
  EXPECT_LT(refused, kCount);
}

TEST_F(DamagedTokenizer, Ranks) {
  std::string whole = whole_ranks({"ab", "He", "llo"});
  const Outcomes seen = check_mutations(whole, 100, 5, [&](const std::string& bad) { use("qwen.tiktoken", bad); });
  EXPECT_GT(seen.refused, 80);
}

}  // namespace
}  // namespace pscale
