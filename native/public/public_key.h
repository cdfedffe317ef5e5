// Signatures checked with a public key alone, over a digest that is known where the message is not: Node's own
// verify insists on hashing. Done by the OpenSSL inside Node; no module is asked. Knows no Node.
#pragma once

#include <memory>

#include "bytes.h"

struct evp_pkey_st;

namespace public_key {

// Shared with src/instance/pkcs11/public-key.ts.
enum class Scheme { kPkcs1 = 1, kPss = 2, kEcdsa = 3 };

class PublicKey {
 public:
  // From a SubjectPublicKeyInfo (RFC 5280 section 4.1.2.7). Null if it is none, or an invalid point.
  static std::shared_ptr<PublicKey> FromDer(p11::View der);
  ~PublicKey();
  PublicKey(const PublicKey&) = delete;
  PublicKey& operator=(const PublicKey&) = delete;

  // The hash follows from the digest's length: SHA-256, SHA-384 or SHA-512. ECDSA signatures are r and s, each
  // padded to the size of the field (RFC 7518 section 3.4); the salt of PSS is as long as the digest (section 3.5).
  // False for whatever does not verify, malformed signatures included. Several threads may verify at once.
  bool Verify(Scheme scheme, p11::View digest, p11::View signature) const;

 private:
  explicit PublicKey(evp_pkey_st* key) : key_(key) {}

  evp_pkey_st* const key_;
};

}  // namespace public_key
