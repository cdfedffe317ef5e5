// The native half of the class PublicKey.
#pragma once

#include <napi.h>

#include "public_key.h"

namespace addon {

class PublicKeyObject final : public Napi::ObjectWrap<PublicKeyObject> {
 public:
  static Napi::Function Define(Napi::Env env);
  // new PublicKey(subjectPublicKeyInfo)
  explicit PublicKeyObject(const Napi::CallbackInfo& info);

 private:
  // verify(scheme, digest, signature): Promise<boolean>, for what takes long
  Napi::Value Verify(const Napi::CallbackInfo& info);
  // verifySync(scheme, digest, signature): boolean
  Napi::Value VerifySync(const Napi::CallbackInfo& info);

  std::shared_ptr<public_key::PublicKey> key_;
};

}  // namespace addon
