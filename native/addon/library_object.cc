#include "library_object.h"

#include "values.h"

namespace addon {
namespace {

constexpr std::size_t kPathMax = 4096;
// What a number of JavaScript holds.
constexpr CK_ULONG kIntegerMax = (1UL << 53) - 1;
constexpr std::size_t kParametersMax = 16 * 1024;

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
  // Nor is a count what a token says that has no limit.
  if (value > kIntegerMax) return env.Undefined();
  return Napi::Number::New(env, static_cast<double>(value));
}

template <typename Info>
Info& Room(Request& request) {
  return request.info.emplace<Info>(Info{});
}

napi_value AnswerList(napi_env env, Request& request) {
  Napi::Array array = Napi::Array::New(env, request.handles.size());
  std::uint32_t at = 0;
  for (const CK_ULONG item : request.handles) array.Set(at++, Count(env, item));
  return array;
}

napi_value AnswerInfo(napi_env env, Request& request) {
  const auto& native = std::get<CK_INFO>(request.info);
  Napi::Object result = Napi::Object::New(env);
  result["cryptokiVersion"] = Version(env, native.cryptokiVersion);
  result["manufacturerId"] = Text(env, native.manufacturerID);
  result["libraryDescription"] = Text(env, native.libraryDescription);
  result["libraryVersion"] = Version(env, native.libraryVersion);
  return result;
}

napi_value AnswerSlotInfo(napi_env env, Request& request) {
  const auto& native = std::get<CK_SLOT_INFO>(request.info);
  Napi::Object result = Napi::Object::New(env);
  result["slotDescription"] = Text(env, native.slotDescription);
  result["manufacturerId"] = Text(env, native.manufacturerID);
  result["flags"] = Count(env, native.flags);
  result["hardwareVersion"] = Version(env, native.hardwareVersion);
  result["firmwareVersion"] = Version(env, native.firmwareVersion);
  return result;
}

napi_value AnswerTokenInfo(napi_env env, Request& request) {
  const auto& native = std::get<CK_TOKEN_INFO>(request.info);
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

napi_value AnswerMechanismInfo(napi_env env, Request& request) {
  const auto& native = std::get<CK_MECHANISM_INFO>(request.info);
  Napi::Object result = Napi::Object::New(env);
  result["minKeySize"] = Count(env, native.ulMinKeySize);
  result["maxKeySize"] = Count(env, native.ulMaxKeySize);
  result["flags"] = Count(env, native.flags);
  return result;
}

Request ReadNothing(const Napi::CallbackInfo&) { return {}; }

Request ReadSlot(const Napi::CallbackInfo& info) {
  Request request;
  request.number = ToUlong(info[0], "slot");
  return request;
}

template <typename Item>
void Keep(const std::unique_ptr<Item[]>& items, CK_ULONG length, const p11::Status& status, Request& request) {
  if (status.ok()) request.handles.assign(items.get(), items.get() + length);
}

}  // namespace

struct LibraryObject::Question {
  const char* function;
  Request (*read)(const Napi::CallbackInfo& info);
  Job::LibraryWork work;
  Job::Answer answer;
};

constexpr LibraryObject::Question LibraryObject::kOpen = {
    "C_Initialize", ReadNothing, [](p11::Library& library, Request& of) { return library.Open(&of.reason); },
    AnswerNothing};

constexpr LibraryObject::Question LibraryObject::kInfo = {
    "C_GetInfo", ReadNothing,
    [](p11::Library& library, Request& of) { return library.GetInfo(&Room<CK_INFO>(of)); }, AnswerInfo};

constexpr LibraryObject::Question LibraryObject::kSlots = {
    "C_GetSlotList",
    [](const Napi::CallbackInfo& info) {
      Request request;
      request.valid = ToBool(info[0], "tokenPresent");
      return request;
    },
    [](p11::Library& library, Request& of) {
      std::unique_ptr<CK_SLOT_ID[]> slots;
      CK_ULONG length = 0;
      const p11::Status status = library.GetSlotList(of.valid, &slots, &length);
      Keep(slots, length, status, of);
      return status;
    },
    AnswerList};

constexpr LibraryObject::Question LibraryObject::kSlotInfo = {
    "C_GetSlotInfo", ReadSlot,
    [](p11::Library& library, Request& of) { return library.GetSlotInfo(of.number, &Room<CK_SLOT_INFO>(of)); },
    AnswerSlotInfo};

constexpr LibraryObject::Question LibraryObject::kTokenInfo = {
    "C_GetTokenInfo", ReadSlot,
    [](p11::Library& library, Request& of) { return library.GetTokenInfo(of.number, &Room<CK_TOKEN_INFO>(of)); },
    AnswerTokenInfo};

constexpr LibraryObject::Question LibraryObject::kMechanisms = {
    "C_GetMechanismList", ReadSlot,
    [](p11::Library& library, Request& of) {
      std::unique_ptr<CK_MECHANISM_TYPE[]> types;
      CK_ULONG length = 0;
      const p11::Status status = library.GetMechanismList(of.number, &types, &length);
      Keep(types, length, status, of);
      return status;
    },
    AnswerList};

constexpr LibraryObject::Question LibraryObject::kMechanismInfo = {
    "C_GetMechanismInfo",
    [](const Napi::CallbackInfo& info) {
      Request request = ReadSlot(info);
      request.object = ToUlong(info[1], "mechanism");
      return request;
    },
    [](p11::Library& library, Request& of) {
      return library.GetMechanismInfo(of.number, of.object, &Room<CK_MECHANISM_INFO>(of));
    },
    AnswerMechanismInfo};

template <const LibraryObject::Question& kQuestion>
Napi::Value LibraryObject::Ask(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  Request request = kQuestion.read(info);
  return Napi::Value(env, Job::Run(env, kQuestion.function, open_, std::move(request), kQuestion.work, kQuestion.answer));
}

template <const LibraryObject::Question& kQuestion>
Napi::Value LibraryObject::AskSync(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  Environment& environment = Environment::Of(env);
  Request request = kQuestion.read(info);
  if (open_->closed) environment.Check({CKR_CRYPTOKI_NOT_INITIALIZED, kQuestion.function});
  const p11::Status status = kQuestion.work(*open_->library, request);
  environment.Check(status, request.reason);
  return Napi::Value(env, kQuestion.answer(env, request));
}

Napi::Function LibraryObject::Define(Napi::Env env) {
  return DefineClass(env, "Library",
                     {
                         InstanceMethod<&LibraryObject::Ask<kOpen>>("open"),
                         InstanceMethod<&LibraryObject::AskSync<kOpen>>("openSync"),
                         InstanceMethod<&LibraryObject::Ask<kInfo>>("info"),
                         InstanceMethod<&LibraryObject::AskSync<kInfo>>("infoSync"),
                         InstanceMethod<&LibraryObject::Ask<kSlots>>("slots"),
                         InstanceMethod<&LibraryObject::AskSync<kSlots>>("slotsSync"),
                         InstanceMethod<&LibraryObject::Ask<kSlotInfo>>("slotInfo"),
                         InstanceMethod<&LibraryObject::AskSync<kSlotInfo>>("slotInfoSync"),
                         InstanceMethod<&LibraryObject::Ask<kTokenInfo>>("tokenInfo"),
                         InstanceMethod<&LibraryObject::AskSync<kTokenInfo>>("tokenInfoSync"),
                         InstanceMethod<&LibraryObject::Ask<kMechanisms>>("mechanisms"),
                         InstanceMethod<&LibraryObject::AskSync<kMechanisms>>("mechanismsSync"),
                         InstanceMethod<&LibraryObject::Ask<kMechanismInfo>>("mechanismInfo"),
                         InstanceMethod<&LibraryObject::AskSync<kMechanismInfo>>("mechanismInfoSync"),
                         InstanceMethod<&LibraryObject::InitToken>("initToken"),
                         InstanceMethod<&LibraryObject::CloseAllSessions>("closeAllSessions"),
                         InstanceMethod<&LibraryObject::Close>("close"),
                     });
}

LibraryObject::LibraryObject(const Napi::CallbackInfo& info) : ObjectWrap(info) {
  const auto text = [&](std::size_t at, const char* name, std::size_t max) {
    if (!info[at].IsString()) throw Napi::TypeError::New(info.Env(), std::string(name) + " must be a string");
    std::string value = info[at].As<Napi::String>().Utf8Value();
    if (value.size() > max || value.find('\0') != std::string::npos) {
      throw Napi::TypeError::New(info.Env(), std::string(name) + " is too long, or has a zero in it");
    }
    return value;
  };
  std::string path = text(0, "modulePath", kPathMax);
  if (path.empty()) throw Napi::TypeError::New(info.Env(), "modulePath must be a path");
  open_ = std::make_shared<OpenLibrary>();
  open_->library = std::make_shared<p11::Library>(std::move(path), text(1, "parameters", kParametersMax));
  Environment::Of(info.Env()).Add(open_);
  info.This().As<Napi::Object>().TypeTag(&kLibraryTag);
}

std::shared_ptr<OpenLibrary> LibraryObject::From(const Napi::Value& value) {
  if (!value.IsObject() || !value.As<Napi::Object>().CheckTypeTag(&kLibraryTag)) {
    throw Napi::TypeError::New(value.Env(), "library must be a Library");
  }
  return Unwrap(value.As<Napi::Object>())->open_;
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
