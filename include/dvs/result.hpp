// Result<T>: a value, or an Error. The only way in which functions of this code base fail.
#pragma once

#include <cerrno>
#include <expected>
#include <string>
#include <utility>

#include <dvs/error.hpp>

namespace dvs {

template <class T>
using Result = std::expected<T, Error>;

inline std::unexpected<Error> fail(Errc code, std::string detail = {}) {
  return std::unexpected(Error{code, 0, std::move(detail)});
}

// For a failed operating system call; reads errno unless told otherwise.
inline std::unexpected<Error> fail_os(std::string what, int os_errno = errno) {
  return std::unexpected(Error{Errc::system, os_errno, std::move(what)});
}

}  // namespace dvs

#define DVS_CONCAT_INNER(a, b) a##b
#define DVS_CONCAT(a, b) DVS_CONCAT_INNER(a, b)

// DVS_TRY(auto value, expression): returns the error from the enclosing function, or binds the
// value.
#define DVS_TRY(declaration, ...)                                              \
  auto DVS_CONCAT(dvs_try_, __LINE__) = (__VA_ARGS__);                         \
  if (!DVS_CONCAT(dvs_try_, __LINE__))                                         \
    return std::unexpected(std::move(DVS_CONCAT(dvs_try_, __LINE__)).error()); \
  declaration = *std::move(DVS_CONCAT(dvs_try_, __LINE__))

// The same for Result<void>, or where the value is not needed.
#define DVS_CHECK(...)                                             \
  do {                                                             \
    if (auto dvs_check_result = (__VA_ARGS__); !dvs_check_result)  \
      return std::unexpected(std::move(dvs_check_result).error()); \
  } while (false)
