// pscale_ckpt convert | verify | inspect: checkpoints and model folders.
#include <algorithm>
#include <boost/program_options.hpp>
#include <filesystem>
#include <iostream>

#include "core/base/errors.h"
#include "data/tokenizer/tokenizer.h"
#include "launch/checkpoint/checkpoint_folder.h"
#include "launch/command_line.h"
#include "launch/convert/open_model.h"
#include "launch/convert/target_config.h"
#include "launch/metrics/byte_progress.h"
#include "launch/metrics/format.h"
#include "launch/program.h"
#include "models/hf/converted_source.h"
#include "models/hf/export.h"
#include "models/hf/export_config.h"
#include "models/hf/export_tokenizer.h"
#include "parallel/checkpoint/checkpoint.h"

namespace {

namespace options = boost::program_options;
using namespace pscale;

constexpr const char* kUsage =
    "Checkpoints and model folders.\n\n"
    "  pscale_ckpt convert --from A --to B [section.key=value ...]   writes the model in A as the Hugging Face folder B\n"
    "  pscale_ckpt verify CHECKPOINT...                              checks every byte against the manifest\n"
    "  pscale_ckpt inspect MODEL                                     what a checkpoint or Hugging Face folder holds\n\n"
    "pscale_ckpt COMMAND --help lists the options of a command.\n";

/// The type of most tensors of a base: new ones get the same.
DType type_of_new(const TensorSource& base) {
  for (const auto& [name, info] : base.tensors())
    if (info.dtype != DType::bfloat16) return DType::float32;
  return DType::bfloat16;
}

std::optional<DType> dtype_option(const CommandLine& given) {
  if (!given.has("dtype")) return std::nullopt;
  const std::string& name = given.get<std::string>("dtype");
  if (name == "float32") return DType::float32;
  if (name == "bfloat16") return DType::bfloat16;
  throw UserError(cat("--dtype ", name, ": float32 or bfloat16"));
}

/// The token that ends a document, of a tokenizer in files that pscale reads.
std::optional<int32_t> end_of_document(const std::string& tokenizer, const ModelConfig& model) {
  if (tokenizer.empty() || tokenizer == "bytes") return std::nullopt;
  try {
    const auto id = make_tokenizer(tokenizer)->end_of_document();
    return id && *id < model.vocab_size ? id : std::nullopt;
  } catch (const UserError&) {  // of another kind: its files are copied all the same
    return std::nullopt;
  }
}

int convert(const std::vector<std::string>& arguments) {
  options::options_description visible("Options");
  visible.add_options()("from", options::value<std::string>(),
                        "checkpoint, run folder (its latest checkpoint), Hugging Face folder, or the hub id of one in the "
                        "local Hugging Face cache")(
      "to", options::value<std::string>(), "Hugging Face folder to write; must not exist")(
      "dtype", options::value<std::string>(), "float32 or bfloat16 (rounded to nearest even); not given: as stored")(
      "tokenizer", options::value<std::string>(),
      "bytes, or a folder whose tokenizer files are copied; not given: those of --from")(
      "max-shard-bytes", options::value<int64_t>()->default_value(5'000'000'000), "most bytes of tensors in one file");
  const auto given = parse_command_line(
      "pscale_ckpt convert",
      "--from A --to B [parscale.key=value ...] [run.seed=value]\n\n"
      "With parscale keys the model becomes another ParScale model on the way: its weights are kept bit for bit,\n"
      "what the keys add is new (run.seed decides it):\n"
      "  pscale_ckpt convert --from hf-base/ --to start/ parscale.parscale_n=4 parscale.enable_cross_attn=true",
      visible, arguments);
  if (!given) return kExitDone;
  std::vector<std::string> problems;
  for (const char* name : {"from", "to"})
    if (!given->has(name)) problems.push_back(cat("--", name, " is missing: convert --from A --to B"));
  if (given->get<int64_t>("max-shard-bytes") < 1) problems.push_back("--max-shard-bytes must be at least 1");
  for (const std::string& word : given->words)
    if (word.find('=') == std::string::npos) problems.push_back(cat(word, ": is no option and no section.key=value"));
  if (!problems.empty()) throw UserError(std::move(problems));

  ExportOptions how;
  how.dtype = dtype_option(*given);
  how.max_shard_bytes = given->get<int64_t>("max-shard-bytes");
  const std::string to = given->get<std::string>("to");
  OpenModel model = open_model(given->get<std::string>("from"));
  how.like = model.like;
  how.tokenizer = given->has("tokenizer") ? given->get<std::string>("tokenizer") : model.tokenizer;

  const bool other_tokenizer = given->has("tokenizer") || how.like.empty();
  if (other_tokenizer) how.end_of_document = end_of_document(how.tokenizer, model.config);
  if (how.tokenizer.empty())
    std::cout << "note: the model's tokenizer is not known; --tokenizer FOLDER adds its files\n";

  const Target target = target_of(model.config, given->words);
  TensorSource* source = model.tensors.get();
  std::optional<ConvertedSource> converted;
  if (target.changes) {
    for (const std::string& warning : target.config.warnings()) std::cout << "warning: " << warning << "\n";
    source = &converted.emplace(*model.tensors, target.config, target.seed, type_of_new(*model.tensors));
  }

  if (!how.tokenizer.empty() && other_tokenizer && !normalizes_to_nfc(how.tokenizer) &&
      export_family(target.config) == ExportFamily::qwen2)
    std::cout
        << "warning: transformers 5 normalizes the text of every Qwen2 model to NFC: text in decomposed form gets "
           "other ids there than from pscale_data\n";

  std::optional<ByteProgress> display;
  int64_t bytes = 0;
  how.progress = [&](int64_t written, int64_t total) {
    if (!display) display.emplace(total);
    display->show(written);
    bytes = written;
  };
  export_hf(*source, target.config, to, how);
  const double seconds = display ? display->seconds() : 0;
  display.reset();
  std::cout << to << ": " << source->tensors().size() << " tensors";
  if (converted && !converted->added().empty()) std::cout << ", " << converted->added().size() << " of them new";
  std::cout << ", " << format_bytes(static_cast<double>(bytes)) << " in " << format_duration(seconds) << " ("
            << format_bytes(static_cast<double>(bytes) / std::max(seconds, 1e-3)) << "/s)\n";
  return kExitDone;
}

int verify(const std::vector<std::string>& arguments) {
  const auto given = parse_command_line("pscale_ckpt verify",
                                        "CHECKPOINT...\n\nChecks every byte of checkpoints (or of the latest one of a run) "
                                        "against the hashes in their manifests;\nexit 2 where one is damaged.",
                                        options::options_description("Options"), arguments);
  if (!given) return kExitDone;
  if (given->words.empty()) throw UserError("a checkpoint is missing: verify CHECKPOINT...");
  std::vector<std::string> problems;
  for (const std::string& word : given->words) {
    const auto path = find_checkpoint(word);
    if (!path) {
      problems.push_back(cat(word, ": there is no checkpoint"));
      continue;
    }
    try {
      const Checkpoint checkpoint(*path);
      std::optional<ByteProgress> display;
      checkpoint.verify([&](int64_t done, int64_t total) {
        if (!display) display.emplace(total);
        display->show(done);
      });
      display.reset();
      std::cout << path->string() << ": sound, step " << checkpoint.manifest().step << ", "
                << checkpoint.manifest().files.size() << " files, " << format_bytes(static_cast<double>(checkpoint.bytes()))
                << "\n";
    } catch (const UserError& e) {
      problems.insert(problems.end(), e.problems().begin(), e.problems().end());
    }
  }
  if (!problems.empty()) throw UserError(std::move(problems));
  return kExitDone;
}

int inspect(const std::vector<std::string>& arguments) {
  const auto given = parse_command_line("pscale_ckpt inspect",
                                        "MODEL\n\nPrints what a checkpoint, a run's latest one or a Hugging Face folder "
                                        "holds, without reading the weights.",
                                        options::options_description("Options"), arguments);
  if (!given) return kExitDone;
  if (given->words.size() != 1) throw UserError("name one model: inspect MODEL");
  if (const auto path = find_checkpoint(given->words[0])) {
    const Manifest m = read_manifest(*path);
    std::cout << path->string() << "\nstep " << m.step << ", " << m.updates << " updates, " << m.skipped_steps
              << " skipped, next sample " << m.next_sample << "\nsaved " << m.created << " by layout " << to_string(m.layout)
              << " (data x replica x tensor), " << m.files.size() << " files, id " << m.id << "\n";
    for (const auto& [name, version] : m.versions) std::cout << name << " " << version << "\n";
  }
  const OpenModel model = open_model(given->words[0], false);
  int64_t elements = 0;
  std::cout << "\n";
  for (const auto& [name, info] : model.tensors->tensors()) {
    elements += elements_of(info.shape);
    std::cout << name << " " << name_of(info.dtype) << " " << to_string(info.shape) << "\n";
  }
  std::cout << "\n" << model.tensors->tensors().size() << " tensors, " << elements << " elements, P = "
            << model.config.parscale_n << "\n";
  return kExitDone;
}

int run(int argc, char** argv) {
  const std::string command = argc > 1 ? argv[1] : "";
  const std::vector<std::string> arguments(argv + std::min(argc, 2), argv + argc);
  if (command == "convert") return convert(arguments);
  if (command == "verify") return verify(arguments);
  if (command == "inspect") return inspect(arguments);
  if (command == "--help" || command == "-h" || command == "help") {
    std::cout << kUsage;
    return kExitDone;
  }
  throw UserError(cat(command.empty() ? "a command is missing" : cat("\"", command, "\" is no command"),
                      ": convert, verify or inspect; see pscale_ckpt --help"));
}

}  // namespace

int main(int argc, char** argv) {
  return run_program([&] { return run(argc, argv); });
}
