// The one exception of the launch layer.
#pragma once

#include <stdexcept>

namespace sage {

/// What went wrong, where, and what to do; torch turns it into a RuntimeError.
struct Error : std::runtime_error {
  using std::runtime_error::runtime_error;
};

}  // namespace sage
