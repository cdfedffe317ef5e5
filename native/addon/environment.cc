#include "environment.h"

#include "job.h"

namespace addon {

Environment::Environment(Napi::Env env) : env_(env) {
  // Removed by Node itself when it has run; the instance data is freed later than that.
  napi_add_env_cleanup_hook(env, CleanUp, this);
}

napi_value Environment::MakeError(const p11::Status& status, const std::string& reason) {
  if (error_factory_.IsEmpty()) return Napi::Error::New(env_, "install() was not called").Value();
  const std::initializer_list<napi_value> arguments = {
      Napi::Number::New(env_, static_cast<double>(status.rv)), Napi::String::New(env_, status.function),
      reason.empty() ? env_.Undefined() : Napi::String::New(env_, reason)};
  return error_factory_.Call(arguments);
}

void Environment::Check(const p11::Status& status, const std::string& reason) {
  if (status.ok()) return;
  throw Napi::Error(env_, MakeError(status, reason));
}

void Environment::CleanUp(void* data) {
  auto& environment = *static_cast<Environment*>(data);
  // Node has waited for the jobs; should one still be inside, closing its session waits for it.
  for (const auto& library : environment.libraries_) {
    library->closed = true;
    for (const auto& session : library->sessions) {
      session->closed = true;
      session->waiting.clear();
      session->session->Close();
    }
    library->sessions.clear();
    library->closing.reset();
    library->library->Close();
  }
  environment.libraries_.clear();
}

}  // namespace addon
