// A turn on a session: the session to oneself, and leave to enter the module. Used inside p11 only.
#pragma once

#include "session.h"

namespace p11 {

class Session::Turn {
 public:
  Turn(Session& session, const char* function) : lock_(session.mutex_), call_(*session.library_) {
    status_.function = function;
    // The library first: a session of a finalised module is not merely closed.
    if (!call_.admitted()) {
      status_.rv = CKR_CRYPTOKI_NOT_INITIALIZED;
    } else if (!session.open_) {
      status_.rv = CKR_SESSION_HANDLE_INVALID;
    }
  }

  bool refused() const { return !status_.ok(); }
  const Status& refusal() const { return status_; }
  const Call& call() const { return call_; }
  const CK_FUNCTION_LIST* operator->() const { return call_.operator->(); }

 private:
  const std::lock_guard<std::mutex> lock_;
  const Call call_;
  Status status_;
};

}  // namespace p11
