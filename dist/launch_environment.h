// What mpirun, srun or torchrun tell a process through its environment, before (and without) MPI.
#pragma once

#include <optional>

namespace shardit {

// The rank; 0 where nothing is said. For messages before MPI is up.
int rank_from_environment();

// How many processes were started together, where mpirun or srun say so. A batch script has Slurm's numbers of the
// whole job in its environment but is one process: only those of a job step count.
std::optional<int> processes_from_environment();

// mpirun or srun started this process as part of an MPI job, even if of one process. torchrun does not: it has no MPI.
bool started_by_launcher();

// Whether this process speaks for its job: rank 0, or one that neither mpirun nor srun started, whatever rank another
// launcher's variables (torchrun's, in the shell of a pod too) give it.
bool speaks_for_job();

// Open MPI's mpirun started it, which ends the job when a process ends with another code than 0.
bool started_by_openmpi();

}  // namespace shardit
