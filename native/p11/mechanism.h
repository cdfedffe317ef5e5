// A mechanism with its parameter, owning the bytes the parameter points at.
#pragma once

#include "bytes.h"
#include "status.h"

namespace p11 {

// How a parameter is encoded. The numbers are shared with mechanism.ts.
enum class ParameterKind : std::uint8_t {
  kNone = 0,
  kBytes = 1,
  kPss = 2,
  kOaep = 3,
  kGcm = 4,
  kEcdh1 = 5,
  kCtr = 6,
  kStringData = 7,
  kCbcData = 8,
};

constexpr std::size_t kMechanismBytesMax = 1024 * 1024;

class Mechanism {
 public:
  Mechanism() = default;
  explicit Mechanism(CK_MECHANISM_TYPE type) : type_(type) {}
  Mechanism(Mechanism&&) = default;
  Mechanism& operator=(Mechanism&&) = default;

  // Takes a copy of `encoded`: u32 type, u8 kind, fields. False if it is malformed or too large.
  bool Decode(View encoded);

  // Points into this object: use it at once, do not keep it over a move.
  CK_MECHANISM Native();

 private:
  union Parameter {
    CK_RSA_PKCS_PSS_PARAMS pss;
    CK_RSA_PKCS_OAEP_PARAMS oaep;
    CK_GCM_PARAMS gcm;
    CK_ECDH1_DERIVE_PARAMS ecdh1;
    CK_AES_CTR_PARAMS ctr;
    CK_KEY_DERIVATION_STRING_DATA text;
    CK_AES_CBC_ENCRYPT_DATA_PARAMS cbc;
  };

  CK_MECHANISM_TYPE type_ = 0;
  ParameterKind kind_ = ParameterKind::kNone;
  Parameter parameter_ = {};
  View bytes_;
  Bytes encoded_;
};

}  // namespace p11
