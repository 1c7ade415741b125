#include "data/tokenizer/json_tokenizer.h"

#include <algorithm>
#include <array>
#include <unordered_set>

#include "core/base/durable_file.h"
#include "core/base/hash.h"
#include "data/tokenizer/end_of_document.h"
#include "data/tokenizer/json_place.h"
#include "data/tokenizer/pair_tokenizer.h"
#include "data/tokenizer/unicode.h"

namespace pscale {
namespace {

constexpr int kDeepest = 8;  // sequences within sequences

/// The character that GPT-2's vocabulary writes for a byte: itself where it can be seen, else one from U+0100 on.
std::array<uint32_t, 256> byte_characters() {
  std::array<uint32_t, 256> characters{};
  uint32_t next = 256;
  for (uint32_t byte = 0; byte < 256; ++byte) {
    const bool seen = (byte >= 33 && byte <= 126) || (byte >= 161 && byte != 173);
    characters[byte] = seen ? byte : next++;
  }
  return characters;
}

class Reader {
 public:
  Reader(const JsonPlace& root, PairTokenizerParts& parts) : root_(root), parts_(parts) {
    const auto characters = byte_characters();
    for (uint32_t byte = 0; byte < 256; ++byte) {
      append_character(characters[byte], characters_[byte]);
      bytes_.emplace(characters[byte], static_cast<char>(byte));
    }
  }

  void read() {
    if (!root_.value().is_object()) root_.fail("is not a JSON object");
    normalizer(root_["normalizer"], 0);
    pre_tokenizer(root_["pre_tokenizer"], 0);
    if (!byte_level_) root_["pre_tokenizer"].fail("has no ByteLevel: only byte-level tokenizers are supported");
    model(root_["model"]);
    added_tokens(root_["added_tokens"]);
    decoder(root_["decoder"], 0);
    post_processor(root_["post_processor"], 0);
  }

  std::optional<int32_t> id_of(const std::string& token) const {
    const auto found = ids_.find(token);
    return found == ids_.end() ? std::nullopt : std::optional<int32_t>(found->second);
  }

 private:
  void check_depth(const JsonPlace& place, int depth) const {
    if (depth > kDeepest) place.fail("more than 8 sequences within each other are not supported");
  }

  void normalizer(const JsonPlace& place, int depth) {
    check_depth(place, depth);
    if (place.absent()) return;
    const std::string type = place["type"].text();
    if (type == "NFC") {
      parts_.nfc = true;
    } else if (type == "Sequence") {
      const JsonPlace list = place["normalizers"];
      for (size_t k = 0; k < list.size(); ++k) normalizer(list.at(k), depth + 1);
    } else {
      place["type"].refuse("NFC and Sequence are");
    }
  }

  void pre_tokenizer(const JsonPlace& place, int depth) {
    check_depth(place, depth);
    if (place.absent()) return;
    const std::string type = place["type"].text();
    if (type == "Sequence") {
      const JsonPlace list = place["pretokenizers"];
      for (size_t k = 0; k < list.size(); ++k) pre_tokenizer(list.at(k), depth + 1);
      return;
    }
    if (byte_level_) place["type"].refuse("nothing may follow ByteLevel, which works on bytes");
    if (type == "ByteLevel") {
      byte_level_ = true;
      parts_.words.add_byte_level(place["add_prefix_space"].flag(true), place["use_regex"].flag(true));
    } else if (type == "Digits") {
      parts_.words.add_digits(place["individual_digits"].flag(false));
    } else if (type == "Split") {
      split(place);
    } else {
      place["type"].refuse("Split, Digits, ByteLevel and Sequence are");
    }
  }

  void split(const JsonPlace& place) {
    static const std::pair<const char*, SplitBehavior> behaviors[] = {
        {"Removed", SplitBehavior::removed},
        {"Isolated", SplitBehavior::isolated},
        {"MergedWithPrevious", SplitBehavior::merged_with_previous},
        {"MergedWithNext", SplitBehavior::merged_with_next},
        {"Contiguous", SplitBehavior::contiguous}};
    const std::string name = place["behavior"].text();
    const auto behavior = std::find_if(std::begin(behaviors), std::end(behaviors),
                                       [&](const auto& known) { return known.first == name; });
    if (behavior == std::end(behaviors)) place["behavior"].refuse();
    const JsonPlace pattern = place["pattern"];
    const JsonPlace regex = pattern["Regex"], literal = pattern["String"];
    if (regex.absent() == literal.absent()) pattern.fail("needs either Regex or String");
    try {
      parts_.words.add_split(regex.absent() ? Pattern::of_literal(literal.text()) : Pattern(regex.text()),
                             behavior->second, place["invert"].flag(false));
    } catch (const UserError& wrong) {
      pattern.fail(wrong.what());
    }
  }

  void model(const JsonPlace& place) {
    if (place.absent()) place.fail("is missing");
    if (!place["type"].absent() && place["type"].text() != "BPE") place["type"].refuse("BPE is");
    const JsonPlace dropout = place["dropout"];
    if (!dropout.absent() && !(dropout.value().is_number() && dropout.value().get<double>() == 0)) dropout.refuse();
    for (const char* key : {"continuing_subword_prefix", "end_of_word_suffix"})
      if (!place[key].absent() && !place[key].text().empty()) place[key].refuse();
    vocabulary(place["vocab"]);
    bytes(place);
    merges(place["merges"]);
    if (!place["ignore_merges"].flag(false)) return;
    for (const auto& [token, id] : vocabulary_) {
      std::string text;
      if (to_bytes(token, text)) parts_.whole_words.emplace(std::move(text), id);
    }
  }

  /// What the characters of a token of the vocabulary stand for; false where one stands for no byte.
  bool to_bytes(const std::string& token, std::string& out) const {
    for (size_t at = 0; at < token.size();) {
      const auto byte = bytes_.find(next_character(token, at));
      if (byte == bytes_.end()) return false;
      out += byte->second;
    }
    return true;
  }

  void vocabulary(const JsonPlace& place) {
    if (!place.value().is_object()) place.fail(place.absent() ? "is missing" : "is not an object");
    std::unordered_set<int32_t> seen;
    vocabulary_.reserve(place.value().size());
    for (const auto& [token, value] : place.value().items()) {
      if (!value.is_number_integer()) place.fail(cat("\"", token, "\": ", value.dump(), " is not a token id"));
      const int32_t id = place[token.c_str()].id();
      if (!seen.insert(id).second) place.fail(cat("\"", token, "\": id ", id, " belongs to another token, too"));
      vocabulary_.emplace(token, id);
      std::string text;
      set_text(id, to_bytes(token, text) ? text : token);
    }
    ids_ = vocabulary_;
  }

  void set_text(int32_t id, const std::string& text) {
    if (static_cast<size_t>(id) >= parts_.texts.size()) parts_.texts.resize(static_cast<size_t>(id) + 1);
    parts_.texts[static_cast<size_t>(id)] = text;
  }

  void bytes(const JsonPlace& place) {
    const bool fallback = place["byte_fallback"].flag(false);
    for (size_t byte = 0; byte < 256; ++byte) {
      const auto found = vocabulary_.find(characters_[byte]);
      if (found != vocabulary_.end()) {
        parts_.pairs.set_byte(static_cast<unsigned char>(byte), found->second);
        continue;
      }
      // Falls back to the tokens of the two bytes of that character: no byte-level vocabulary has them.
      char name[8];
      std::snprintf(name, sizeof name, "<0x%02X>", static_cast<unsigned char>(characters_[byte][0]));
      if (fallback && vocabulary_.contains(name)) place["byte_fallback"].refuse();
    }
    const JsonPlace unknown = place["unk_token"];
    if (unknown.absent()) return;
    const auto id = vocabulary_.find(unknown.text());
    if (id == vocabulary_.end()) {
      for (size_t byte = 0; byte < 256; ++byte)
        if (parts_.pairs.of_byte(static_cast<unsigned char>(byte)) == BytePairs::kNoToken)
          unknown.fail(cat(unknown.shown(), " is not in the vocabulary, which lacks byte ", byte));
      return;
    }
    parts_.pairs.set_unknown(id->second, place["fuse_unk"].flag(false));
  }

  void merges(const JsonPlace& place) {
    const size_t count = place.size();
    parts_.pairs.reserve(count);
    int32_t rank = 0;
    for (size_t k = 0; k < count; ++k) {
      const auto& merge = place.value()[k];
      std::string left, right;
      if (merge.is_string()) {
        const std::string both = merge.get<std::string>();
        if (both.starts_with("#version")) continue;
        const size_t blank = both.find(' ');
        if (blank == std::string::npos || both.find(' ', blank + 1) != std::string::npos)
          place.at(k).fail(cat(place.at(k).shown(), " is not two tokens with a space between them"));
        left = both.substr(0, blank);
        right = both.substr(blank + 1);
      } else if (merge.is_array() && merge.size() == 2 && merge[0].is_string() && merge[1].is_string()) {
        left = merge[0].get<std::string>();
        right = merge[1].get<std::string>();
      } else {
        place.at(k).fail(cat(place.at(k).shown(), " is neither a text nor a pair of texts"));
      }
      const auto id = [&](const std::string& token) {
        const auto found = vocabulary_.find(token);
        if (found == vocabulary_.end()) place.at(k).fail(cat("\"", token, "\" is not in the vocabulary"));
        return found->second;
      };
      const int32_t left_id = id(left), right_id = id(right);
      parts_.pairs.add_merge(left_id, right_id, rank++, id(left + right));
    }
  }

  void added_tokens(const JsonPlace& list) {
    if (list.absent()) return;
    auto next = static_cast<int32_t>(vocabulary_.size());
    for (size_t k = 0; k < list.size(); ++k) {
      const JsonPlace place = list.at(k);
      AddedToken token;
      token.content = place["content"].text();
      if (token.content.empty()) continue;  // the package passes over it
      token.id = place["id"].id();
      token.lstrip = place["lstrip"].flag(false);
      token.rstrip = place["rstrip"].flag(false);
      token.single_word = place["single_word"].flag(false);
      token.special = place["special"].flag(false);
      token.normalized = place["normalized"].flag(!token.special);
      // The package numbers tokens that the vocabulary lacks itself, whatever the file says.
      const auto known = ids_.find(token.content);
      const int32_t expected = known != ids_.end() ? known->second : next;
      if (token.id != expected)
        place["id"].fail(cat(token.id, " of ", place["content"].shown(), " would be read as ", expected,
                             " by the tokenizers package: such gaps are not supported"));
      if (known == ids_.end()) ids_.emplace(token.content, token.id);
      next = std::max(next, token.id + 1);
      set_text(token.id, token.content);
      std::string sought = token.content;
      if (token.normalized && parts_.nfc) {
        std::string normal;
        if (normalize_nfc(sought, normal)) sought = normal;
      }
      (token.normalized ? parts_.normalized_tokens : parts_.raw_tokens).add(sought, token);
    }
  }

  void decoder(const JsonPlace& place, int depth) {
    check_depth(place, depth);
    if (place.absent()) return;
    const std::string type = place["type"].text();
    if (type == "Sequence") {
      const JsonPlace list = place["decoders"];
      for (size_t k = 0; k < list.size(); ++k) decoder(list.at(k), depth + 1);
    } else if (type == "Replace") {
      // What converters of SentencePiece add; no byte-level token has that character.
      const JsonPlace pattern = place["pattern"]["String"];
      if (pattern.absent() || pattern.text() != "\u2581") place["pattern"].refuse();
    } else if (type != "ByteLevel" && type != "ByteFallback" && type != "Fuse") {
      place["type"].refuse("ByteLevel is");
    }
  }

  void post_processor(const JsonPlace& place, int depth) {
    check_depth(place, depth);
    if (place.absent()) return;
    const std::string type = place["type"].text();
    if (type == "Sequence") {
      const JsonPlace list = place["processors"];
      for (size_t k = 0; k < list.size(); ++k) post_processor(list.at(k), depth + 1);
    } else if (type == "TemplateProcessing") {
      surround(place);
    } else if (type != "ByteLevel") {
      place["type"].refuse("TemplateProcessing, ByteLevel and Sequence are");
    }
  }

  void surround(const JsonPlace& place) {
    const JsonPlace single = place["single"];
    SurroundingTokens added;
    bool behind = false;
    for (size_t k = 0; k < single.size(); ++k) {
      const JsonPlace sequence = single.at(k)["Sequence"], special = single.at(k)["SpecialToken"];
      if (special.absent()) {
        if (sequence.absent() || sequence["id"].text() != "A" || behind) single.at(k).refuse();
        behind = true;
        continue;
      }
      const std::string name = special["id"].text();
      const JsonPlace ids = place["special_tokens"][name.c_str()]["ids"];
      for (size_t j = 0; j < ids.size(); ++j) {
        const int32_t id = ids.at(j).id();
        if (static_cast<size_t>(id) >= parts_.texts.size()) ids.at(j).fail(cat(id, " is not a token"));
        (behind ? added.after : added.before).push_back(id);
      }
    }
    if (!behind) single.fail("does not hold the text itself");
    auto& [before, after] = parts_.surrounding;
    before.insert(before.begin(), added.before.begin(), added.before.end());
    after.insert(after.end(), added.after.begin(), added.after.end());
  }

  JsonPlace root_;
  PairTokenizerParts& parts_;
  std::array<std::string, 256> characters_;
  std::unordered_map<uint32_t, char> bytes_;
  std::unordered_map<std::string, int32_t> vocabulary_, ids_;  // ids_: with added tokens
  bool byte_level_ = false;
};

}  // namespace

std::unique_ptr<Tokenizer> read_json_tokenizer(const std::string& file, const std::string& end_of_document) {
  const std::string content = read_file(file);
  nlohmann::json json;
  try {
    json = nlohmann::json::parse(content);
  } catch (const nlohmann::json::exception& malformed) {
    throw UserError(cat(file, ": ", malformed.what()));
  }
  PairTokenizerParts parts;
  parts.name = cat("xxh3:", to_hex(hash_of(content.data(), content.size())));
  parts.files = tokenizer_files(file);
  Reader reader(JsonPlace(file, json), parts);
  reader.read();
  parts.end_of_document =
      find_end_of_document(file, end_of_document, [&](const std::string& token) { return reader.id_of(token); });
  if (parts.end_of_document && static_cast<size_t>(*parts.end_of_document) >= parts.texts.size())
    throw UserError(cat(file, ": has no token ", *parts.end_of_document,
                        ", which the files beside it name the end of a text; choose one with --end-of-document"));
  return std::make_unique<PairTokenizer>(std::move(parts));
}

}  // namespace pscale
