// Reads the little-endian encoding in which templates and mechanism parameters arrive. Trusts nothing: every
// length is checked against what is left, and after the first fault everything reads as empty.
#pragma once

#include <cstdint>

#include "bytes.h"

namespace p11 {

class Reader {
 public:
  explicit Reader(View view) : view_(view) {}

  bool ok() const { return ok_; }
  bool AtEnd() const { return ok_ && offset_ == view_.size; }

  std::uint8_t U8() {
    View bytes = Take(1);
    return bytes.size == 1 ? bytes.data[0] : 0;
  }

  std::uint32_t U32() {
    View bytes = Take(4);
    std::uint32_t value = 0;
    for (std::size_t i = bytes.size; i > 0; i--) value = (value << 8) | bytes.data[i - 1];
    return value;
  }

  std::uint64_t U64() {
    std::uint64_t low = U32();
    std::uint64_t high = U32();
    return (high << 32) | low;
  }

  View Take(std::size_t length) {
    if (!ok_ || length > view_.size - offset_) {
      ok_ = false;
      return View();
    }
    View bytes(view_.data + offset_, length);
    offset_ += length;
    return bytes;
  }

  // A length, then as many bytes.
  View Sized() { return Take(U32()); }
  View Rest() { return Take(view_.size - offset_); }

 private:
  View view_;
  std::size_t offset_ = 0;
  bool ok_ = true;
};

}  // namespace p11
