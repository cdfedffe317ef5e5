// A PKCS#11 module in this process: loaded once, initialised once, shared by every environment that opens it.
// Owns the gate that keeps calls out of a module that is being finalised or torn down. Knows no sessions.
#pragma once

#include <atomic>
#include <memory>
#include <mutex>
#include <shared_mutex>
#include <string>

#include "status.h"

namespace p11 {

// One per file, never freed: a thread may still be inside when the process ends.
class Module {
 public:
  // Loads and initialises, or counts one more user. `reason` says why a load failed.
  static Status Acquire(const std::string& path, Module** module, std::string* reason);

  // Counts one user less; the last one finalises, unless somebody else had initialised the module.
  Status Release();

  CK_FUNCTION_LIST* functions() const { return functions_; }

 private:
  friend class Call;

  explicit Module(std::string path) : path_(std::move(path)) {}
  Status Load(std::string* reason);
  Status Initialise();
  // Waits for running calls, then lets none in. For the moments before the process ends.
  void CloseForever();
  static void CloseAllForever();

  const std::string path_;
  CK_FUNCTION_LIST* functions_ = nullptr;
  // Both guarded by the registry's mutex.
  unsigned long users_ = 0;
  bool ours_ = false;

  // Every call holds the gate shared, from before it enters the module until after it has left.
  std::shared_mutex gate_;
  std::atomic<bool> closed_{false};
};

// One opening of a module by one environment.
class Library {
 public:
  static Status Open(const std::string& path, std::shared_ptr<Library>* library, std::string* reason);
  ~Library() { Close(); }
  Library(const Library&) = delete;
  Library& operator=(const Library&) = delete;

  // Refuses further calls, then releases the module. May wait for C_Finalize.
  Status Close();

  // Slots and tokens. `Sized` lists are filled to what the module has.
  Status GetInfo(CK_INFO* info);
  Status GetSlotList(bool token_present, std::unique_ptr<CK_SLOT_ID[]>* slots, CK_ULONG* length);
  Status GetSlotInfo(CK_SLOT_ID slot, CK_SLOT_INFO* info);
  Status GetTokenInfo(CK_SLOT_ID slot, CK_TOKEN_INFO* info);
  Status GetMechanismList(CK_SLOT_ID slot, std::unique_ptr<CK_MECHANISM_TYPE[]>* types, CK_ULONG* length);
  Status GetMechanismInfo(CK_SLOT_ID slot, CK_MECHANISM_TYPE type, CK_MECHANISM_INFO* info);
  // `label` is 32 bytes, padded with blanks.
  Status InitToken(CK_SLOT_ID slot, unsigned char* pin, CK_ULONG pin_length, unsigned char* label);

 private:
  friend class Call;
  explicit Library(Module* module) : module_(module) {}

  Module* const module_;
  std::atomic<bool> open_{true};
};

// Permission to call into the module, for as long as it lives.
class Call {
 public:
  explicit Call(const Library& library)
      : module_(*library.module_), hold_(module_.gate_), admitted_(library.open_ && !module_.closed_) {}

  bool admitted() const { return admitted_; }
  const CK_FUNCTION_LIST* operator->() const { return module_.functions_; }

 private:
  Module& module_;
  std::shared_lock<std::shared_mutex> hold_;
  const bool admitted_;
};

}  // namespace p11
