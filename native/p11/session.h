// One session of a token. Calls on it are single file: a second thread waits. Every single-part operation is
// Init and the operation itself in one go, so that no other call comes between. Closed until it is opened.
#pragma once

#include <memory>
#include <mutex>
#include <vector>

#include "bytes.h"
#include "mechanism.h"
#include "module.h"
#include "template.h"

namespace p11 {

enum class Operation { kSign, kVerify, kEncrypt, kDecrypt, kDigest };

// The functions of an operation, as errors name them.
struct Names {
  const char* init;
  const char* single;
  const char* update;
  const char* final;
};

Names NamesOf(Operation operation);

enum class AttributeState : std::uint8_t { kPresent = 0, kSensitive = 1, kAbsent = 2 };

struct AttributeValue {
  CK_ATTRIBUTE_TYPE type = 0;
  AttributeState state = AttributeState::kAbsent;
  Bytes value;
  // For attributes that are themselves templates.
  std::vector<AttributeValue> nested;
};

// The hash of RSA-OAEP, for label and mask alike.
enum class OaepHash : std::uint8_t { kSha1 = 1, kSha256 = 2, kSha384 = 3, kSha512 = 4 };

class Session {
 public:
  Session(std::shared_ptr<Library> library, CK_SLOT_ID slot) : library_(std::move(library)), slot_(slot) {}
  ~Session() { Close(); }
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  Status Open(bool read_write);
  // Waits for the call in flight. Idempotent; says nothing if the library is closed already.
  Status Close();

  CK_SESSION_HANDLE handle() const { return handle_; }
  CK_SLOT_ID slot() const { return slot_; }

  Status GetInfo(CK_SESSION_INFO* info);
  Status Login(CK_USER_TYPE user, View pin);
  Status Logout();
  Status InitPin(View pin);
  Status SetPin(View old_pin, View new_pin);

  Status CreateObject(Template& attributes, CK_OBJECT_HANDLE* object);
  Status CopyObject(CK_OBJECT_HANDLE object, Template& attributes, CK_OBJECT_HANDLE* copy);
  Status DestroyObject(CK_OBJECT_HANDLE object);
  Status FindObjects(Template& attributes, CK_ULONG max, std::vector<CK_OBJECT_HANDLE>* objects);
  // Fills in state and value of each entry, whose type is given.
  Status GetAttributes(CK_OBJECT_HANDLE object, std::vector<AttributeValue>* values);
  Status SetAttributes(CK_OBJECT_HANDLE object, Template& attributes);

  Status GenerateKey(Mechanism& mechanism, Template& attributes, CK_OBJECT_HANDLE* key);
  Status GenerateKeyPair(Mechanism& mechanism, Template& public_attributes, Template& private_attributes,
                         CK_OBJECT_HANDLE* public_key, CK_OBJECT_HANDLE* private_key);
  Status WrapKey(Mechanism& mechanism, CK_OBJECT_HANDLE wrapping_key, CK_OBJECT_HANDLE key, Bytes* wrapped);
  Status UnwrapKey(Mechanism& mechanism, CK_OBJECT_HANDLE unwrapping_key, View wrapped, Template& attributes,
                   CK_OBJECT_HANDLE* key);
  Status DeriveKey(Mechanism& mechanism, CK_OBJECT_HANDLE base_key, Template& attributes,
                   CK_OBJECT_HANDLE* key);
  Status GenerateRandom(CK_ULONG length, Bytes* random);

  Status Sign(Mechanism& mechanism, CK_OBJECT_HANDLE key, View data, Bytes* signature);
  // A signature that does not fit is an answer, not a failure.
  Status Verify(Mechanism& mechanism, CK_OBJECT_HANDLE key, View data, View signature, bool* valid);
  Status Encrypt(Mechanism& mechanism, CK_OBJECT_HANDLE key, View data, Bytes* encrypted);
  Status Decrypt(Mechanism& mechanism, CK_OBJECT_HANDLE key, View encrypted, Bytes* data);
  Status Digest(Mechanism& mechanism, View data, Bytes* digest);

  // RSA-OAEP with hashes the module does not know: raw RSA inside, unpadding in constant time here. Whatever is
  // wrong with the ciphertext, the answer is the same CKR_ENCRYPTED_DATA_INVALID of C_Decrypt. Only what is
  // known before the ciphertext is looked at (C_DecryptInit: handle, permission) has its own answer.
  Status DecryptOaep(CK_OBJECT_HANDLE key, View encrypted, OaepHash hash, View label, Bytes* data);

  // Multi-part. Digest takes no key.
  Status Begin(Operation operation, Mechanism& mechanism, CK_OBJECT_HANDLE key);
  // `output` stays empty for operations that answer only at the end.
  Status Update(Operation operation, View part, Bytes* output);
  Status Finish(Operation operation, Bytes* output);
  Status FinishVerify(View signature, bool* valid);

 private:
  class Turn;

  // Ends an operation that failed half-way, so that the next Init is not refused as CKR_OPERATION_ACTIVE.
  void Abandon(const Call& call, Operation operation);

  const std::shared_ptr<Library> library_;
  const CK_SLOT_ID slot_;
  CK_SESSION_HANDLE handle_ = CK_INVALID_HANDLE;
  std::mutex mutex_;
  bool open_ = false;
};

}  // namespace p11
