#include "values.h"

#include <cmath>

namespace addon {
namespace {

constexpr double kIntegerMax = 9007199254740991.0;

// One more than AttributeState's own values, for an attribute that is a template.
constexpr unsigned char kNestedState = 3;

void PutU32(unsigned char** at, std::size_t value) {
  for (int i = 0; i < 4; i++) *(*at)++ = static_cast<unsigned char>(value >> (8 * i));
}

std::size_t EncodedSize(const std::vector<p11::AttributeValue>& values);

std::size_t ValueSize(const p11::AttributeValue& value) {
  return value.nested.empty() ? value.value.size() : EncodedSize(value.nested);
}

std::size_t EncodedSize(const std::vector<p11::AttributeValue>& values) {
  std::size_t size = 4;
  for (const p11::AttributeValue& value : values) size += 9 + ValueSize(value);
  return size;
}

void Encode(const std::vector<p11::AttributeValue>& values, unsigned char** at) {
  PutU32(at, values.size());
  for (const p11::AttributeValue& value : values) {
    PutU32(at, value.type);
    *(*at)++ = value.nested.empty() ? static_cast<unsigned char>(value.state) : kNestedState;
    PutU32(at, ValueSize(value));
    if (!value.nested.empty()) {
      Encode(value.nested, at);
    } else if (value.value.size() > 0) {
      memcpy(*at, value.value.data(), value.value.size());
      *at += value.value.size();
    }
  }
}

}  // namespace

CK_ULONG ToUlong(const Napi::Value& value, const char* name) {
  double number = -1;
  if (napi_get_value_double(value.Env(), value, &number) != napi_ok || !(number >= 0) ||
      number > kIntegerMax || std::floor(number) != number) {
    throw Napi::TypeError::New(value.Env(), std::string(name) + " must be a non-negative integer");
  }
  return static_cast<CK_ULONG>(number);
}

bool ToBool(const Napi::Value& value, const char* name) {
  bool truth = false;
  if (napi_get_value_bool(value.Env(), value, &truth) != napi_ok) {
    throw Napi::TypeError::New(value.Env(), std::string(name) + " must be a boolean");
  }
  return truth;
}

p11::View ToView(const Napi::Value& value, const char* name) {
  bool typed = false;
  napi_typedarray_type type = napi_int8_array;
  std::size_t length = 0;
  void* data = nullptr;
  if (napi_is_typedarray(value.Env(), value, &typed) != napi_ok || !typed ||
      napi_get_typedarray_info(value.Env(), value, &type, &length, &data, nullptr, nullptr) != napi_ok ||
      type != napi_uint8_array) {
    throw Napi::TypeError::New(value.Env(), std::string(name) + " must be a Uint8Array");
  }
  return p11::View(data, data == nullptr ? 0 : length);
}

p11::Bytes ToBytes(Napi::Env env, const Napi::Value& value, const char* name, std::size_t max,
                   const p11::Status& refusal) {
  const p11::View view = ToView(value, name);
  if (view.size > max) Environment::Of(env).Check(refusal);
  return p11::Bytes(view);
}

p11::Bytes ToPin(Napi::Env env, const Napi::Value& value, const char* function) {
  return ToBytes(env, value, "pin", kPinMax, {CKR_PIN_LEN_RANGE, function});
}

p11::Template ToTemplate(Napi::Env env, const Napi::Value& value, const char* function) {
  p11::Template attributes;
  if (!attributes.Decode(ToView(value, "template"))) Environment::Of(env).Check({CKR_ARGUMENTS_BAD, function});
  return attributes;
}

p11::Mechanism ToMechanism(Napi::Env env, const Napi::Value& value, const char* function) {
  if (value.IsNumber()) return p11::Mechanism(ToUlong(value, "mechanism"));
  p11::Mechanism mechanism;
  if (!mechanism.Decode(ToView(value, "mechanism"))) {
    Environment::Of(env).Check({CKR_MECHANISM_PARAM_INVALID, function});
  }
  return mechanism;
}

p11::Operation ToOperation(const Napi::Value& value) {
  const CK_ULONG number = ToUlong(value, "operation");
  if (number > static_cast<CK_ULONG>(p11::Operation::kDigest)) {
    throw Napi::TypeError::New(value.Env(), "no such operation");
  }
  return static_cast<p11::Operation>(number);
}

p11::OaepHash ToOaepHash(const Napi::Value& value) {
  const CK_ULONG number = ToUlong(value, "hash");
  if (number < static_cast<CK_ULONG>(p11::OaepHash::kSha1) ||
      number > static_cast<CK_ULONG>(p11::OaepHash::kSha512)) {
    throw Napi::TypeError::New(value.Env(), "no such hash");
  }
  return static_cast<p11::OaepHash>(number);
}

napi_value FromBytes(napi_env env, const p11::Bytes& bytes) {
  napi_value buffer = nullptr;
  napi_create_buffer_copy(env, bytes.size(), bytes.view().data, nullptr, &buffer);
  return buffer;
}

napi_value FromUlong(napi_env env, CK_ULONG value) {
  napi_value number = nullptr;
  napi_create_double(env, static_cast<double>(value), &number);
  return number;
}

napi_value FromBool(napi_env env, bool value) {
  napi_value truth = nullptr;
  napi_get_boolean(env, value, &truth);
  return truth;
}

napi_value AnswerNothing(napi_env env, Request&) {
  napi_value undefined = nullptr;
  napi_get_undefined(env, &undefined);
  return undefined;
}

napi_value AnswerHandle(napi_env env, Request& request) { return FromUlong(env, request.handle); }

napi_value AnswerHandles(napi_env env, Request& request) {
  napi_value array = nullptr;
  if (napi_create_array_with_length(env, request.handles.size(), &array) != napi_ok) return nullptr;
  std::uint32_t at = 0;
  for (const CK_OBJECT_HANDLE handle : request.handles) {
    if (napi_set_element(env, array, at++, FromUlong(env, handle)) != napi_ok) return nullptr;
  }
  return array;
}

napi_value AnswerOutput(napi_env env, Request& request) { return FromBytes(env, request.output); }

napi_value AnswerValid(napi_env env, Request& request) { return FromBool(env, request.valid); }

napi_value AnswerAttributes(napi_env env, Request& request) {
  void* data = nullptr;
  napi_value buffer = nullptr;
  if (napi_create_buffer(env, EncodedSize(request.values), &data, &buffer) != napi_ok) return nullptr;
  auto* at = static_cast<unsigned char*>(data);
  Encode(request.values, &at);
  return buffer;
}

}  // namespace addon
