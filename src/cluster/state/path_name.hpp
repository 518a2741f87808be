// The form of names that are paths: keys of settings ("containers/9/memory") and authorities
// ("files/9").
#pragma once

#include <string_view>

namespace dvs::cluster {

// 1..key_bytes_max bytes of UTF-8 without control characters; segments separated by single
// slashes, none of them empty, "." or "..".
bool is_path_name(std::string_view name);

// Printable UTF-8 of at most `bytes_max` bytes; may be empty.
bool is_printable(std::string_view text, std::size_t bytes_max);

}  // namespace dvs::cluster
