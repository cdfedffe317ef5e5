// The native half of the class Session. Every method with a `Sync` twin runs in the thread pool.
#pragma once

#include "job.h"

namespace addon {

class SessionObject final : public Napi::ObjectWrap<SessionObject> {
 public:
  static Napi::Function Define(Napi::Env env);
  // new Session(library, slot, readWrite); of no use before open() or openSync()
  explicit SessionObject(const Napi::CallbackInfo& info);

 private:
  Napi::Value Open(const Napi::CallbackInfo& info);
  Napi::Value OpenSync(const Napi::CallbackInfo& info);
  Napi::Value Handle(const Napi::CallbackInfo& info);
  Napi::Value Info(const Napi::CallbackInfo& info);
  Napi::Value InfoSync(const Napi::CallbackInfo& info);
  Napi::Value Close(const Napi::CallbackInfo& info);
  Napi::Value Login(const Napi::CallbackInfo& info);
  Napi::Value Logout(const Napi::CallbackInfo& info);
  Napi::Value InitPin(const Napi::CallbackInfo& info);
  Napi::Value SetPin(const Napi::CallbackInfo& info);

  Napi::Value CreateObject(const Napi::CallbackInfo& info);
  Napi::Value CopyObject(const Napi::CallbackInfo& info);
  Napi::Value DestroyObject(const Napi::CallbackInfo& info);
  Napi::Value DestroyObjectSync(const Napi::CallbackInfo& info);
  Napi::Value FindObjects(const Napi::CallbackInfo& info);
  Napi::Value GetAttributes(const Napi::CallbackInfo& info);
  Napi::Value SetAttributes(const Napi::CallbackInfo& info);

  Napi::Value GenerateKey(const Napi::CallbackInfo& info);
  Napi::Value GenerateKeyPair(const Napi::CallbackInfo& info);
  Napi::Value WrapKey(const Napi::CallbackInfo& info);
  Napi::Value UnwrapKey(const Napi::CallbackInfo& info);
  Napi::Value DeriveKey(const Napi::CallbackInfo& info);

  Napi::Value Sign(const Napi::CallbackInfo& info);
  Napi::Value SignSync(const Napi::CallbackInfo& info);
  Napi::Value Verify(const Napi::CallbackInfo& info);
  Napi::Value VerifySync(const Napi::CallbackInfo& info);
  Napi::Value Encrypt(const Napi::CallbackInfo& info);
  Napi::Value EncryptSync(const Napi::CallbackInfo& info);
  Napi::Value Decrypt(const Napi::CallbackInfo& info);
  Napi::Value DecryptSync(const Napi::CallbackInfo& info);
  Napi::Value DecryptOaep(const Napi::CallbackInfo& info);
  Napi::Value Digest(const Napi::CallbackInfo& info);
  Napi::Value GenerateRandom(const Napi::CallbackInfo& info);
  Napi::Value GenerateRandomSync(const Napi::CallbackInfo& info);

  Napi::Value Begin(const Napi::CallbackInfo& info);
  Napi::Value Update(const Napi::CallbackInfo& info);
  Napi::Value Finish(const Napi::CallbackInfo& info);
  Napi::Value FinishVerify(const Napi::CallbackInfo& info);

  Napi::Value Run(Napi::Env env, const char* function, Request request, Job::SessionWork work,
                  Job::Answer answer);
  // The session for a synchronous call. Refuses rather than wait for a job in flight.
  p11::Session& Now(Napi::Env env, const char* function);

  std::shared_ptr<OpenSession> open_;
  bool read_write_ = false;
};

}  // namespace addon
