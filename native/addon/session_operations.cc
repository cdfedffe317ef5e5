// The part of SessionObject that uses keys.
#include "session_object.h"
#include "values.h"

namespace addon {
namespace {

constexpr std::size_t kLabelMax = 64 * 1024;

p11::Bytes ToData(const Napi::CallbackInfo& info, const Napi::Value& value, const char* name, CK_RV refusal,
                  const char* function) {
  return ToBytes(info.Env(), value, name, p11::kDataMax, {refusal, function});
}

}  // namespace

Napi::Value SessionObject::Sign(const Napi::CallbackInfo& info) {
  Request request;
  request.mechanism = ToMechanism(info.Env(), info[0], "C_SignInit");
  request.object = ToUlong(info[1], "key");
  request.data = ToData(info, info[2], "data", CKR_DATA_LEN_RANGE, "C_Sign");
  return Run(
      info.Env(), "C_SignInit", std::move(request),
      [](p11::Session& session, Request& of) {
        return session.Sign(of.mechanism, of.object, of.data.view(), &of.output);
      },
      AnswerOutput);
}

Napi::Value SessionObject::SignSync(const Napi::CallbackInfo& info) {
  p11::Mechanism mechanism = ToMechanism(info.Env(), info[0], "C_SignInit");
  const CK_OBJECT_HANDLE key = ToUlong(info[1], "key");
  const p11::View data = ToView(info[2], "data");
  const p11::View room = ToView(info[3], "room");
  p11::Bytes signature;
  Environment::Of(info.Env()).Check(Now(info.Env(), "C_SignInit").Sign(mechanism, key, data, &signature));
  // Making a Buffer here costs more than the rest of this function; the caller has cheaper ones.
  if (signature.size() > room.size) return Napi::Value(info.Env(), FromBytes(info.Env(), signature));
  memcpy(room.Mutable(), signature.data(), signature.size());
  return Napi::Value(info.Env(), FromUlong(info.Env(), signature.size()));
}

Napi::Value SessionObject::Verify(const Napi::CallbackInfo& info) {
  Request request;
  request.mechanism = ToMechanism(info.Env(), info[0], "C_VerifyInit");
  request.object = ToUlong(info[1], "key");
  request.data = ToData(info, info[2], "data", CKR_DATA_LEN_RANGE, "C_Verify");
  request.other_data = ToData(info, info[3], "signature", CKR_SIGNATURE_LEN_RANGE, "C_Verify");
  return Run(
      info.Env(), "C_VerifyInit", std::move(request),
      [](p11::Session& session, Request& of) {
        return session.Verify(of.mechanism, of.object, of.data.view(), of.other_data.view(), &of.valid);
      },
      AnswerValid);
}

Napi::Value SessionObject::VerifySync(const Napi::CallbackInfo& info) {
  p11::Mechanism mechanism = ToMechanism(info.Env(), info[0], "C_VerifyInit");
  const CK_OBJECT_HANDLE key = ToUlong(info[1], "key");
  const p11::View data = ToView(info[2], "data");
  const p11::View signature = ToView(info[3], "signature");
  bool valid = false;
  Environment::Of(info.Env())
      .Check(Now(info.Env(), "C_VerifyInit").Verify(mechanism, key, data, signature, &valid));
  return Napi::Value(info.Env(), FromBool(info.Env(), valid));
}

Napi::Value SessionObject::Encrypt(const Napi::CallbackInfo& info) {
  Request request;
  request.mechanism = ToMechanism(info.Env(), info[0], "C_EncryptInit");
  request.object = ToUlong(info[1], "key");
  request.data = ToData(info, info[2], "data", CKR_DATA_LEN_RANGE, "C_Encrypt");
  return Run(
      info.Env(), "C_EncryptInit", std::move(request),
      [](p11::Session& session, Request& of) {
        return session.Encrypt(of.mechanism, of.object, of.data.view(), &of.output);
      },
      AnswerOutput);
}

Napi::Value SessionObject::EncryptSync(const Napi::CallbackInfo& info) {
  p11::Mechanism mechanism = ToMechanism(info.Env(), info[0], "C_EncryptInit");
  const CK_OBJECT_HANDLE key = ToUlong(info[1], "key");
  const p11::View data = ToView(info[2], "data");
  p11::Bytes encrypted;
  Environment::Of(info.Env()).Check(Now(info.Env(), "C_EncryptInit").Encrypt(mechanism, key, data, &encrypted));
  return Napi::Value(info.Env(), FromBytes(info.Env(), encrypted));
}

Napi::Value SessionObject::Decrypt(const Napi::CallbackInfo& info) {
  Request request;
  request.mechanism = ToMechanism(info.Env(), info[0], "C_DecryptInit");
  request.object = ToUlong(info[1], "key");
  request.data = ToData(info, info[2], "encrypted", CKR_ENCRYPTED_DATA_LEN_RANGE, "C_Decrypt");
  return Run(
      info.Env(), "C_DecryptInit", std::move(request),
      [](p11::Session& session, Request& of) {
        return session.Decrypt(of.mechanism, of.object, of.data.view(), &of.output);
      },
      AnswerOutput);
}

Napi::Value SessionObject::DecryptSync(const Napi::CallbackInfo& info) {
  p11::Mechanism mechanism = ToMechanism(info.Env(), info[0], "C_DecryptInit");
  const CK_OBJECT_HANDLE key = ToUlong(info[1], "key");
  const p11::View encrypted = ToView(info[2], "encrypted");
  p11::Bytes data;
  Environment::Of(info.Env()).Check(Now(info.Env(), "C_DecryptInit").Decrypt(mechanism, key, encrypted, &data));
  return Napi::Value(info.Env(), FromBytes(info.Env(), data));
}

Napi::Value SessionObject::DecryptOaep(const Napi::CallbackInfo& info) {
  Request request;
  request.object = ToUlong(info[0], "key");
  request.data = ToData(info, info[1], "encrypted", CKR_ENCRYPTED_DATA_INVALID, "C_Decrypt");
  request.hash = ToOaepHash(info[2]);
  request.other_data =
      ToBytes(info.Env(), info[3], "label", kLabelMax, {CKR_MECHANISM_PARAM_INVALID, "C_DecryptInit"});
  return Run(
      info.Env(), "C_DecryptInit", std::move(request),
      [](p11::Session& session, Request& of) {
        return session.DecryptOaep(of.object, of.data.view(), of.hash, of.other_data.view(), &of.output);
      },
      AnswerOutput);
}

Napi::Value SessionObject::Digest(const Napi::CallbackInfo& info) {
  Request request;
  request.mechanism = ToMechanism(info.Env(), info[0], "C_DigestInit");
  request.data = ToData(info, info[1], "data", CKR_DATA_LEN_RANGE, "C_Digest");
  return Run(
      info.Env(), "C_DigestInit", std::move(request),
      [](p11::Session& session, Request& of) {
        return session.Digest(of.mechanism, of.data.view(), &of.output);
      },
      AnswerOutput);
}

Napi::Value SessionObject::GenerateRandom(const Napi::CallbackInfo& info) {
  Request request;
  request.number = ToUlong(info[0], "length");
  return Run(
      info.Env(), "C_GenerateRandom", std::move(request),
      [](p11::Session& session, Request& of) { return session.GenerateRandom(of.number, &of.output); },
      AnswerOutput);
}

Napi::Value SessionObject::GenerateRandomSync(const Napi::CallbackInfo& info) {
  const CK_ULONG length = ToUlong(info[0], "length");
  p11::Bytes random;
  Environment::Of(info.Env()).Check(Now(info.Env(), "C_GenerateRandom").GenerateRandom(length, &random));
  return Napi::Value(info.Env(), FromBytes(info.Env(), random));
}

Napi::Value SessionObject::Begin(const Napi::CallbackInfo& info) {
  Request request;
  request.operation = ToOperation(info[0]);
  const char* const name = p11::NamesOf(request.operation).init;
  request.mechanism = ToMechanism(info.Env(), info[1], name);
  request.object = ToUlong(info[2], "key");
  return Run(
      info.Env(), name, std::move(request),
      [](p11::Session& session, Request& of) { return session.Begin(of.operation, of.mechanism, of.object); },
      AnswerNothing);
}

Napi::Value SessionObject::Update(const Napi::CallbackInfo& info) {
  Request request;
  request.operation = ToOperation(info[0]);
  const char* const name = p11::NamesOf(request.operation).update;
  request.data = ToData(info, info[1], "part", CKR_DATA_LEN_RANGE, name);
  return Run(
      info.Env(), name, std::move(request),
      [](p11::Session& session, Request& of) {
        return session.Update(of.operation, of.data.view(), &of.output);
      },
      AnswerOutput);
}

Napi::Value SessionObject::Finish(const Napi::CallbackInfo& info) {
  Request request;
  request.operation = ToOperation(info[0]);
  const char* const name = p11::NamesOf(request.operation).final;
  return Run(
      info.Env(), name, std::move(request),
      [](p11::Session& session, Request& of) { return session.Finish(of.operation, &of.output); },
      AnswerOutput);
}

Napi::Value SessionObject::FinishVerify(const Napi::CallbackInfo& info) {
  Request request;
  request.data = ToData(info, info[0], "signature", CKR_SIGNATURE_LEN_RANGE, "C_VerifyFinal");
  return Run(
      info.Env(), "C_VerifyFinal", std::move(request),
      [](p11::Session& session, Request& of) { return session.FinishVerify(of.data.view(), &of.valid); },
      AnswerValid);
}

}  // namespace addon
