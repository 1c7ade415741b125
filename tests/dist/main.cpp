// Runs the distributed tests on every rank in step. Rank 0 reports; another rank speaks only where it fails. One rank's
// failure fails the program.
#include <iostream>

#include "tests/dist/world.h"

namespace pscale::testing {
namespace {

std::unique_ptr<MpiWorld>& holder() {
  static std::unique_ptr<MpiWorld> world;
  return world;
}

class FailuresOnly final : public ::testing::EmptyTestEventListener {
  void OnTestPartResult(const ::testing::TestPartResult& result) override {
    if (result.failed())
      std::cerr << "rank " << world().rank() << ": " << (result.file_name() ? result.file_name() : "") << ":"
                << result.line_number() << ": " << result.message() << std::endl;
  }
};

}  // namespace

MpiWorld& world() { return *holder(); }

}  // namespace pscale::testing

int main(int argc, char** argv) {
  auto& holder = pscale::testing::holder();
  holder = std::make_unique<pscale::MpiWorld>(argc, argv);
  ::testing::InitGoogleTest(&argc, argv);
  if (holder->rank() != 0) {
    auto& listeners = ::testing::UnitTest::GetInstance()->listeners();
    delete listeners.Release(listeners.default_result_printer());
    listeners.Append(new pscale::testing::FailuresOnly);
  }
  int failed = RUN_ALL_TESTS();
  int any = 0;
  MPI_Allreduce(&failed, &any, 1, MPI_INT, MPI_MAX, MPI_COMM_WORLD);
  holder.reset();
  return any;
}
