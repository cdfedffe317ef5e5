// One call on its way through the thread pool and back into a promise. Owns everything the call needs.
#pragma once

#include <variant>
#include <vector>

#include "environment.h"

namespace addon {

// The arguments of any call and the room for its results; each kind of job uses a few of these.
struct Request {
  p11::Mechanism mechanism;
  p11::Operation operation = p11::Operation::kSign;
  p11::OaepHash hash = p11::OaepHash::kSha1;
  CK_ULONG number = 0;
  CK_OBJECT_HANDLE object = CK_INVALID_HANDLE;
  CK_OBJECT_HANDLE other_object = CK_INVALID_HANDLE;
  p11::Template attributes;
  p11::Template other_attributes;
  p11::Bytes data;
  p11::Bytes other_data;
  std::vector<p11::AttributeValue> values;
  std::vector<std::shared_ptr<p11::Session>> sessions;

  std::variant<std::monostate, CK_INFO, CK_SLOT_INFO, CK_TOKEN_INFO, CK_MECHANISM_INFO, CK_SESSION_INFO> info;
  // Why it failed, where the code does not say.
  std::string reason;
  p11::Bytes output;
  std::vector<CK_OBJECT_HANDLE> handles;
  CK_OBJECT_HANDLE handle = CK_INVALID_HANDLE;
  CK_OBJECT_HANDLE other_handle = CK_INVALID_HANDLE;
  bool valid = false;
};

class Job {
 public:
  // On a session; waits for its turn there. Answers the promise.
  using SessionWork = p11::Status (*)(p11::Session& session, Request& request);
  // On the library itself.
  using LibraryWork = p11::Status (*)(p11::Library& library, Request& request);
  // Back on the JavaScript thread.
  using Answer = napi_value (*)(napi_env env, Request& request);

  // `function` is the one that says so if the call is refused before it is made.
  static napi_value Run(Napi::Env env, const char* function, const std::shared_ptr<OpenSession>& session,
                        Request request, SessionWork work, Answer answer);
  static napi_value Run(Napi::Env env, const char* function, const std::shared_ptr<OpenLibrary>& library,
                        Request request, LibraryWork work, Answer answer);

  // Takes no further job; those waiting are refused. The session closes when its running job is back.
  static p11::Status CloseSession(const std::shared_ptr<OpenSession>& session);
  // The same for the library, whose sessions stay until its last running job is back: with a session go its
  // objects, and another session's job may be using them. Answers a promise.
  static napi_value CloseLibrary(Napi::Env env, const std::shared_ptr<OpenLibrary>& library);

  ~Job();
  Job(const Job&) = delete;
  Job& operator=(const Job&) = delete;

 private:
  Job(Napi::Env env, const char* function, std::shared_ptr<OpenLibrary> library, std::shared_ptr<OpenSession> session,
      Request request);

  static p11::Status CloseWork(p11::Library& library, Request& request);
  // Hands the job to the thread pool, which owns it from here.
  static void Start(std::unique_ptr<Job> job);
  static void Execute(napi_env env, void* job);
  static void Complete(napi_env env, napi_status status, void* job);
  // False if no more JavaScript can run here: the environment is going away.
  bool Settle();
  void Refuse(CK_RV rv);
  static void RefuseWaiting(OpenSession& session, CK_RV rv);
  static void StartNext(const std::shared_ptr<OpenSession>& session);

  const Napi::Env env_;
  const char* const function_;
  const std::shared_ptr<OpenLibrary> library_;
  const std::shared_ptr<OpenSession> session_;
  Request request_;
  SessionWork session_work_ = nullptr;
  LibraryWork library_work_ = nullptr;
  Answer answer_ = nullptr;
  p11::Status status_;
  napi_deferred deferred_ = nullptr;
  napi_async_work work_ = nullptr;
};

}  // namespace addon
