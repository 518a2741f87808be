// The public header of byte buffers and time, by the name the internal code uses.
#pragma once

#include <dvs/bytes.hpp>  // IWYU pragma: export
