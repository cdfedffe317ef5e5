#include "template.h"

#include "reader.h"

namespace p11 {

bool Template::Decode(View encoded) {
  if (encoded.size > kTemplateBytesMax) return false;
  encoded_ = Bytes(encoded);
  std::size_t total = 0;
  return DecodeAt(encoded_.view(), 0, total);
}

bool Template::DecodeAt(View encoded, std::size_t depth, std::size_t& total) {
  if (depth >= kTemplateDepthMax) return false;
  Reader reader(encoded);
  const std::uint32_t count = reader.U32();
  // Nested attributes count too, so that no nesting multiplies the limit.
  if (!reader.ok() || count > kAttributesMax - total) return false;
  total += count;
  attributes_.reserve(count);
  for (std::uint32_t i = 0; i < count; i++) {
    CK_ATTRIBUTE attribute = {reader.U32(), nullptr, 0};
    const auto kind = static_cast<AttributeKind>(reader.U8());
    const View value = reader.Sized();
    if (!reader.ok()) return false;
    switch (kind) {
      case AttributeKind::kBool:
        if (value.size != sizeof(CK_BBOOL) || value.data[0] > CK_TRUE) return false;
        attribute.pValue = value.Mutable();
        attribute.ulValueLen = sizeof(CK_BBOOL);
        break;
      case AttributeKind::kBytes:
        attribute.pValue = value.Mutable();
        attribute.ulValueLen = value.size;
        break;
      case AttributeKind::kUlong:
      case AttributeKind::kMechanisms: {
        const std::size_t length = value.size / 8;
        if (value.size % 8 != 0 || (kind == AttributeKind::kUlong && length != 1)) return false;
        auto numbers = std::make_unique<CK_ULONG[]>(length > 0 ? length : 1);
        Reader values(value);
        for (std::size_t n = 0; n < length; n++) numbers[n] = values.U64();
        attribute.pValue = numbers.get();
        attribute.ulValueLen = length * sizeof(CK_ULONG);
        numbers_.push_back(std::move(numbers));
        break;
      }
      case AttributeKind::kTemplate: {
        auto nested = std::make_unique<Template>();
        if (!nested->DecodeAt(value, depth + 1, total)) return false;
        attribute.pValue = nested->attributes();
        attribute.ulValueLen = nested->count() * sizeof(CK_ATTRIBUTE);
        nested_.push_back(std::move(nested));
        break;
      }
      default:
        return false;
    }
    attributes_.push_back(attribute);
  }
  return reader.AtEnd();
}

}  // namespace p11
