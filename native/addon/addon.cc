// Entry point: what JavaScript finds in the addon.
#include <ctime>

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

// Milliseconds since the machine started, those in which it slept included: Node has only clocks that stop then.
Napi::Value BootTime(const Napi::CallbackInfo& info) {
  timespec now{};
  if (clock_gettime(CLOCK_BOOTTIME, &now) != 0) throw Napi::Error::New(info.Env(), "no CLOCK_BOOTTIME");
  return Napi::Number::New(info.Env(), static_cast<double>(now.tv_sec) * 1e3 + static_cast<double>(now.tv_nsec) / 1e6);
}

Napi::Object Init(Napi::Env env, Napi::Object exports) {
  // Freed by Node when the environment is.
  env.SetInstanceData(new Environment(env));
  exports["Library"] = LibraryObject::Define(env);
  exports["PublicKey"] = PublicKeyObject::Define(env);
  exports["Session"] = SessionObject::Define(env);
  exports["bootTime"] = Napi::Function::New<BootTime>(env, "bootTime");
  exports["install"] = Napi::Function::New<Install>(env, "install");
  return exports;
}

}  // namespace
}  // namespace addon

// The macro defines functions; they belong to no namespace.
static Napi::Object Init(Napi::Env env, Napi::Object exports) { return addon::Init(env, exports); }

NODE_API_MODULE(trivet_pkcs11, Init)
