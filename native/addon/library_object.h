// The native half of the class Library. Every method with a `Sync` twin runs in the thread pool.
#pragma once

#include "job.h"

namespace addon {

class LibraryObject final : public Napi::ObjectWrap<LibraryObject> {
 public:
  static Napi::Function Define(Napi::Env env);
  // new Library(modulePath, parameters); of no use before open() or openSync()
  explicit LibraryObject(const Napi::CallbackInfo& info);

  // The library that `value` is the native half of. Throws for anything else, whatever its prototype says.
  static std::shared_ptr<OpenLibrary> From(const Napi::Value& value);

 private:
  // One call with both its faces.
  struct Question;
  static const Question kOpen, kInfo, kSlots, kSlotInfo, kTokenInfo, kMechanisms, kMechanismInfo;

  template <const Question& kQuestion>
  Napi::Value Ask(const Napi::CallbackInfo& info);
  template <const Question& kQuestion>
  Napi::Value AskSync(const Napi::CallbackInfo& info);

  Napi::Value InitToken(const Napi::CallbackInfo& info);
  Napi::Value CloseAllSessions(const Napi::CallbackInfo& info);
  Napi::Value Close(const Napi::CallbackInfo& info);

  std::shared_ptr<OpenLibrary> open_;
};

}  // namespace addon
