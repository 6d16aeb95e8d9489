// An image whose bytes are no picture, or a damaged one. It is a fact about the bytes: who reads them again gets the
// same error. A disk that fails or a file that is gone is an IoError, and no CorruptImage.
#pragma once

#include "core/error.h"

namespace shardit {

struct CorruptImage : IoError {
  using IoError::IoError;
};

}  // namespace shardit
