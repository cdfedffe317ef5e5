// Session, login, objects and keys. The operations that use keys are in session_operations.cc.
#include "session_object.h"

#include "library_object.h"
#include "values.h"

namespace addon {
namespace {

constexpr p11::Status kWrappedTooLong = {CKR_WRAPPED_KEY_LEN_RANGE, "C_UnwrapKey"};

napi_value AnswerInfo(napi_env env, Request& request) {
  const auto& native = std::get<CK_SESSION_INFO>(request.info);
  Napi::Object result = Napi::Object::New(env);
  result["slot"] = FromUlong(env, native.slotID);
  result["state"] = FromUlong(env, native.state);
  result["flags"] = FromUlong(env, native.flags);
  result["deviceError"] = FromUlong(env, native.ulDeviceError);
  return result;
}

}  // namespace

Napi::Function SessionObject::Define(Napi::Env env) {
  return DefineClass(env, "Session",
                     {
                         InstanceMethod<&SessionObject::Open>("open"),
                         InstanceMethod<&SessionObject::OpenSync>("openSync"),
                         InstanceMethod<&SessionObject::Handle>("handle"),
                         InstanceMethod<&SessionObject::Info>("info"),
                         InstanceMethod<&SessionObject::InfoSync>("infoSync"),
                         InstanceMethod<&SessionObject::Close>("close"),
                         InstanceMethod<&SessionObject::Login>("login"),
                         InstanceMethod<&SessionObject::Logout>("logout"),
                         InstanceMethod<&SessionObject::InitPin>("initPin"),
                         InstanceMethod<&SessionObject::SetPin>("setPin"),
                         InstanceMethod<&SessionObject::CreateObject>("createObject"),
                         InstanceMethod<&SessionObject::CopyObject>("copyObject"),
                         InstanceMethod<&SessionObject::DestroyObject>("destroyObject"),
                         InstanceMethod<&SessionObject::DestroyObjectSync>("destroyObjectSync"),
                         InstanceMethod<&SessionObject::FindObjects>("findObjects"),
                         InstanceMethod<&SessionObject::GetAttributes>("getAttributes"),
                         InstanceMethod<&SessionObject::SetAttributes>("setAttributes"),
                         InstanceMethod<&SessionObject::GenerateKey>("generateKey"),
                         InstanceMethod<&SessionObject::GenerateKeyPair>("generateKeyPair"),
                         InstanceMethod<&SessionObject::WrapKey>("wrapKey"),
                         InstanceMethod<&SessionObject::UnwrapKey>("unwrapKey"),
                         InstanceMethod<&SessionObject::DeriveKey>("deriveKey"),
                         InstanceMethod<&SessionObject::Sign>("sign"),
                         InstanceMethod<&SessionObject::SignSync>("signSync"),
                         InstanceMethod<&SessionObject::Verify>("verify"),
                         InstanceMethod<&SessionObject::VerifySync>("verifySync"),
                         InstanceMethod<&SessionObject::Encrypt>("encrypt"),
                         InstanceMethod<&SessionObject::EncryptSync>("encryptSync"),
                         InstanceMethod<&SessionObject::Decrypt>("decrypt"),
                         InstanceMethod<&SessionObject::DecryptSync>("decryptSync"),
                         InstanceMethod<&SessionObject::DecryptOaep>("decryptOaep"),
                         InstanceMethod<&SessionObject::Digest>("digest"),
                         InstanceMethod<&SessionObject::GenerateRandom>("generateRandom"),
                         InstanceMethod<&SessionObject::GenerateRandomSync>("generateRandomSync"),
                         InstanceMethod<&SessionObject::Begin>("begin"),
                         InstanceMethod<&SessionObject::Update>("update"),
                         InstanceMethod<&SessionObject::Finish>("finish"),
                         InstanceMethod<&SessionObject::FinishVerify>("finishVerify"),
                     });
}

SessionObject::SessionObject(const Napi::CallbackInfo& info) : ObjectWrap(info) {
  const Napi::Env env = info.Env();
  Environment& environment = Environment::Of(env);
  const std::shared_ptr<OpenLibrary> library = LibraryObject::From(info[0]);
  const CK_SLOT_ID slot = ToUlong(info[1], "slot");
  read_write_ = ToBool(info[2], "readWrite");
  if (library->closed) environment.Check({CKR_CRYPTOKI_NOT_INITIALIZED, "C_OpenSession"});
  auto opened = std::make_shared<OpenSession>();
  opened->library = library;
  opened->session = std::make_shared<p11::Session>(library->library, slot);
  library->sessions.insert(opened);
  open_ = std::move(opened);
}

Napi::Value SessionObject::Run(Napi::Env env, const char* function, Request request, Job::SessionWork work,
                               Job::Answer answer) {
  return Napi::Value(env, Job::Run(env, function, open_, std::move(request), work, answer));
}

p11::Session& SessionObject::Now(Napi::Env env, const char* function) {
  if (open_->library->closed) Environment::Of(env).Check({CKR_CRYPTOKI_NOT_INITIALIZED, function});
  if (open_->closed) Environment::Of(env).Check({CKR_SESSION_HANDLE_INVALID, function});
  if (open_->busy) Environment::Of(env).Check({CKR_OPERATION_ACTIVE, function});
  return *open_->session;
}

Napi::Value SessionObject::Open(const Napi::CallbackInfo& info) {
  Request request;
  request.valid = read_write_;
  return Run(
      info.Env(), "C_OpenSession", std::move(request),
      [](p11::Session& session, Request& of) { return session.Open(of.valid); }, AnswerNothing);
}

Napi::Value SessionObject::OpenSync(const Napi::CallbackInfo& info) {
  Environment::Of(info.Env()).Check(Now(info.Env(), "C_OpenSession").Open(read_write_));
  return info.Env().Undefined();
}

Napi::Value SessionObject::Handle(const Napi::CallbackInfo& info) {
  return Napi::Value(info.Env(), FromUlong(info.Env(), open_->session->handle()));
}

Napi::Value SessionObject::Info(const Napi::CallbackInfo& info) {
  return Run(
      info.Env(), "C_GetSessionInfo", Request(),
      [](p11::Session& session, Request& of) { return session.GetInfo(&of.info.emplace<CK_SESSION_INFO>()); },
      AnswerInfo);
}

Napi::Value SessionObject::InfoSync(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  Request request;
  Environment::Of(env).Check(
      Now(env, "C_GetSessionInfo").GetInfo(&request.info.emplace<CK_SESSION_INFO>()));
  return Napi::Value(env, AnswerInfo(env, request));
}

Napi::Value SessionObject::Close(const Napi::CallbackInfo& info) {
  Environment::Of(info.Env()).Check(Job::CloseSession(open_));
  return info.Env().Undefined();
}

Napi::Value SessionObject::Login(const Napi::CallbackInfo& info) {
  Request request;
  request.number = ToUlong(info[0], "user");
  request.data = ToPin(info.Env(), info[1], "C_Login");
  return Run(
      info.Env(), "C_Login", std::move(request),
      [](p11::Session& session, Request& of) { return session.Login(of.number, of.data.view()); },
      AnswerNothing);
}

Napi::Value SessionObject::Logout(const Napi::CallbackInfo& info) {
  return Run(
      info.Env(), "C_Logout", Request(), [](p11::Session& session, Request&) { return session.Logout(); }, AnswerNothing);
}

Napi::Value SessionObject::InitPin(const Napi::CallbackInfo& info) {
  Request request;
  request.data = ToPin(info.Env(), info[0], "C_InitPIN");
  return Run(
      info.Env(), "C_InitPIN", std::move(request),
      [](p11::Session& session, Request& of) { return session.InitPin(of.data.view()); }, AnswerNothing);
}

Napi::Value SessionObject::SetPin(const Napi::CallbackInfo& info) {
  Request request;
  request.data = ToPin(info.Env(), info[0], "C_SetPIN");
  request.other_data = ToPin(info.Env(), info[1], "C_SetPIN");
  return Run(
      info.Env(), "C_SetPIN", std::move(request),
      [](p11::Session& session, Request& of) {
        return session.SetPin(of.data.view(), of.other_data.view());
      },
      AnswerNothing);
}

Napi::Value SessionObject::CreateObject(const Napi::CallbackInfo& info) {
  Request request;
  request.attributes = ToTemplate(info.Env(), info[0], "C_CreateObject");
  return Run(
      info.Env(), "C_CreateObject", std::move(request),
      [](p11::Session& session, Request& of) { return session.CreateObject(of.attributes, &of.handle); },
      AnswerHandle);
}

Napi::Value SessionObject::CopyObject(const Napi::CallbackInfo& info) {
  Request request;
  request.object = ToUlong(info[0], "object");
  request.attributes = ToTemplate(info.Env(), info[1], "C_CopyObject");
  return Run(
      info.Env(), "C_CopyObject", std::move(request),
      [](p11::Session& session, Request& of) {
        return session.CopyObject(of.object, of.attributes, &of.handle);
      },
      AnswerHandle);
}

Napi::Value SessionObject::DestroyObject(const Napi::CallbackInfo& info) {
  Request request;
  request.object = ToUlong(info[0], "object");
  return Run(
      info.Env(), "C_DestroyObject", std::move(request),
      [](p11::Session& session, Request& of) { return session.DestroyObject(of.object); }, AnswerNothing);
}

Napi::Value SessionObject::DestroyObjectSync(const Napi::CallbackInfo& info) {
  const CK_OBJECT_HANDLE object = ToUlong(info[0], "object");
  Environment::Of(info.Env()).Check(Now(info.Env(), "C_DestroyObject").DestroyObject(object));
  return info.Env().Undefined();
}

Napi::Value SessionObject::FindObjects(const Napi::CallbackInfo& info) {
  Request request;
  request.attributes = ToTemplate(info.Env(), info[0], "C_FindObjectsInit");
  request.number = ToUlong(info[1], "max");
  return Run(
      info.Env(), "C_FindObjectsInit", std::move(request),
      [](p11::Session& session, Request& of) {
        return session.FindObjects(of.attributes, of.number, &of.handles);
      },
      AnswerHandles);
}

Napi::Value SessionObject::GetAttributes(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  Request request;
  request.object = ToUlong(info[0], "object");
  if (!info[1].IsArray()) throw Napi::TypeError::New(env, "types must be an array");
  const Napi::Array types = info[1].As<Napi::Array>();
  const std::uint32_t length = types.Length();
  if (length > p11::kAttributesMax) {
    Environment::Of(env).Check({CKR_ARGUMENTS_BAD, "C_GetAttributeValue"});
  }
  request.values.resize(length);
  for (std::uint32_t i = 0; i < length; i++) request.values[i].type = ToUlong(types[i], "type");
  return Run(
      env, "C_GetAttributeValue", std::move(request),
      [](p11::Session& session, Request& of) { return session.GetAttributes(of.object, &of.values); },
      AnswerAttributes);
}

Napi::Value SessionObject::SetAttributes(const Napi::CallbackInfo& info) {
  Request request;
  request.object = ToUlong(info[0], "object");
  request.attributes = ToTemplate(info.Env(), info[1], "C_SetAttributeValue");
  return Run(
      info.Env(), "C_SetAttributeValue", std::move(request),
      [](p11::Session& session, Request& of) { return session.SetAttributes(of.object, of.attributes); },
      AnswerNothing);
}

Napi::Value SessionObject::GenerateKey(const Napi::CallbackInfo& info) {
  Request request;
  request.mechanism = ToMechanism(info.Env(), info[0], "C_GenerateKey");
  request.attributes = ToTemplate(info.Env(), info[1], "C_GenerateKey");
  return Run(
      info.Env(), "C_GenerateKey", std::move(request),
      [](p11::Session& session, Request& of) {
        return session.GenerateKey(of.mechanism, of.attributes, &of.handle);
      },
      AnswerHandle);
}

Napi::Value SessionObject::GenerateKeyPair(const Napi::CallbackInfo& info) {
  Request request;
  request.mechanism = ToMechanism(info.Env(), info[0], "C_GenerateKeyPair");
  request.attributes = ToTemplate(info.Env(), info[1], "C_GenerateKeyPair");
  request.other_attributes = ToTemplate(info.Env(), info[2], "C_GenerateKeyPair");
  return Run(
      info.Env(), "C_GenerateKeyPair", std::move(request),
      [](p11::Session& session, Request& of) {
        const p11::Status status = session.GenerateKeyPair(of.mechanism, of.attributes, of.other_attributes,
                                                           &of.handle, &of.other_handle);
        of.handles = {of.handle, of.other_handle};
        return status;
      },
      AnswerHandles);
}

Napi::Value SessionObject::WrapKey(const Napi::CallbackInfo& info) {
  Request request;
  request.mechanism = ToMechanism(info.Env(), info[0], "C_WrapKey");
  request.object = ToUlong(info[1], "wrappingKey");
  request.other_object = ToUlong(info[2], "key");
  return Run(
      info.Env(), "C_WrapKey", std::move(request),
      [](p11::Session& session, Request& of) {
        return session.WrapKey(of.mechanism, of.object, of.other_object, &of.output);
      },
      AnswerOutput);
}

Napi::Value SessionObject::UnwrapKey(const Napi::CallbackInfo& info) {
  Request request;
  request.mechanism = ToMechanism(info.Env(), info[0], "C_UnwrapKey");
  request.object = ToUlong(info[1], "unwrappingKey");
  request.data = ToBytes(info.Env(), info[2], "wrapped", p11::kDataMax, kWrappedTooLong);
  request.attributes = ToTemplate(info.Env(), info[3], "C_UnwrapKey");
  return Run(
      info.Env(), "C_UnwrapKey", std::move(request),
      [](p11::Session& session, Request& of) {
        return session.UnwrapKey(of.mechanism, of.object, of.data.view(), of.attributes, &of.handle);
      },
      AnswerHandle);
}

Napi::Value SessionObject::DeriveKey(const Napi::CallbackInfo& info) {
  Request request;
  request.mechanism = ToMechanism(info.Env(), info[0], "C_DeriveKey");
  request.object = ToUlong(info[1], "baseKey");
  request.attributes = ToTemplate(info.Env(), info[2], "C_DeriveKey");
  return Run(
      info.Env(), "C_DeriveKey", std::move(request),
      [](p11::Session& session, Request& of) {
        return session.DeriveKey(of.mechanism, of.object, of.attributes, &of.handle);
      },
      AnswerHandle);
}

}  // namespace addon
