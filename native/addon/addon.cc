// Entry point: what JavaScript finds in the addon.
#include "environment.h"
#include "library_object.h"
#include "public_key_object.h"
#include "session_object.h"

namespace addon {
namespace {

// install(makeError): makeError(code, functionName, reason?) answers the error to throw.
Napi::Value Install(const Napi::CallbackInfo& info) {
  if (!info[0].IsFunction()) throw Napi::TypeError::New(info.Env(), "makeError must be a function");
  Environment::Of(info.Env()).SetErrorFactory(info[0].As<Napi::Function>());
  return info.Env().Undefined();
}

Napi::Object Init(Napi::Env env, Napi::Object exports) {
  // Freed by Node when the environment is.
  env.SetInstanceData(new Environment(env));
  exports["Library"] = LibraryObject::Define(env);
  exports["PublicKey"] = PublicKeyObject::Define(env);
  exports["Session"] = SessionObject::Define(env);
  exports["install"] = Napi::Function::New<Install>(env, "install");
  return exports;
}

}  // namespace
}  // namespace addon

// The macro defines functions; they belong to no namespace.
static Napi::Object Init(Napi::Env env, Napi::Object exports) { return addon::Init(env, exports); }

NODE_API_MODULE(trivet_pkcs11, Init)
