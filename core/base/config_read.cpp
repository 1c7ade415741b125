#include "core/base/config_read.h"

#include <algorithm>
#include <cctype>

#include "core/base/config_assign.h"
#include "core/base/config_text.h"
#include "core/base/errors.h"

namespace pscale {

std::string ConfigOrigins::name(const std::string& key) const {
  const auto found = locations_.find(key);
  if (found == locations_.end() || found->second.text().empty()) return key;
  return cat(found->second.text(), ": ", key);
}

std::string ConfigOrigins::placed(const std::string& sentence) const {
  const std::string key = sentence.substr(0, sentence.find(' '));
  return name(key) + sentence.substr(key.size());
}

bool ConfigOrigins::doubts(const std::string& sentence) const {
  const auto in_word = [](char c) { return std::isalnum(static_cast<unsigned char>(c)) || c == '_'; };
  return std::any_of(doubted_.begin(), doubted_.end(), [&](const std::string& key) {
    for (size_t at = 0; (at = sentence.find(key, at)) != std::string::npos; ++at) {
      const size_t end = at + key.size();
      if ((at == 0 || !in_word(sentence[at - 1])) && (end == sentence.size() || !in_word(sentence[end])))
        return true;
    }
    return false;
  });
}

namespace {

std::string last_part(const std::string& name) { return name.substr(name.rfind('.') + 1); }

class Reader {
 public:
  Reader(const std::vector<ConfigSection>& all, UnknownKeys unknown, const ConfigHints& hints,
         ConfigOrigins& origins, std::vector<std::string>& problems, bool complete = true)
      : unknown_(unknown), complete_(complete), hints_(hints), origins_(origins), problems_(problems) {
    for (const ConfigSection& section : all) {
      sections_.push_back(section.name());
      learn(section);
    }
  }

  void read(const ConfigSection& section, const ConfigTable& values) {
    std::vector<std::string> known;
    for (const ConfigField& field : section.fields()) {
      known.push_back(field.key);
      known.insert(known.end(), field.rule.aliases.begin(), field.rule.aliases.end());
      if (const ConfigValue* value = chosen(section, field.key, field.rule.aliases, values)) {
        set(section.name() + "." + field.key, field, *value);
      } else if (field.rule.required && complete_) {
        origins_.doubt(section.name() + "." + field.key);
        problems_.push_back(
            cat(section.name(), ".", field.key, " is missing: ", field.help, "; it has no default"));
      }
    }
    for (const ConfigSection& table : section.tables()) {
      const std::string key = last_part(table.name());
      known.push_back(key);
      known.insert(known.end(), table.aliases().begin(), table.aliases().end());
      read_table(section, table, values);
    }
    if (unknown_ == UnknownKeys::ignore) return;
    for (const auto& [key, value] : values.entries())
      if (std::find(known.begin(), known.end(), key) == known.end())
        refuse(section.name(), known, key, value);
  }

  void refuse_section(const std::string& name, const ConfigValue& value) {
    const std::string place = place_of(value);
    if (const auto note = hints_.notes.find(name); note != hints_.notes.end()) {
      problems_.push_back(cat(place, "[", name, "]: ", note->second));
      return;
    }
    if (!value.table() && std::find(sections_.begin(), sections_.end(), name) != sections_.end()) {
      problems_.push_back(cat(place, name, " = ", value.text(), " must be a table: [", name, "]"));
      return;
    }
    if (!value.table()) {
      const std::string meant = anywhere(name);
      problems_.push_back(
          cat(place, name, " stands outside any section",
              meant.empty() ? cat("; the sections are ", join(sections_, ", ")) : did_you_mean(meant)));
      return;
    }
    const bool has_renamed =
        std::any_of(hints_.renamed.begin(), hints_.renamed.end(),
                    [&](const auto& entry) { return entry.first.starts_with(name + "."); });
    const std::string near = nearest(name, sections_);
    if (has_renamed || (near.empty() && !value.table()->entries().empty())) {
      for (const auto& [key, item] : value.table()->entries()) refuse(name, {}, key, item);
      return;
    }
    for (const auto& [key, item] : value.table()->entries()) origins_.doubt(near + "." + key);
    problems_.push_back(cat(place, "there is no section [", name, "]",
                            near.empty() ? cat("; the sections are ", join(sections_, ", "))
                                         : cat("; did you mean [", near, "]?")));
  }

 private:
  void learn(const ConfigSection& section) {
    for (const ConfigField& field : section.fields()) all_keys_.push_back(section.name() + "." + field.key);
    for (const ConfigSection& table : section.tables()) learn(table);
  }

  static std::string place_of(const ConfigValue& value) {
    const std::string place = value.location.text();
    return place.empty() ? place : place + ": ";
  }
  std::string did_you_mean(const std::string& key) {
    origins_.doubt(key);
    return cat("; did you mean ", key, "?");
  }

  /// The value of a key or of one of its other names. Two names with different values are a problem.
  const ConfigValue* chosen(const ConfigSection& section, const std::string& key,
                            const std::vector<std::string>& aliases, const ConfigTable& values) {
    const ConfigValue* first = values.find(key);
    for (const std::string& alias : aliases) {
      const ConfigValue* other = values.find(alias);
      if (!other || other->is_null()) continue;
      if (first && !first->is_null() && (other->table() || first->text() != other->text()))
        problems_.push_back(cat(place_of(*other), section.name(), ".", alias, " is the same as ",
                                section.name(), ".", key, ", which is given, too; keep one of them"));
      else
        first = other;
    }
    return first;
  }

  void read_table(const ConfigSection& section, const ConfigSection& table, const ConfigTable& values) {
    const ConfigValue* value = chosen(section, last_part(table.name()), table.aliases(), values);
    if (!value || value->is_null()) return;
    if (const auto* word = std::get_if<std::string>(&value->data); word && *word == "none") return;
    if (!value->table()) {
      problems_.push_back(cat(place_of(*value), table.name(), " = ", value->text(), " must be a table with ",
                              join(table.keys(), ", ")));
      return;
    }
    // A JSON file may know more keys than we do, but not about something that we do compute.
    const UnknownKeys outside = unknown_;
    unknown_ = UnknownKeys::refuse;
    read(table, *value->table());
    unknown_ = outside;
  }

  void set(const std::string& name, const ConfigField& field, const ConfigValue& value) {
    if (value.is_null() && !is_optional(field.target)) return;
    origins_.set(name, value.location);
    const std::string wrong = assign(field, value);
    if (wrong.empty()) return;
    origins_.doubt(name);
    problems_.push_back(cat(place_of(value), name, " = ", value.text(), " ", wrong));
  }

  void refuse(const std::string& section, const std::vector<std::string>& keys, const std::string& key,
              const ConfigValue& value) {
    const std::string name = section + "." + key;
    problems_.push_back(cat(place_of(value), name, " is unknown", advice(section, keys, key)));
  }

  std::string advice(const std::string& section, const std::vector<std::string>& keys,
                     const std::string& key) {
    const std::string name = section + "." + key;
    if (const auto note = hints_.notes.find(name); note != hints_.notes.end()) return "; " + note->second;
    if (const auto found = hints_.renamed.find(name); found != hints_.renamed.end()) {
      origins_.doubt(found->second);
      return cat("; it is called ", found->second, " here");
    }
    if (key == "include") return "; include stands at the top of a file, before the first [section]";
    const std::string exact = exactly(key);
    if (!exact.empty()) return did_you_mean(exact);
    if (const std::string near = nearest(key, keys); !near.empty()) return did_you_mean(section + "." + near);
    if (const std::string near = anywhere(key); !near.empty()) return did_you_mean(near);
    return keys.empty() ? cat("; the sections are ", join(sections_, ", "))
                        : cat("; the keys of [", section, "] are ", join(keys, ", "));
  }

  /// The key of another section, or of another program, with just this name.
  std::string exactly(const std::string& key) const {
    for (const std::string& name : all_keys_)
      if (last_part(name) == key) return name;
    for (const auto& [name, here] : hints_.renamed)
      if (last_part(name) == key) return here;
    return "";
  }

  std::string anywhere(const std::string& key) const {
    if (const std::string exact = exactly(key); !exact.empty()) return exact;
    std::vector<std::string> bare;
    for (const std::string& name : all_keys_) bare.push_back(last_part(name));
    const std::string near = nearest(key, bare);
    return near.empty() ? near : exactly(near);
  }

  UnknownKeys unknown_;
  bool complete_;
  const ConfigHints& hints_;
  ConfigOrigins& origins_;
  std::vector<std::string>& problems_;
  std::vector<std::string> sections_, all_keys_;
};

}  // namespace

void read_section(const ConfigSection& section, const ConfigTable& values, UnknownKeys unknown,
                  const ConfigHints& hints, ConfigOrigins& origins, std::vector<std::string>& problems) {
  Reader({section}, unknown, hints, origins, problems).read(section, values);
}

void read_sections(const std::vector<ConfigSection>& sections, const ConfigTable& values,
                   const ConfigHints& hints, ConfigOrigins& origins, std::vector<std::string>& problems,
                   bool complete) {
  Reader reader(sections, UnknownKeys::refuse, hints, origins, problems, complete);
  std::vector<std::string> names;
  for (const ConfigSection& section : sections) names.push_back(section.name());
  for (const auto& [name, value] : values.entries())
    if (!value.table() || std::find(names.begin(), names.end(), name) == names.end())
      reader.refuse_section(name, value);
  const ConfigTable nothing;
  for (const ConfigSection& section : sections) {
    const ConfigValue* value = values.find(section.name());
    reader.read(section, value && value->table() ? *value->table() : nothing);
  }
}

}  // namespace pscale
