#include "tests/dist/collectives_suite.h"
#include "tests/dist/mpi/mpi_job.h"

namespace shardit::test {
namespace {

const WorldKind kMpi = {"Mpi", [](const std::function<void(World&)>& body) { body(mpi_job()); }};

INSTANTIATE_TEST_SUITE_P(Worlds, Collectives, testing::Values(kMpi), name_of_kind);

}  // namespace
}  // namespace shardit::test
