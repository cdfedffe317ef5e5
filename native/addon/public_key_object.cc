#include "public_key_object.h"

#include "values.h"

namespace addon {
namespace {

using public_key::PublicKey;
using public_key::Scheme;

// RSA-16384 has signatures of this length; nothing that verifies is longer.
constexpr std::size_t kInputMax = 2048;

Scheme ToScheme(const Napi::Value& value) {
  const CK_ULONG number = ToUlong(value, "scheme");
  if (number < 1 || number > 3) throw Napi::TypeError::New(value.Env(), "no such scheme");
  return static_cast<Scheme>(number);
}

p11::View ToInput(const Napi::Value& value, const char* name) {
  const p11::View view = ToView(value, name);
  // What is too long verifies as little as anything else that is wrong.
  return view.size > kInputMax ? p11::View() : view;
}

// One check, off the JavaScript thread. Owns its bytes: the caller's buffers may be gone before it is done.
class VerifyJob final : public Napi::AsyncWorker {
 public:
  VerifyJob(Napi::Env env, std::shared_ptr<PublicKey> key, Scheme scheme, p11::View digest, p11::View signature)
      : AsyncWorker(env),
        answer_(env),
        key_(std::move(key)),
        scheme_(scheme),
        digest_(digest),
        signature_(signature) {}

  Napi::Promise Answer() const { return answer_.Promise(); }

 private:
  void Execute() override { valid_ = key_->Verify(scheme_, digest_.view(), signature_.view()); }
  void OnOK() override { answer_.Resolve(Napi::Boolean::New(Env(), valid_)); }
  void OnError(const Napi::Error& error) override { answer_.Reject(error.Value()); }

  Napi::Promise::Deferred answer_;
  std::shared_ptr<PublicKey> key_;
  const Scheme scheme_;
  p11::Bytes digest_;
  p11::Bytes signature_;
  bool valid_ = false;
};

}  // namespace

Napi::Function PublicKeyObject::Define(Napi::Env env) {
  return DefineClass(env, "PublicKey",
                     {
                         InstanceMethod<&PublicKeyObject::Verify>("verify"),
                         InstanceMethod<&PublicKeyObject::VerifySync>("verifySync"),
                     });
}

PublicKeyObject::PublicKeyObject(const Napi::CallbackInfo& info) : ObjectWrap(info) {
  key_ = PublicKey::FromDer(ToView(info[0], "subjectPublicKeyInfo"));
  if (!key_) throw Napi::TypeError::New(info.Env(), "not a SubjectPublicKeyInfo of a valid key");
}

Napi::Value PublicKeyObject::Verify(const Napi::CallbackInfo& info) {
  auto* const job = new VerifyJob(info.Env(), key_, ToScheme(info[0]), ToInput(info[1], "digest"),
                                  ToInput(info[2], "signature"));
  job->Queue();
  return job->Answer();
}

Napi::Value PublicKeyObject::VerifySync(const Napi::CallbackInfo& info) {
  const Scheme scheme = ToScheme(info[0]);
  const bool valid = key_->Verify(scheme, ToInput(info[1], "digest"), ToInput(info[2], "signature"));
  return Napi::Boolean::New(info.Env(), valid);
}

}  // namespace addon
