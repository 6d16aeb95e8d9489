// The MPI library's own collectives behind our interface, for side-by-side measurements (`shardit bench comm`).
#include "dist/mpi_call.h"
#include "dist/mpi_world.h"

namespace shardit {
namespace {

class LibraryGroup final : public Communicator {
 public:
  LibraryGroup() {
    MPI_REQUIRE(MPI_Comm_dup(MPI_COMM_WORLD, &comm_), "for the library's own collectives");
    MPI_Comm_rank(comm_, &rank_);
    MPI_Comm_size(comm_, &size_);
  }
  const char* name() const override { return "library"; }
  int rank() const override { return rank_; }
  int size() const override { return size_; }

  void all_gather(const char* label, const void* part, void* all, int64_t part_bytes) override {
    const int count = static_cast<int>(part_bytes);
    MPI_REQUIRE(MPI_Allgather(part, count, MPI_BYTE, all, count, MPI_BYTE, comm_), label);
  }
  void all_to_all(const char* label, const void* send, void* receive, int64_t part_bytes) override {
    const int count = static_cast<int>(part_bytes);
    MPI_REQUIRE(MPI_Alltoall(send, count, MPI_BYTE, receive, count, MPI_BYTE, comm_), label);
  }
  void reduce_scatter(const char* label, const float* send, float* receive, int64_t part_elements) override {
    const int count = static_cast<int>(part_elements);
    MPI_REQUIRE(MPI_Reduce_scatter_block(send, receive, count, MPI_FLOAT, MPI_SUM, comm_), label);
  }
  void broadcast(const char* label, void* data, int64_t bytes, int root) override {
    MPI_REQUIRE(MPI_Bcast(data, static_cast<int>(bytes), MPI_BYTE, root, comm_), label);
  }
  void barrier(const char* label) override { MPI_REQUIRE(MPI_Barrier(comm_), label); }

 private:
  MPI_Comm comm_;  // never freed: MPI_Finalize takes it
  int rank_ = 0, size_ = 1;
};

}  // namespace

std::unique_ptr<Communicator> make_mpi_library_group() { return std::make_unique<LibraryGroup>(); }

}  // namespace shardit
