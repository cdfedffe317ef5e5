// What belongs to one Node environment (the main thread or one worker): its open libraries, their sessions and
// their running jobs. The clean-up hook closes sessions first, then libraries.
#pragma once

#include <napi.h>

#include <deque>
#include <memory>
#include <set>
#include <string>

#include "session.h"

namespace addon {

class Environment;
class Job;
struct OpenLibrary;

// A session as its environment sees it, with the jobs that wait for their turn. Lives on the JavaScript
// thread; only `session` is used on others.
struct OpenSession {
  std::shared_ptr<p11::Session> session;
  std::shared_ptr<OpenLibrary> library;
  std::deque<std::unique_ptr<Job>> waiting;
  bool busy = false;
  bool closed = false;
};

struct OpenLibrary {
  std::shared_ptr<p11::Library> library;
  std::set<std::shared_ptr<OpenSession>> sessions;
  // Jobs handed to the thread pool and not yet back.
  unsigned long running = 0;
  bool closed = false;
  // The job that closes it, until the last running one is back.
  std::unique_ptr<Job> closing;
};

class Environment {
 public:
  explicit Environment(Napi::Env env);
  Environment(const Environment&) = delete;
  Environment& operator=(const Environment&) = delete;

  static Environment& Of(Napi::Env env) { return *env.GetInstanceData<Environment>(); }

  // Errors are made by JavaScript, where their class is.
  void SetErrorFactory(Napi::Function factory) { error_factory_ = Napi::Persistent(factory); }
  napi_value MakeError(const p11::Status& status, const std::string& reason = std::string());

  // Throws the error of `status` unless it is fine.
  void Check(const p11::Status& status, const std::string& reason = std::string());

  void Add(const std::shared_ptr<OpenLibrary>& library) { libraries_.insert(library); }
  void Remove(const std::shared_ptr<OpenLibrary>& library) { libraries_.erase(library); }

 private:
  static void CleanUp(void* environment);

  const Napi::Env env_;
  Napi::FunctionReference error_factory_;
  std::set<std::shared_ptr<OpenLibrary>> libraries_;
};

}  // namespace addon
