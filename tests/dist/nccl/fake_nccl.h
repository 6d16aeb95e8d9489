// What tests ask of the double of NCCL (fake_nccl.cc), by dlsym.
#pragma once

extern "C" {

struct FakeNcclCounts {
  int alive = 0;          // communicators
  int aborted = 0;        // so far
  int aborted_alone = 0;  // of these, outside of a group while their rank had others: NCCL may then wait for ever
  int memory = 0;         // pieces that are allocated
  int registered = 0;     // pieces, counted for each communicator
  int in_place = 0;       // calls so far from and to registered memory, on all ranks
};

FakeNcclCounts fake_nccl_counts();
void fake_nccl_lose_a_peer();  // from now on, for all who wait for one or ask
void fake_nccl_reset();        // REQUIRES: no communicator is alive
}
