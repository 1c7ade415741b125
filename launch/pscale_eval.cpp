// pscale_eval MODEL --data PREFIX [section.key=value ...]: loss and perplexity of a checkpoint or Hugging Face folder.
#include <cmath>
#include <iostream>
#include <nlohmann/json.hpp>

#include "launch/command_line.h"
#include "launch/convert/open_model.h"
#include "launch/eval/evaluate.h"
#include "launch/metrics/byte_progress.h"
#include "launch/program.h"
#include "launch/session.h"
#include "parallel/comm/texts.h"

namespace {

namespace options = boost::program_options;
using namespace pscale;

constexpr Purpose kEvaluation{"evaluation"};

int run(int argc, char** argv) {
  options::options_description visible("Options");
  visible.add_options()("data", options::value<std::string>(), "prefix of token files made by pscale_data prepare")(
      "max-tokens", options::value<int64_t>()->default_value(0), "judge the first so many tokens; 0: all");
  const auto given = parse_command_line(
      "pscale_eval",
      "MODEL --data PREFIX [section.key=value ...]\n\n"
      "Loss (nats a token) and perplexity of a checkpoint, the latest of a run, or a Hugging Face folder; alone or under\n"
      "mpirun -np RANKS, in any layout. Each document is judged by itself, from the end-of-document token before it on.\n"
      "Prints one JSON line. Keys: parallel.*, train.sequence_length, train.micro_batch, train.dtype, run.threads.",
      visible, {argv + 1, argv + argc});
  if (!given) return kExitDone;
  std::vector<std::string> problems;
  if (given->words.empty()) problems.push_back("a model is missing: pscale_eval MODEL --data PREFIX");
  if (!given->has("data")) problems.push_back("--data is missing: the prefix of token files made by pscale_data prepare");
  if (given->get<int64_t>("max-tokens") < 0) problems.push_back("--max-tokens must be at least 0");
  if (!problems.empty()) throw UserError(std::move(problems));
  const std::string& path = given->words[0];
  if (!model_config_of(path)) open_model(path);  // says what is wrong with the path

  const Config config = evaluation_config(path, {given->words.begin() + 1, given->words.end()});
  const TokenFile file(given->get<std::string>("data"));
  if (file.vocabulary() > config.model.vocab_size)
    throw UserError(cat(file.prefix(), ": its tokens need a vocabulary of ", file.vocabulary(), ", the model has ",
                        config.model.vocab_size));
  const std::vector<Window> windows = windows_of(file, config.train.sequence_length, given->get<int64_t>("max-tokens"));
  if (windows.empty()) throw UserError(cat(file.prefix(), ": there is no token to judge"));

  MpiWorld world(argc, argv);
  Session session(config, world);
  const Mesh& mesh = session.mesh();
  // Nothing trains: no memory is taken for gradients.
  ParameterSet parameters(session.device(), mesh, config.train.dtype == "bfloat16" ? DType::bfloat16 : DType::float32, true);
  const ParScaleModel model(config.model, parameters, Recompute::none);
  try {
    load_weights(*open_model(path, world.rank() == 0).tensors, held_weights(parameters));
  } catch (const UserError& e) {
    problems = e.problems();
  }
  problems = gather_problems(mesh.group(AxisSet::all()), problems, kEvaluation);
  if (!problems.empty()) throw UserError(std::move(problems));

  std::optional<ByteProgress> display;
  const auto progress = [&](int64_t done, int64_t all) {
    if (world.rank() != 0) return;
    Console console = find_console();
    console.out = &std::cerr;  // standard output has the result alone
    if (!display) display.emplace(all, console, [](double tokens) { return cat(format_count(tokens), " tokens"); });
    display->show(done);
  };
  const Evaluation result = evaluate(model, mesh, session.device(), file, windows, config.train.micro_batch, progress);
  display.reset();
  if (world.rank() == 0)
    std::cout << nlohmann::ordered_json{{"loss", result.loss},
                                        {"perplexity", std::exp(result.loss)},
                                        {"tokens", result.tokens},
                                        {"windows", windows.size()},
                                        {"parallel", to_string(session.layout())}}
              << "\n";
  return kExitDone;
}

}  // namespace

int main(int argc, char** argv) {
  return run_program([&] { return run(argc, argv); });
}
