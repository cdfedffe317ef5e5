// An attribute template that owns every byte it points at for as long as it lives.
#pragma once

#include <memory>
#include <vector>

#include "bytes.h"
#include "status.h"

namespace p11 {

// How an attribute's value is encoded. The numbers are shared with attribute.ts.
enum class AttributeKind : std::uint8_t { kBool = 1, kUlong = 2, kBytes = 3, kTemplate = 4, kMechanisms = 5 };

constexpr std::size_t kAttributesMax = 256;
constexpr std::size_t kTemplateDepthMax = 4;
constexpr std::size_t kTemplateBytesMax = 1024 * 1024;

// Encoding: u32 count, then per attribute u32 type, u8 kind, u32 length, value. A nested template is encoded
// the same way inside the value; numbers are u64.
class Template {
 public:
  Template() = default;
  Template(Template&&) = default;
  Template& operator=(Template&&) = default;

  // Takes a copy of `encoded`. False if it is malformed, too large or nested too deep.
  bool Decode(View encoded);

  // Valid until the template is changed or destroyed; moving keeps it valid.
  CK_ATTRIBUTE* attributes() { return attributes_.empty() ? &none_ : attributes_.data(); }
  CK_ULONG count() const { return attributes_.size(); }

 private:
  bool DecodeAt(View encoded, std::size_t depth, std::size_t& total);

  CK_ATTRIBUTE none_ = {0, nullptr, 0};
  Bytes encoded_;
  std::vector<CK_ATTRIBUTE> attributes_;
  // Numbers need their own aligned place; the encoding has none.
  std::vector<std::unique_ptr<CK_ULONG[]>> numbers_;
  std::vector<std::unique_ptr<Template>> nested_;
};

}  // namespace p11
