// Calls of the MPI library whose failure is a CommError with the call, what it was for, and the library's own text.
#pragma once

#include <mpi.h>

#include <string>

#include "core/error.h"

namespace shardit {

inline std::string mpi_error_text(int code) {
  char text[MPI_MAX_ERROR_STRING] = "";
  int length = 0;
  MPI_Error_string(code, text, &length);
  return text;
}

// `what` is evaluated only on failure.
#define MPI_REQUIRE(call, what)                                                                           \
  do {                                                                                                    \
    if (const int code = (call); code != MPI_SUCCESS)                                                     \
      throw CommError(std::string(#call).substr(0, std::string(#call).find('(')) + ", " + (what) + ": " + \
                      mpi_error_text(code));                                                              \
  } while (false)

}  // namespace shardit
