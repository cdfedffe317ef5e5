// The native half of the class Library.
#pragma once

#include "environment.h"

namespace addon {

class LibraryObject final : public Napi::ObjectWrap<LibraryObject> {
 public:
  static Napi::Function Define(Napi::Env env);
  // new Library(modulePath)
  explicit LibraryObject(const Napi::CallbackInfo& info);

  // The library that `value` is the native half of. Throws for anything else, whatever its prototype says.
  static std::shared_ptr<OpenLibrary> From(const Napi::Value& value);

 private:
  Napi::Value Info(const Napi::CallbackInfo& info);
  Napi::Value Slots(const Napi::CallbackInfo& info);
  Napi::Value SlotInfo(const Napi::CallbackInfo& info);
  Napi::Value TokenInfo(const Napi::CallbackInfo& info);
  Napi::Value Mechanisms(const Napi::CallbackInfo& info);
  Napi::Value MechanismInfo(const Napi::CallbackInfo& info);
  Napi::Value InitToken(const Napi::CallbackInfo& info);
  Napi::Value CloseAllSessions(const Napi::CallbackInfo& info);
  Napi::Value Close(const Napi::CallbackInfo& info);

  p11::Library& library() { return *open_->library; }

  std::shared_ptr<OpenLibrary> open_;
};

}  // namespace addon
