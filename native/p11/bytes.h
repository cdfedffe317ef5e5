// Bytes that wipe themselves. Everything that may hold a PIN, a key or a plaintext on its way to or from a
// module lives in `Bytes`; `View` only points and owns nothing.
#pragma once

#include <string.h>

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <new>
#include <utility>

namespace p11 {

// Points at bytes that somebody else keeps alive. Never NULL: SoftHSM2 answers CKR_ARGUMENTS_BAD to a NULL
// pointer even when the length is zero, and leaves the operation active.
struct View {
  View() = default;
  View(const void* bytes, std::size_t length)
      : data(bytes == nullptr ? Nothing() : static_cast<const unsigned char*>(bytes)), size(length) {}

  // PKCS#11 declares inputs without const; modules only read them.
  unsigned char* Mutable() const { return const_cast<unsigned char*>(data); }

  static const unsigned char* Nothing() {
    static const unsigned char nothing[1] = {0};
    return nothing;
  }

  const unsigned char* data = Nothing();
  std::size_t size = 0;
};

// A heap block of fixed capacity whose contents are overwritten when it is let go. Not initialised.
class Bytes {
 public:
  Bytes() = default;
  explicit Bytes(std::size_t capacity) { Allocate(capacity); }
  explicit Bytes(View view) {
    Allocate(view.size);
    if (view.size > 0) memcpy(data_, view.data, view.size);
  }
  Bytes(Bytes&& other) noexcept { Swap(other); }
  Bytes& operator=(Bytes&& other) noexcept {
    if (this != &other) {
      Release();
      Swap(other);
    }
    return *this;
  }
  Bytes(const Bytes&) = delete;
  Bytes& operator=(const Bytes&) = delete;
  ~Bytes() { Release(); }

  unsigned char* data() { return data_; }
  const unsigned char* data() const { return data_; }
  std::size_t size() const { return size_; }
  std::size_t capacity() const { return capacity_; }

  // Shortens; what is cut off stays inside the block and is wiped with it.
  void Shorten(std::size_t size) { size_ = size < capacity_ ? size : capacity_; }

  View view() const { return View(data_, size_); }

 private:
  void Allocate(std::size_t capacity) {
    // One byte at least, so that an empty block still has an address.
    data_ = static_cast<unsigned char*>(malloc(capacity > 0 ? capacity : 1));
    if (data_ == nullptr) throw std::bad_alloc();
    size_ = capacity_ = capacity;
  }
  void Release() {
    if (data_ == nullptr) return;
    explicit_bzero(data_, capacity_);
    free(data_);
    data_ = nullptr;
    size_ = capacity_ = 0;
  }
  void Swap(Bytes& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(size_, other.size_);
    std::swap(capacity_, other.capacity_);
  }

  unsigned char* data_ = nullptr;
  std::size_t size_ = 0;
  std::size_t capacity_ = 0;
};

}  // namespace p11
