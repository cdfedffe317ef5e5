#include "library_object.h"

#include "values.h"

namespace addon {
namespace {

constexpr std::size_t kPathMax = 4096;

// Random; no other addon has it.
constexpr napi_type_tag kLibraryTag = {0x8f2b6c1d4e7a4093, 0xa1d5e0c47b9632f8};

// Text fields of a fixed size, padded with blanks and not terminated.
template <std::size_t kSize>
Napi::Value Text(Napi::Env env, const unsigned char (&field)[kSize]) {
  std::size_t length = kSize;
  while (length > 0 && (field[length - 1] == ' ' || field[length - 1] == '\0')) length--;
  return Napi::String::New(env, reinterpret_cast<const char*>(field), length);
}

Napi::Value Version(Napi::Env env, const CK_VERSION& version) {
  // A byte each; the unary plus keeps them from becoming characters.
  return Napi::String::New(env, std::to_string(+version.major) + "." + std::to_string(+version.minor));
}

Napi::Value Count(Napi::Env env, CK_ULONG value) {
  if (value == CK_UNAVAILABLE_INFORMATION) return env.Undefined();
  return Napi::Number::New(env, static_cast<double>(value));
}

Napi::Value List(Napi::Env env, const CK_ULONG* items, CK_ULONG length) {
  Napi::Array array = Napi::Array::New(env, length);
  for (std::uint32_t i = 0; i < length; i++) array.Set(i, Count(env, items[i]));
  return array;
}

}  // namespace

Napi::Function LibraryObject::Define(Napi::Env env) {
  return DefineClass(env, "Library",
                     {
                         InstanceMethod<&LibraryObject::Info>("info"),
                         InstanceMethod<&LibraryObject::Slots>("slots"),
                         InstanceMethod<&LibraryObject::SlotInfo>("slotInfo"),
                         InstanceMethod<&LibraryObject::TokenInfo>("tokenInfo"),
                         InstanceMethod<&LibraryObject::Mechanisms>("mechanisms"),
                         InstanceMethod<&LibraryObject::MechanismInfo>("mechanismInfo"),
                         InstanceMethod<&LibraryObject::InitToken>("initToken"),
                         InstanceMethod<&LibraryObject::CloseAllSessions>("closeAllSessions"),
                         InstanceMethod<&LibraryObject::Close>("close"),
                     });
}

LibraryObject::LibraryObject(const Napi::CallbackInfo& info) : ObjectWrap(info) {
  if (!info[0].IsString()) throw Napi::TypeError::New(info.Env(), "modulePath must be a string");
  const std::string path = info[0].As<Napi::String>().Utf8Value();
  if (path.empty() || path.size() > kPathMax || path.find('\0') != std::string::npos) {
    throw Napi::TypeError::New(info.Env(), "modulePath must be a path");
  }
  Environment& environment = Environment::Of(info.Env());
  std::shared_ptr<p11::Library> library;
  std::string reason;
  environment.Check(p11::Library::Open(path, &library, &reason), reason);
  open_ = std::make_shared<OpenLibrary>();
  open_->library = std::move(library);
  environment.Add(open_);
  info.This().As<Napi::Object>().TypeTag(&kLibraryTag);
}

std::shared_ptr<OpenLibrary> LibraryObject::From(const Napi::Value& value) {
  if (!value.IsObject() || !value.As<Napi::Object>().CheckTypeTag(&kLibraryTag)) {
    throw Napi::TypeError::New(value.Env(), "library must be a Library");
  }
  return Unwrap(value.As<Napi::Object>())->open_;
}

Napi::Value LibraryObject::Info(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  CK_INFO native = {};
  Environment::Of(env).Check(library().GetInfo(&native));
  Napi::Object result = Napi::Object::New(env);
  result["cryptokiVersion"] = Version(env, native.cryptokiVersion);
  result["manufacturerId"] = Text(env, native.manufacturerID);
  result["libraryDescription"] = Text(env, native.libraryDescription);
  result["libraryVersion"] = Version(env, native.libraryVersion);
  return result;
}

Napi::Value LibraryObject::Slots(const Napi::CallbackInfo& info) {
  const bool token_present = ToBool(info[0], "tokenPresent");
  std::unique_ptr<CK_SLOT_ID[]> slots;
  CK_ULONG length = 0;
  Environment::Of(info.Env()).Check(library().GetSlotList(token_present, &slots, &length));
  return List(info.Env(), slots.get(), length);
}

Napi::Value LibraryObject::SlotInfo(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  CK_SLOT_INFO native = {};
  Environment::Of(env).Check(library().GetSlotInfo(ToUlong(info[0], "slot"), &native));
  Napi::Object result = Napi::Object::New(env);
  result["slotDescription"] = Text(env, native.slotDescription);
  result["manufacturerId"] = Text(env, native.manufacturerID);
  result["flags"] = Count(env, native.flags);
  result["hardwareVersion"] = Version(env, native.hardwareVersion);
  result["firmwareVersion"] = Version(env, native.firmwareVersion);
  return result;
}

Napi::Value LibraryObject::TokenInfo(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  CK_TOKEN_INFO native = {};
  Environment::Of(env).Check(library().GetTokenInfo(ToUlong(info[0], "slot"), &native));
  Napi::Object result = Napi::Object::New(env);
  result["label"] = Text(env, native.label);
  result["manufacturerId"] = Text(env, native.manufacturerID);
  result["model"] = Text(env, native.model);
  result["serialNumber"] = Text(env, native.serialNumber);
  result["flags"] = Count(env, native.flags);
  result["maxSessionCount"] = Count(env, native.ulMaxSessionCount);
  result["sessionCount"] = Count(env, native.ulSessionCount);
  result["maxRwSessionCount"] = Count(env, native.ulMaxRwSessionCount);
  result["rwSessionCount"] = Count(env, native.ulRwSessionCount);
  result["maxPinLen"] = Count(env, native.ulMaxPinLen);
  result["minPinLen"] = Count(env, native.ulMinPinLen);
  result["totalPublicMemory"] = Count(env, native.ulTotalPublicMemory);
  result["freePublicMemory"] = Count(env, native.ulFreePublicMemory);
  result["totalPrivateMemory"] = Count(env, native.ulTotalPrivateMemory);
  result["freePrivateMemory"] = Count(env, native.ulFreePrivateMemory);
  result["hardwareVersion"] = Version(env, native.hardwareVersion);
  result["firmwareVersion"] = Version(env, native.firmwareVersion);
  result["utcTime"] = Text(env, native.utcTime);
  return result;
}

Napi::Value LibraryObject::Mechanisms(const Napi::CallbackInfo& info) {
  std::unique_ptr<CK_MECHANISM_TYPE[]> types;
  CK_ULONG length = 0;
  Environment::Of(info.Env())
      .Check(library().GetMechanismList(ToUlong(info[0], "slot"), &types, &length));
  return List(info.Env(), types.get(), length);
}

Napi::Value LibraryObject::MechanismInfo(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  CK_MECHANISM_INFO native = {};
  const CK_SLOT_ID slot = ToUlong(info[0], "slot");
  Environment::Of(env).Check(library().GetMechanismInfo(slot, ToUlong(info[1], "mechanism"), &native));
  Napi::Object result = Napi::Object::New(env);
  result["minKeySize"] = Count(env, native.ulMinKeySize);
  result["maxKeySize"] = Count(env, native.ulMaxKeySize);
  result["flags"] = Count(env, native.flags);
  return result;
}

Napi::Value LibraryObject::InitToken(const Napi::CallbackInfo& info) {
  constexpr std::size_t kLabelSize = 32;
  const Napi::Env env = info.Env();
  Request request;
  request.number = ToUlong(info[0], "slot");
  request.data = ToPin(env, info[1], "C_InitToken");
  const p11::View label = ToView(info[2], "label");
  if (label.size > kLabelSize) Environment::Of(env).Check({CKR_ARGUMENTS_BAD, "C_InitToken"});
  request.other_data = p11::Bytes(kLabelSize);
  memset(request.other_data.data(), ' ', kLabelSize);
  memcpy(request.other_data.data(), label.data, label.size);
  const Job::LibraryWork work = [](p11::Library& library, Request& of) {
    return library.InitToken(of.number, of.data.data(), of.data.size(), of.other_data.data());
  };
  return Napi::Value(env, Job::Run(env, "C_InitToken", open_, std::move(request), work, AnswerNothing));
}

Napi::Value LibraryObject::CloseAllSessions(const Napi::CallbackInfo& info) {
  const CK_SLOT_ID slot = ToUlong(info[0], "slot");
  Environment& environment = Environment::Of(info.Env());
  if (open_->closed) environment.Check({CKR_CRYPTOKI_NOT_INITIALIZED, "C_CloseAllSessions"});
  // One by one: the module's own C_CloseAllSessions would free sessions under calls in flight, and take those
  // of other environments along.
  const std::set<std::shared_ptr<OpenSession>> sessions = open_->sessions;
  for (const auto& session : sessions) {
    if (session->session->slot() == slot) environment.Check(Job::CloseSession(session));
  }
  return info.Env().Undefined();
}

Napi::Value LibraryObject::Close(const Napi::CallbackInfo& info) {
  return Napi::Value(info.Env(), Job::CloseLibrary(info.Env(), open_));
}

}  // namespace addon
