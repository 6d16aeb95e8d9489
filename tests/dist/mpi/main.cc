// One rank of a test program under mpirun. Rank 0 prints as usual, the others only what fails; all end with the same
// exit code, 1 if a check failed on any rank.
#include <gtest/gtest.h>

#include <cstdio>
#include <string>

#include "dist/mpi_world.h"
#include "tests/dist/mpi/mpi_job.h"

namespace shardit::test {
namespace {

World* job = nullptr;

class PrintFailures : public testing::EmptyTestEventListener {
  void OnTestStart(const testing::TestInfo& test) override {
    test_ = std::string(test.test_suite_name()) + "." + test.name();
  }
  void OnTestPartResult(const testing::TestPartResult& result) override {
    if (!result.failed()) return;
    std::printf("rank %d: %s: line %d: %s\n", job->rank(), test_.c_str(), result.line_number(), result.message());
    std::fflush(stdout);
  }
  std::string test_;
};

bool failed_anywhere(bool failed) {
  const auto group = job->make_group("result");
  const char mine = failed;
  std::string all(static_cast<size_t>(job->size()), 0);
  group->all_gather("result", &mine, all.data(), 1);
  return all.find('\1') != std::string::npos;
}

}  // namespace

World& mpi_job() { return *job; }

}  // namespace shardit::test

int main(int argc, char** argv) {
  testing::InitGoogleTest(&argc, argv);
  const auto world = shardit::make_mpi_world(&argc, &argv);
  shardit::test::job = world.get();
  if (world->rank() > 0) {
    auto& listeners = testing::UnitTest::GetInstance()->listeners();
    delete listeners.Release(listeners.default_result_printer());
    listeners.Append(new shardit::test::PrintFailures);
  }
  return shardit::test::failed_anywhere(RUN_ALL_TESTS() != 0);
}
