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
  // Loads and initialises, or counts one more user. `reason` says why a load failed. `parameters` go to the module
  // with C_Initialize, unless they are empty; who comes later must bring the same.
  static Status Acquire(const std::string& path, const std::string& parameters, Module** module,
                        std::string* reason);

  // Counts one user less; the last one finalises, unless somebody else had initialised the module.
  Status Release();

  CK_FUNCTION_LIST* functions() const { return functions_; }

 private:
  friend class Call;

  explicit Module(std::string path) : path_(std::move(path)) {}
  Status Load(std::string* reason);
  Status Initialise(const std::string& parameters);
  // Waits for running calls, then lets none in. For the moments before the process ends.
  void CloseForever();
  static void CloseAllForever();

  const std::string path_;
  CK_FUNCTION_LIST* functions_ = nullptr;
  // Both guarded by the registry's mutex.
  unsigned long users_ = 0;
  bool ours_ = false;
  std::string parameters_;

  // Every call holds the gate shared, from before it enters the module until after it has left.
  std::shared_mutex gate_;
  std::atomic<bool> closed_{false};
};

// One opening of a module by one environment. Closed until it is opened, once.
class Library {
 public:
  Library(std::string path, std::string parameters)
      : path_(std::move(path)), parameters_(std::move(parameters)) {}
  ~Library() { Close(); }
  Library(const Library&) = delete;
  Library& operator=(const Library&) = delete;

  // May wait for C_Initialize.
  Status Open(std::string* reason);
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

  const std::string path_;
  const std::string parameters_;
  // Set by `Open` and left as it is, so that whoever sees the library open finds it.
  std::atomic<Module*> module_{nullptr};
  std::atomic<bool> open_{false};
};

// Permission to call into the module, for as long as it lives.
class Call {
 public:
  explicit Call(const Library& library)
      : module_(library.module_),
        hold_(Hold(module_)),
        admitted_(module_ != nullptr && library.open_ && !module_->closed_) {}

  bool admitted() const { return admitted_; }
  const CK_FUNCTION_LIST* operator->() const { return module_->functions_; }

 private:
  static std::shared_lock<std::shared_mutex> Hold(Module* module) {
    return module == nullptr ? std::shared_lock<std::shared_mutex>() : std::shared_lock(module->gate_);
  }

  Module* const module_;
  const std::shared_lock<std::shared_mutex> hold_;
  const bool admitted_;
};

}  // namespace p11
