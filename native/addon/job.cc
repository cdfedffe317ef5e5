#include "job.h"

#include <new>

#include "values.h"

namespace addon {
Job::Job(Napi::Env env, const char* function, std::shared_ptr<OpenLibrary> library,
         std::shared_ptr<OpenSession> session, Request request)
    : env_(env),
      function_(function),
      library_(std::move(library)),
      session_(std::move(session)),
      request_(std::move(request)) {}

Job::~Job() {
  if (work_ != nullptr) napi_delete_async_work(env_, work_);
}

napi_value Job::Run(Napi::Env env, const char* function, const std::shared_ptr<OpenSession>& session,
                    Request request, SessionWork work, Answer answer) {
  std::unique_ptr<Job> job(new Job(env, function, session->library, session, std::move(request)));
  job->session_work_ = work;
  job->answer_ = answer;
  napi_value promise = nullptr;
  if (napi_create_promise(env, &job->deferred_, &promise) != napi_ok) return nullptr;
  if (session->library->closed) {
    job->Refuse(CKR_CRYPTOKI_NOT_INITIALIZED);
  } else if (session->closed) {
    job->Refuse(CKR_SESSION_HANDLE_INVALID);
  } else if (session->busy) {
    session->waiting.push_back(std::move(job));
  } else {
    Start(std::move(job));
  }
  return promise;
}

napi_value Job::Run(Napi::Env env, const char* function, const std::shared_ptr<OpenLibrary>& library,
                    Request request, LibraryWork work, Answer answer) {
  std::unique_ptr<Job> job(new Job(env, function, library, nullptr, std::move(request)));
  job->library_work_ = work;
  job->answer_ = answer;
  napi_value promise = nullptr;
  if (napi_create_promise(env, &job->deferred_, &promise) != napi_ok) return nullptr;
  if (library->closed) {
    job->Refuse(CKR_CRYPTOKI_NOT_INITIALIZED);
  } else {
    Start(std::move(job));
  }
  return promise;
}

void Job::Start(std::unique_ptr<Job> job) {
  napi_value name = nullptr;
  if (napi_create_string_utf8(job->env_, "pkcs11", NAPI_AUTO_LENGTH, &name) != napi_ok ||
      napi_create_async_work(job->env_, nullptr, name, Execute, Complete, job.get(), &job->work_) != napi_ok ||
      napi_queue_async_work(job->env_, job->work_) != napi_ok) {
    job->Refuse(CKR_HOST_MEMORY);
    return;
  }
  if (job->session_) job->session_->busy = true;
  job->library_->running++;
  job.release();  // Complete takes it back.
}

p11::Status Job::CloseWork(p11::Library& library, Request& request) {
  for (const auto& session : request.sessions) session->Close();
  return library.Close();
}

void Job::Execute(napi_env, void* data) {
  auto& job = *static_cast<Job*>(data);
  try {
    job.status_ = job.session_ ? job.session_work_(*job.session_->session, job.request_)
                               : job.library_work_(*job.library_->library, job.request_);
  } catch (const std::bad_alloc&) {
    job.status_ = {CKR_HOST_MEMORY, job.function_};
  }
}

void Job::Complete(napi_env, napi_status, void* data) {
  const std::unique_ptr<Job> job(static_cast<Job*>(data));
  const std::shared_ptr<OpenLibrary>& library = job->library_;
  const std::shared_ptr<OpenSession>& session = job->session_;
  library->running--;
  if (session) session->busy = false;
  if (job->library_work_ == CloseWork) Environment::Of(job->env_).Remove(library);
  if (!job->Settle()) {
    // Nobody is left to answer. The clean-up hook closes what is open.
    if (session) session->waiting.clear();
    return;
  }
  if (session && session->closed) session->session->Close();
  if (session) StartNext(session);
  if (library->closing && library->running == 0) Start(std::move(library->closing));
}

void Job::StartNext(const std::shared_ptr<OpenSession>& session) {
  if (session->busy || session->waiting.empty()) return;
  std::unique_ptr<Job> next = std::move(session->waiting.front());
  session->waiting.pop_front();
  Start(std::move(next));
}

bool Job::Settle() {
  try {
    const Napi::HandleScope scope(env_);
    if (status_.ok()) {
      napi_value answer = answer_(env_, request_);
      if (answer == nullptr) return false;
      return napi_resolve_deferred(env_, deferred_, answer) == napi_ok;
    }
    napi_value error = Environment::Of(env_).MakeError(status_, request_.reason);
    return napi_reject_deferred(env_, deferred_, error) == napi_ok;
  } catch (const Napi::Error&) {
    return false;
  }
}

void Job::Refuse(CK_RV rv) {
  status_ = {rv, function_};
  Settle();
}

void Job::RefuseWaiting(OpenSession& session, CK_RV rv) {
  const std::deque<std::unique_ptr<Job>> waiting = std::move(session.waiting);
  session.waiting.clear();
  for (const auto& job : waiting) job->Refuse(rv);
}

p11::Status Job::CloseSession(const std::shared_ptr<OpenSession>& session) {
  // A closed library closes its sessions itself.
  if (session->closed || session->library->closed) return {};
  session->closed = true;
  session->library->sessions.erase(session);
  RefuseWaiting(*session, CKR_SESSION_HANDLE_INVALID);
  return session->busy ? p11::Status{} : session->session->Close();
}

napi_value Job::CloseLibrary(Napi::Env env, const std::shared_ptr<OpenLibrary>& library) {
  std::unique_ptr<Job> job(new Job(env, "C_Finalize", library, nullptr, Request()));
  job->library_work_ = CloseWork;
  job->answer_ = AnswerNothing;
  napi_value promise = nullptr;
  if (napi_create_promise(env, &job->deferred_, &promise) != napi_ok) return nullptr;
  if (library->closed) {
    job->Refuse(CKR_CRYPTOKI_NOT_INITIALIZED);
    return promise;
  }
  library->closed = true;
  for (const auto& session : library->sessions) {
    RefuseWaiting(*session, CKR_CRYPTOKI_NOT_INITIALIZED);
    job->request_.sessions.push_back(session->session);
  }
  library->sessions.clear();
  if (library->running > 0) {
    library->closing = std::move(job);
  } else {
    Start(std::move(job));
  }
  return promise;
}

}  // namespace addon
