// The native half of the class Library.
#pragma once

#include "environment.h"

namespace addon {

class LibraryObject final : public Napi::ObjectWrap<LibraryObject> {
 public:
  static Napi::Function Define(Napi::Env env);
  // new Library(modulePath)
  explicit LibraryObject(const Napi::CallbackInfo& info);

  const std::shared_ptr<OpenLibrary>& open() const { return open_; }

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
