// Signing, verifying, encrypting, decrypting and digesting; single-part and multi-part.
#include <algorithm>

#include "oaep.h"
#include "session.h"
#include "turn.h"

namespace p11 {
namespace {

// A signature or a digest, or one RSA block up to 8192 bits; small enough for malloc's per-thread cache.
constexpr CK_ULONG kBlockRoom = 1024;
// What an operation may add to its input: a tag, padding, one held-back block; or a whole RSA block.
constexpr CK_ULONG kGrowth = kBlockRoom;

CK_RV Init(const CK_FUNCTION_LIST* functions, Operation operation, CK_SESSION_HANDLE session,
           Mechanism& mechanism, CK_OBJECT_HANDLE key) {
  CK_MECHANISM native = mechanism.Native();
  switch (operation) {
    case Operation::kSign:
      return functions->C_SignInit(session, &native, key);
    case Operation::kVerify:
      return functions->C_VerifyInit(session, &native, key);
    case Operation::kEncrypt:
      return functions->C_EncryptInit(session, &native, key);
    case Operation::kDecrypt:
      return functions->C_DecryptInit(session, &native, key);
    case Operation::kDigest:
      return functions->C_DigestInit(session, &native);
  }
  return CKR_FUNCTION_NOT_SUPPORTED;
}

// Calls `ask` with a buffer of `room` bytes, and once more should the module want a larger one. The first
// buffer is meant to suffice: after CKR_BUFFER_TOO_SMALL the operation stays active.
template <typename Ask>
CK_RV Collect(CK_ULONG room, Bytes* output, Ask ask) {
  for (;;) {
    *output = Bytes(room);
    CK_ULONG length = room;
    const CK_RV rv = ask(output->data(), &length);
    if (rv == CKR_BUFFER_TOO_SMALL && length > room && length <= kDataMax + kGrowth) {
      room = length;
      continue;
    }
    output->Shorten(rv == CKR_OK ? length : 0);
    return rv;
  }
}

}  // namespace

Names NamesOf(Operation operation) {
  switch (operation) {
    case Operation::kSign:
      return {"C_SignInit", "C_Sign", "C_SignUpdate", "C_SignFinal"};
    case Operation::kVerify:
      return {"C_VerifyInit", "C_Verify", "C_VerifyUpdate", "C_VerifyFinal"};
    case Operation::kEncrypt:
      return {"C_EncryptInit", "C_Encrypt", "C_EncryptUpdate", "C_EncryptFinal"};
    case Operation::kDecrypt:
      return {"C_DecryptInit", "C_Decrypt", "C_DecryptUpdate", "C_DecryptFinal"};
    case Operation::kDigest:
      return {"C_DigestInit", "C_Digest", "C_DigestUpdate", "C_DigestFinal"};
  }
  return {"", "", "", ""};
}

void Session::Abandon(const Call& call, Operation operation) {
  // There is no cancel in 2.40. The Final functions end an operation on every answer but BUFFER_TOO_SMALL, and
  // answer CKR_OPERATION_NOT_INITIALIZED if there is nothing to end.
  Bytes rest(kBlockRoom);
  CK_ULONG length = rest.capacity();
  switch (operation) {
    case Operation::kSign:
      call->C_SignFinal(handle_, rest.data(), &length);
      break;
    case Operation::kVerify:
      memset(rest.data(), 0, rest.capacity());
      call->C_VerifyFinal(handle_, rest.data(), 1);
      break;
    case Operation::kEncrypt:
      call->C_EncryptFinal(handle_, rest.data(), &length);
      break;
    case Operation::kDecrypt:
      call->C_DecryptFinal(handle_, rest.data(), &length);
      break;
    case Operation::kDigest:
      call->C_DigestFinal(handle_, rest.data(), &length);
      break;
  }
}

Status Session::Sign(Mechanism& mechanism, CK_OBJECT_HANDLE key, View data, Bytes* signature) {
  const Turn turn(*this, "C_SignInit");
  if (turn.refused()) return turn.refusal();
  if (data.size > kDataMax) return {CKR_DATA_LEN_RANGE, "C_Sign"};
  CK_RV rv = Init(turn.operator->(), Operation::kSign, handle_, mechanism, key);
  if (rv != CKR_OK) return {rv, "C_SignInit"};
  rv = Collect(kBlockRoom, signature, [&](unsigned char* room, CK_ULONG* length) {
    return turn->C_Sign(handle_, data.Mutable(), data.size, room, length);
  });
  if (rv != CKR_OK) Abandon(turn.call(), Operation::kSign);
  return {rv, "C_Sign"};
}

Status Session::Verify(Mechanism& mechanism, CK_OBJECT_HANDLE key, View data, View signature, bool* valid) {
  const Turn turn(*this, "C_VerifyInit");
  if (turn.refused()) return turn.refusal();
  if (data.size > kDataMax) return {CKR_DATA_LEN_RANGE, "C_Verify"};
  CK_RV rv = Init(turn.operator->(), Operation::kVerify, handle_, mechanism, key);
  if (rv != CKR_OK) return {rv, "C_VerifyInit"};
  rv = turn->C_Verify(handle_, data.Mutable(), data.size, signature.Mutable(), signature.size);
  *valid = rv == CKR_OK;
  if (rv == CKR_SIGNATURE_INVALID || rv == CKR_SIGNATURE_LEN_RANGE) return {};
  if (rv != CKR_OK) Abandon(turn.call(), Operation::kVerify);
  return {rv, "C_Verify"};
}

Status Session::Encrypt(Mechanism& mechanism, CK_OBJECT_HANDLE key, View data, Bytes* encrypted) {
  const Turn turn(*this, "C_EncryptInit");
  if (turn.refused()) return turn.refusal();
  if (data.size > kDataMax) return {CKR_DATA_LEN_RANGE, "C_Encrypt"};
  CK_RV rv = Init(turn.operator->(), Operation::kEncrypt, handle_, mechanism, key);
  if (rv != CKR_OK) return {rv, "C_EncryptInit"};
  rv = Collect(data.size + kGrowth, encrypted, [&](unsigned char* room, CK_ULONG* length) {
    return turn->C_Encrypt(handle_, data.Mutable(), data.size, room, length);
  });
  if (rv != CKR_OK) Abandon(turn.call(), Operation::kEncrypt);
  return {rv, "C_Encrypt"};
}

Status Session::Decrypt(Mechanism& mechanism, CK_OBJECT_HANDLE key, View encrypted, Bytes* data) {
  const Turn turn(*this, "C_DecryptInit");
  if (turn.refused()) return turn.refusal();
  if (encrypted.size > kDataMax) return {CKR_ENCRYPTED_DATA_LEN_RANGE, "C_Decrypt"};
  CK_RV rv = Init(turn.operator->(), Operation::kDecrypt, handle_, mechanism, key);
  if (rv != CKR_OK) return {rv, "C_DecryptInit"};
  rv = Collect(encrypted.size + kGrowth, data, [&](unsigned char* room, CK_ULONG* length) {
    return turn->C_Decrypt(handle_, encrypted.Mutable(), encrypted.size, room, length);
  });
  if (rv != CKR_OK) Abandon(turn.call(), Operation::kDecrypt);
  return {rv, "C_Decrypt"};
}

Status Session::Digest(Mechanism& mechanism, View data, Bytes* digest) {
  const Turn turn(*this, "C_DigestInit");
  if (turn.refused()) return turn.refusal();
  if (data.size > kDataMax) return {CKR_DATA_LEN_RANGE, "C_Digest"};
  CK_RV rv = Init(turn.operator->(), Operation::kDigest, handle_, mechanism, CK_INVALID_HANDLE);
  if (rv != CKR_OK) return {rv, "C_DigestInit"};
  rv = Collect(kBlockRoom, digest, [&](unsigned char* room, CK_ULONG* length) {
    return turn->C_Digest(handle_, data.Mutable(), data.size, room, length);
  });
  if (rv != CKR_OK) Abandon(turn.call(), Operation::kDigest);
  return {rv, "C_Digest"};
}

Status Session::DecryptOaep(CK_OBJECT_HANDLE key, View encrypted, OaepHash hash, View label, Bytes* data) {
  Mechanism raw(CKM_RSA_X_509);
  Bytes padded;
  const Status status = Decrypt(raw, key, encrypted, &padded);
  const Status invalid = {CKR_ENCRYPTED_DATA_INVALID, "C_Decrypt"};
  if (!status.ok()) {
    const bool before_the_ciphertext = strcmp(status.function, "C_DecryptInit") == 0;
    return before_the_ciphertext ? status : invalid;
  }
  // Raw RSA answers as many bytes as the modulus has, which is also the only right length of a ciphertext.
  if (padded.size() != encrypted.size || !UnpadOaep(padded.view(), hash, label, data)) return invalid;
  return {};
}

Status Session::Begin(Operation operation, Mechanism& mechanism, CK_OBJECT_HANDLE key) {
  const Names names = NamesOf(operation);
  const Turn turn(*this, names.init);
  if (turn.refused()) return turn.refusal();
  return {Init(turn.operator->(), operation, handle_, mechanism, key), names.init};
}

Status Session::Update(Operation operation, View part, Bytes* output) {
  const Names names = NamesOf(operation);
  const Turn turn(*this, names.update);
  if (turn.refused()) return turn.refusal();
  CK_RV rv = CKR_DATA_LEN_RANGE;
  // Nothing to add is nothing to ask: SoftHSM2 ends some operations over an empty part.
  if (part.size == 0) return {};
  if (part.size <= kDataMax) {
    switch (operation) {
      case Operation::kSign:
        rv = turn->C_SignUpdate(handle_, part.Mutable(), part.size);
        break;
      case Operation::kVerify:
        rv = turn->C_VerifyUpdate(handle_, part.Mutable(), part.size);
        break;
      case Operation::kDigest:
        rv = turn->C_DigestUpdate(handle_, part.Mutable(), part.size);
        break;
      case Operation::kEncrypt:
        rv = Collect(part.size + kGrowth, output, [&](unsigned char* room, CK_ULONG* length) {
          return turn->C_EncryptUpdate(handle_, part.Mutable(), part.size, room, length);
        });
        break;
      case Operation::kDecrypt:
        rv = Collect(part.size + kGrowth, output, [&](unsigned char* room, CK_ULONG* length) {
          return turn->C_DecryptUpdate(handle_, part.Mutable(), part.size, room, length);
        });
        break;
    }
  }
  if (rv != CKR_OK) Abandon(turn.call(), operation);
  return {rv, names.update};
}

Status Session::Finish(Operation operation, Bytes* output) {
  const Names names = NamesOf(operation);
  const Turn turn(*this, names.final);
  if (turn.refused()) return turn.refusal();
  const CK_RV rv = Collect(kBlockRoom, output, [&](unsigned char* room, CK_ULONG* length) -> CK_RV {
    switch (operation) {
      case Operation::kSign:
        return turn->C_SignFinal(handle_, room, length);
      case Operation::kDigest:
        return turn->C_DigestFinal(handle_, room, length);
      case Operation::kEncrypt:
        return turn->C_EncryptFinal(handle_, room, length);
      case Operation::kDecrypt:
        return turn->C_DecryptFinal(handle_, room, length);
      case Operation::kVerify:
        break;
    }
    return CKR_FUNCTION_NOT_SUPPORTED;
  });
  if (rv != CKR_OK) Abandon(turn.call(), operation);
  return {rv, names.final};
}

Status Session::FinishVerify(View signature, bool* valid) {
  const Turn turn(*this, "C_VerifyFinal");
  if (turn.refused()) return turn.refusal();
  const CK_RV rv = turn->C_VerifyFinal(handle_, signature.Mutable(), signature.size);
  *valid = rv == CKR_OK;
  if (rv == CKR_SIGNATURE_INVALID || rv == CKR_SIGNATURE_LEN_RANGE) return {};
  if (rv != CKR_OK) Abandon(turn.call(), Operation::kVerify);
  return {rv, "C_VerifyFinal"};
}

}  // namespace p11
