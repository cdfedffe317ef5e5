// Sessions, objects and keys. The operations that use keys are in operation.cc.
#include "session.h"

#include <algorithm>

#include "turn.h"

namespace p11 {
namespace {

constexpr CK_ULONG kFindBatch = 256;
constexpr CK_ULONG kWrappedRoom = 8 * 1024;
// More than any attribute of a real token; a broken module must not make us allocate without bound.
constexpr CK_ULONG kAttributeBytesMax = 1024 * 1024;

bool IsTemplate(CK_ATTRIBUTE_TYPE type) {
  return type == CKA_WRAP_TEMPLATE || type == CKA_UNWRAP_TEMPLATE || type == CKA_DERIVE_TEMPLATE;
}

}  // namespace

Status Session::Open(bool read_write) {
  const std::lock_guard<std::mutex> lock(mutex_);
  const Call call(*library_);
  if (!call.admitted()) return {CKR_CRYPTOKI_NOT_INITIALIZED, "C_OpenSession"};
  // A second one would leave the first behind.
  if (open_) return {CKR_SESSION_EXISTS, "C_OpenSession"};
  const CK_FLAGS flags = CKF_SERIAL_SESSION | (read_write ? CKF_RW_SESSION : 0UL);
  const CK_RV rv = call->C_OpenSession(slot_, flags, nullptr, nullptr, &handle_);
  open_ = rv == CKR_OK;
  return {rv, "C_OpenSession"};
}

Status Session::Close() {
  const Turn turn(*this, "C_CloseSession");
  if (turn.refused()) {
    open_ = false;
    return {};
  }
  open_ = false;
  return {turn->C_CloseSession(handle_), "C_CloseSession"};
}

Status Session::GetInfo(CK_SESSION_INFO* info) {
  const Turn turn(*this, "C_GetSessionInfo");
  if (turn.refused()) return turn.refusal();
  return {turn->C_GetSessionInfo(handle_, info), "C_GetSessionInfo"};
}

Status Session::Login(CK_USER_TYPE user, View pin) {
  const Turn turn(*this, "C_Login");
  if (turn.refused()) return turn.refusal();
  return {turn->C_Login(handle_, user, pin.Mutable(), pin.size), "C_Login"};
}

Status Session::Logout() {
  const Turn turn(*this, "C_Logout");
  if (turn.refused()) return turn.refusal();
  return {turn->C_Logout(handle_), "C_Logout"};
}

Status Session::InitPin(View pin) {
  const Turn turn(*this, "C_InitPIN");
  if (turn.refused()) return turn.refusal();
  return {turn->C_InitPIN(handle_, pin.Mutable(), pin.size), "C_InitPIN"};
}

Status Session::SetPin(View old_pin, View new_pin) {
  const Turn turn(*this, "C_SetPIN");
  if (turn.refused()) return turn.refusal();
  return {turn->C_SetPIN(handle_, old_pin.Mutable(), old_pin.size, new_pin.Mutable(), new_pin.size), "C_SetPIN"};
}

Status Session::CreateObject(Template& attributes, CK_OBJECT_HANDLE* object) {
  const Turn turn(*this, "C_CreateObject");
  if (turn.refused()) return turn.refusal();
  return {turn->C_CreateObject(handle_, attributes.attributes(), attributes.count(), object), "C_CreateObject"};
}

Status Session::CopyObject(CK_OBJECT_HANDLE object, Template& attributes, CK_OBJECT_HANDLE* copy) {
  const Turn turn(*this, "C_CopyObject");
  if (turn.refused()) return turn.refusal();
  return {turn->C_CopyObject(handle_, object, attributes.attributes(), attributes.count(), copy),
          "C_CopyObject"};
}

Status Session::DestroyObject(CK_OBJECT_HANDLE object) {
  const Turn turn(*this, "C_DestroyObject");
  if (turn.refused()) return turn.refusal();
  return {turn->C_DestroyObject(handle_, object), "C_DestroyObject"};
}

Status Session::FindObjects(Template& attributes, CK_ULONG max, std::vector<CK_OBJECT_HANDLE>* objects) {
  const Turn turn(*this, "C_FindObjectsInit");
  if (turn.refused()) return turn.refusal();
  CK_RV rv = turn->C_FindObjectsInit(handle_, attributes.attributes(), attributes.count());
  if (rv != CKR_OK) return {rv, "C_FindObjectsInit"};
  CK_OBJECT_HANDLE batch[kFindBatch];
  while (objects->size() < max) {
    const CK_ULONG wanted = std::min<CK_ULONG>(kFindBatch, max - objects->size());
    CK_ULONG found = 0;
    rv = turn->C_FindObjects(handle_, batch, wanted, &found);
    if (rv != CKR_OK || found == 0) break;
    objects->insert(objects->end(), batch, batch + std::min(found, wanted));
  }
  const CK_RV final_rv = turn->C_FindObjectsFinal(handle_);
  if (rv != CKR_OK) return {rv, "C_FindObjects"};
  return {final_rv, "C_FindObjectsFinal"};
}

namespace {

// Reads one attribute after its length is known; nested templates in two more rounds, types and lengths first.
CK_RV ReadValue(const CK_FUNCTION_LIST& functions, CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object,
                CK_ULONG length, AttributeValue* value) {
  CK_ATTRIBUTE attribute = {value->type, nullptr, length};
  if (!IsTemplate(value->type)) {
    value->value = Bytes(length);
    attribute.pValue = value->value.data();
    const CK_RV rv = functions.C_GetAttributeValue(session, object, &attribute, 1);
    if (rv == CKR_OK) value->value.Shorten(attribute.ulValueLen);
    return rv;
  }
  const std::size_t count = length / sizeof(CK_ATTRIBUTE);
  if (count > kAttributesMax) return CKR_GENERAL_ERROR;
  std::vector<CK_ATTRIBUTE> nested(count + 1, CK_ATTRIBUTE{0, nullptr, 0});
  attribute.pValue = nested.data();
  CK_RV rv = functions.C_GetAttributeValue(session, object, &attribute, 1);
  if (rv != CKR_OK) return rv;
  value->nested.resize(count);
  for (std::size_t i = 0; i < count; i++) {
    if (nested[i].ulValueLen > kAttributeBytesMax || IsTemplate(nested[i].type)) return CKR_GENERAL_ERROR;
    value->nested[i].type = nested[i].type;
    value->nested[i].value = Bytes(nested[i].ulValueLen);
    nested[i].pValue = value->nested[i].value.data();
  }
  rv = functions.C_GetAttributeValue(session, object, &attribute, 1);
  if (rv != CKR_OK) return rv;
  for (std::size_t i = 0; i < count; i++) {
    value->nested[i].state = AttributeState::kPresent;
    value->nested[i].value.Shorten(nested[i].ulValueLen);
  }
  return CKR_OK;
}

}  // namespace

Status Session::GetAttributes(CK_OBJECT_HANDLE object, std::vector<AttributeValue>* values) {
  const char* const function = "C_GetAttributeValue";
  const Turn turn(*this, function);
  if (turn.refused()) return turn.refusal();
  // One by one: asked for several at once, a module answers with one code and does not say whose it is.
  for (AttributeValue& value : *values) {
    CK_ATTRIBUTE attribute = {value.type, nullptr, 0};
    CK_RV rv = turn->C_GetAttributeValue(handle_, object, &attribute, 1);
    if (rv == CKR_OK && attribute.ulValueLen == CK_UNAVAILABLE_INFORMATION) rv = CKR_ATTRIBUTE_TYPE_INVALID;
    if (rv == CKR_OK) {
      if (attribute.ulValueLen > kAttributeBytesMax) return {CKR_GENERAL_ERROR, function};
      rv = ReadValue(*turn.operator->(), handle_, object, attribute.ulValueLen, &value);
    }
    if (rv == CKR_ATTRIBUTE_SENSITIVE) {
      value.state = AttributeState::kSensitive;
    } else if (rv == CKR_ATTRIBUTE_TYPE_INVALID) {
      value.state = AttributeState::kAbsent;
    } else if (rv != CKR_OK) {
      return {rv, function};
    } else {
      value.state = AttributeState::kPresent;
    }
  }
  return {};
}

Status Session::SetAttributes(CK_OBJECT_HANDLE object, Template& attributes) {
  const Turn turn(*this, "C_SetAttributeValue");
  if (turn.refused()) return turn.refusal();
  return {turn->C_SetAttributeValue(handle_, object, attributes.attributes(), attributes.count()),
          "C_SetAttributeValue"};
}

Status Session::GenerateKey(Mechanism& mechanism, Template& attributes, CK_OBJECT_HANDLE* key) {
  const Turn turn(*this, "C_GenerateKey");
  if (turn.refused()) return turn.refusal();
  CK_MECHANISM native = mechanism.Native();
  return {turn->C_GenerateKey(handle_, &native, attributes.attributes(), attributes.count(), key),
          "C_GenerateKey"};
}

Status Session::GenerateKeyPair(Mechanism& mechanism, Template& public_attributes,
                                Template& private_attributes, CK_OBJECT_HANDLE* public_key,
                                CK_OBJECT_HANDLE* private_key) {
  const Turn turn(*this, "C_GenerateKeyPair");
  if (turn.refused()) return turn.refusal();
  CK_MECHANISM native = mechanism.Native();
  return {turn->C_GenerateKeyPair(handle_, &native, public_attributes.attributes(), public_attributes.count(),
                                  private_attributes.attributes(), private_attributes.count(), public_key,
                                  private_key),
          "C_GenerateKeyPair"};
}

Status Session::WrapKey(Mechanism& mechanism, CK_OBJECT_HANDLE wrapping_key, CK_OBJECT_HANDLE key,
                        Bytes* wrapped) {
  const Turn turn(*this, "C_WrapKey");
  if (turn.refused()) return turn.refusal();
  CK_MECHANISM native = mechanism.Native();
  CK_ULONG room = kWrappedRoom;
  for (;;) {
    *wrapped = Bytes(room);
    CK_ULONG length = room;
    const CK_RV rv = turn->C_WrapKey(handle_, &native, wrapping_key, key, wrapped->data(), &length);
    if (rv == CKR_BUFFER_TOO_SMALL && length > room && length <= kDataMax) {
      room = length;
      continue;
    }
    if (rv == CKR_OK) wrapped->Shorten(length);
    return {rv, "C_WrapKey"};
  }
}

Status Session::UnwrapKey(Mechanism& mechanism, CK_OBJECT_HANDLE unwrapping_key, View wrapped,
                          Template& attributes, CK_OBJECT_HANDLE* key) {
  const Turn turn(*this, "C_UnwrapKey");
  if (turn.refused()) return turn.refusal();
  CK_MECHANISM native = mechanism.Native();
  return {turn->C_UnwrapKey(handle_, &native, unwrapping_key, wrapped.Mutable(), wrapped.size,
                            attributes.attributes(), attributes.count(), key),
          "C_UnwrapKey"};
}

Status Session::DeriveKey(Mechanism& mechanism, CK_OBJECT_HANDLE base_key, Template& attributes,
                          CK_OBJECT_HANDLE* key) {
  const Turn turn(*this, "C_DeriveKey");
  if (turn.refused()) return turn.refusal();
  CK_MECHANISM native = mechanism.Native();
  return {turn->C_DeriveKey(handle_, &native, base_key, attributes.attributes(), attributes.count(), key),
          "C_DeriveKey"};
}

Status Session::GenerateRandom(CK_ULONG length, Bytes* random) {
  const Turn turn(*this, "C_GenerateRandom");
  if (turn.refused()) return turn.refusal();
  if (length > kRandomMax) return {CKR_ARGUMENTS_BAD, "C_GenerateRandom"};
  *random = Bytes(length);
  return {turn->C_GenerateRandom(handle_, random->data(), length), "C_GenerateRandom"};
}

}  // namespace p11
