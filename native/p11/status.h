// The outcome of a call: the return value, and the function that returned it.
#pragma once

#define CRYPTOKI_COMPAT 1
#include "pkcs11.h"

namespace p11 {

// Largest input of one call, and largest answer we make room for.
constexpr unsigned long kDataMax = 64UL * 1024 * 1024;
constexpr unsigned long kRandomMax = 1024UL * 1024;

struct Status {
  CK_RV rv = CKR_OK;
  // A string literal, never freed.
  const char* function = "";

  bool ok() const { return rv == CKR_OK; }
};

}  // namespace p11
