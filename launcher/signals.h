// A polite end: SIGTERM, SIGINT and SIGUSR1 ask the run to finish its step, save, and exit 0.
//
// The handler only sets a flag; the step loop and the samplers poll it, and ranks agree on it before they act. A second
// SIGTERM or SIGINT ends the process at once, as if nobody had caught it. SIGUSR1 (Slurm's early warning) never does,
// so that the SIGTERM that follows it still finds a run that may finish its save.
#pragma once

namespace shardit {

// Installs the handlers. `announce`: say on standard error that the signal was heard (one rank should).
void catch_stop_signals(bool announce);

// Whether one of the signals has arrived. Any thread.
bool stop_requested();

// The first that arrived: SIGTERM, …; 0 while there was none.
int stop_signal();

// As if no signal had arrived. For tests.
void forget_stop_signals();

}  // namespace shardit
