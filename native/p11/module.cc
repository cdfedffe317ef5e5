#include "module.h"

#include <dlfcn.h>
#include <stdlib.h>

#include <map>

namespace p11 {
namespace {

// Heap-allocated and never freed, like the modules in it: static objects are destroyed at exit, while threads
// of other environments may still be running.
struct Registry {
  std::mutex mutex;
  std::map<std::string, Module*> modules;
};

Registry& TheRegistry() {
  static Registry* const registry = new Registry;
  return *registry;
}

constexpr Status kNotInitialized(const char* function) { return {CKR_CRYPTOKI_NOT_INITIALIZED, function}; }

// Lists may grow between asking for their length and reading them.
constexpr int kListAttempts = 8;

template <typename Item, typename Ask>
CK_RV ReadList(std::unique_ptr<Item[]>* items, CK_ULONG* length, Ask ask) {
  CK_RV rv = CKR_BUFFER_TOO_SMALL;
  for (int attempt = 0; attempt < kListAttempts && rv == CKR_BUFFER_TOO_SMALL; attempt++) {
    *length = 0;
    rv = ask(nullptr, length);
    if (rv != CKR_OK) return rv;
    items->reset(new Item[*length + 1]);
    rv = ask(items->get(), length);
  }
  return rv;
}

}  // namespace

Status Module::Acquire(const std::string& path, const std::string& parameters, Module** module,
                       std::string* reason) {
  char* resolved = realpath(path.c_str(), nullptr);
  if (resolved == nullptr) {
    *reason = "no such file: " + path;
    return {CKR_LIBRARY_LOAD_FAILED, "dlopen"};
  }
  const std::string name(resolved);
  free(resolved);

  Registry& registry = TheRegistry();
  const std::lock_guard<std::mutex> lock(registry.mutex);
  auto found = registry.modules.find(name);
  if (found == registry.modules.end()) {
    std::unique_ptr<Module> loaded(new Module(name));
    const Status status = loaded->Load(reason);
    if (!status.ok()) return status;
    found = registry.modules.emplace(name, loaded.release()).first;
  }
  Module* const shared = found->second;
  if (shared->users_ == 0) {
    const Status status = shared->Initialise(parameters);
    if (!status.ok()) return status;
  } else if (shared->parameters_ != parameters) {
    *reason = "the module is initialised with other parameters";
    return {CKR_CRYPTOKI_ALREADY_INITIALIZED, "C_Initialize"};
  }
  shared->users_++;
  *module = shared;
  return {};
}

Status Module::Load(std::string* reason) {
  int flags = RTLD_NOW | RTLD_LOCAL;
#ifndef TRIVET_WITHOUT_DEEPBIND
  // Node exports its own OpenSSL. Without this flag the module's calls to libcrypto would land in Node's copy,
  // another version behind the same names.
  flags |= RTLD_DEEPBIND;
#endif
  // Never closed again: OpenSSL inside the module leaves thread-local destructors behind.
  void* handle = dlopen(path_.c_str(), flags);
  if (handle == nullptr) {
    const char* error = dlerror();
    *reason = error == nullptr ? "dlopen failed" : error;
    return {CKR_LIBRARY_LOAD_FAILED, "dlopen"};
  }
  const auto get_function_list = reinterpret_cast<CK_C_GetFunctionList>(dlsym(handle, "C_GetFunctionList"));
  if (get_function_list == nullptr) {
    *reason = "not a PKCS#11 module: it has no C_GetFunctionList";
    dlclose(handle);
    return {CKR_LIBRARY_LOAD_FAILED, "dlsym"};
  }
  const CK_RV rv = get_function_list(&functions_);
  if (rv != CKR_OK) return {rv, "C_GetFunctionList"};
  if (functions_ == nullptr) return {CKR_GENERAL_ERROR, "C_GetFunctionList"};
  return {};
}

Status Module::Initialise(const std::string& parameters) {
  if (closed_) return kNotInitialized("C_Initialize");
  // Where the standard has its last field, NSS has its string of parameters, and one field more.
  struct {
    CK_C_INITIALIZE_ARGS standard;
    void* reserved;
  } arguments = {};
  arguments.standard.flags = CKF_OS_LOCKING_OK;
  std::string text = parameters;
  if (!text.empty()) arguments.standard.pReserved = text.data();
  const CK_RV rv = functions_->C_Initialize(&arguments);
  if (rv != CKR_OK && rv != CKR_CRYPTOKI_ALREADY_INITIALIZED) return {rv, "C_Initialize"};
  ours_ = rv == CKR_OK;
  parameters_ = parameters;
  // Registered after C_Initialize, hence run before whatever destructors the module has registered so far: no
  // call may be inside while those run. An environment's clean-up hook would be too early for this, the thread
  // pool is still at work then.
  atexit(CloseAllForever);
  return {};
}

Status Module::Release() {
  Registry& registry = TheRegistry();
  const std::lock_guard<std::mutex> lock(registry.mutex);
  users_--;
  if (users_ > 0 || !ours_) return {};
  // The users are gone and so are their calls; the lock proves it.
  const std::unique_lock<std::shared_mutex> exclusive(gate_);
  if (closed_) return kNotInitialized("C_Finalize");
  ours_ = false;
  return {functions_->C_Finalize(nullptr), "C_Finalize"};
}

void Module::CloseForever() {
  // First the flag, so that a stream of new callers cannot keep the lock from being taken. It is let go again:
  // libuv joins its threads later during exit, and a thread that waits here for ever would never end.
  closed_ = true;
  const std::unique_lock<std::shared_mutex> exclusive(gate_);
}

void Module::CloseAllForever() {
  Registry& registry = TheRegistry();
  const std::lock_guard<std::mutex> lock(registry.mutex);
  for (const auto& entry : registry.modules) entry.second->CloseForever();
}

Status Library::Open(std::string* reason) {
  if (module_ != nullptr) return {CKR_CRYPTOKI_ALREADY_INITIALIZED, "C_Initialize"};
  Module* module = nullptr;
  const Status status = Module::Acquire(path_, parameters_, &module, reason);
  if (!status.ok()) return status;
  module_ = module;
  open_ = true;
  return {};
}

Status Library::Close() {
  if (!open_.exchange(false)) return {};
  return module_.load()->Release();
}

Status Library::GetInfo(CK_INFO* info) {
  const Call call(*this);
  if (!call.admitted()) return kNotInitialized("C_GetInfo");
  return {call->C_GetInfo(info), "C_GetInfo"};
}

Status Library::GetSlotList(bool token_present, std::unique_ptr<CK_SLOT_ID[]>* slots, CK_ULONG* length) {
  const Call call(*this);
  if (!call.admitted()) return kNotInitialized("C_GetSlotList");
  const CK_BBOOL present = token_present ? CK_TRUE : CK_FALSE;
  return {ReadList(slots, length,
                   [&](CK_SLOT_ID* list, CK_ULONG* count) { return call->C_GetSlotList(present, list, count); }),
          "C_GetSlotList"};
}

Status Library::GetSlotInfo(CK_SLOT_ID slot, CK_SLOT_INFO* info) {
  const Call call(*this);
  if (!call.admitted()) return kNotInitialized("C_GetSlotInfo");
  return {call->C_GetSlotInfo(slot, info), "C_GetSlotInfo"};
}

Status Library::GetTokenInfo(CK_SLOT_ID slot, CK_TOKEN_INFO* info) {
  const Call call(*this);
  if (!call.admitted()) return kNotInitialized("C_GetTokenInfo");
  return {call->C_GetTokenInfo(slot, info), "C_GetTokenInfo"};
}

Status Library::GetMechanismList(CK_SLOT_ID slot, std::unique_ptr<CK_MECHANISM_TYPE[]>* types,
                                 CK_ULONG* length) {
  const Call call(*this);
  if (!call.admitted()) return kNotInitialized("C_GetMechanismList");
  return {ReadList(types, length,
                   [&](CK_MECHANISM_TYPE* list, CK_ULONG* count) {
                     return call->C_GetMechanismList(slot, list, count);
                   }),
          "C_GetMechanismList"};
}

Status Library::GetMechanismInfo(CK_SLOT_ID slot, CK_MECHANISM_TYPE type, CK_MECHANISM_INFO* info) {
  const Call call(*this);
  if (!call.admitted()) return kNotInitialized("C_GetMechanismInfo");
  return {call->C_GetMechanismInfo(slot, type, info), "C_GetMechanismInfo"};
}

Status Library::InitToken(CK_SLOT_ID slot, unsigned char* pin, CK_ULONG pin_length, unsigned char* label) {
  const Call call(*this);
  if (!call.admitted()) return kNotInitialized("C_InitToken");
  return {call->C_InitToken(slot, pin, pin_length, label), "C_InitToken"};
}

}  // namespace p11
