#include "public_key.h"

#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>

#include <climits>

namespace public_key {
namespace {

template <auto kFree>
struct Freed {
  template <typename T>
  void operator()(T* value) const {
    kFree(value);
  }
};
using Context = std::unique_ptr<EVP_PKEY_CTX, Freed<EVP_PKEY_CTX_free>>;
using Signature = std::unique_ptr<ECDSA_SIG, Freed<ECDSA_SIG_free>>;

const EVP_MD* HashOf(std::size_t length) {
  switch (length) {
    case 32:
      return EVP_sha256();
    case 48:
      return EVP_sha384();
    case 64:
      return EVP_sha512();
    default:
      return nullptr;
  }
}

// r and s side by side, to the DER that OpenSSL takes. Empty if the length is not that of two of the field's elements.
p11::Bytes ToDer(EVP_PKEY* key, p11::View raw) {
  const std::size_t half = (static_cast<std::size_t>(EVP_PKEY_get_bits(key)) + 7) / 8;
  if (raw.size != 2 * half) return p11::Bytes();
  Signature signature(ECDSA_SIG_new());
  BIGNUM* r = BN_bin2bn(raw.data, static_cast<int>(half), nullptr);
  BIGNUM* s = BN_bin2bn(raw.data + half, static_cast<int>(half), nullptr);
  // On success the signature owns both.
  if (!signature || ECDSA_SIG_set0(signature.get(), r, s) != 1) {
    BN_free(r);
    BN_free(s);
    return p11::Bytes();
  }
  const int length = i2d_ECDSA_SIG(signature.get(), nullptr);
  if (length <= 0) return p11::Bytes();
  p11::Bytes der(static_cast<std::size_t>(length));
  unsigned char* end = der.data();
  i2d_ECDSA_SIG(signature.get(), &end);
  return der;
}

bool Prepare(EVP_PKEY_CTX* context, Scheme scheme, const EVP_MD* hash) {
  if (EVP_PKEY_verify_init(context) != 1 || EVP_PKEY_CTX_set_signature_md(context, hash) != 1) return false;
  switch (scheme) {
    case Scheme::kPkcs1:
      return EVP_PKEY_CTX_set_rsa_padding(context, RSA_PKCS1_PADDING) == 1;
    case Scheme::kPss:
      return EVP_PKEY_CTX_set_rsa_padding(context, RSA_PKCS1_PSS_PADDING) == 1 &&
             EVP_PKEY_CTX_set_rsa_mgf1_md(context, hash) == 1 &&
             EVP_PKEY_CTX_set_rsa_pss_saltlen(context, RSA_PSS_SALTLEN_DIGEST) == 1;
    case Scheme::kEcdsa:
      return true;
  }
  return false;
}

bool VerifyIn(EVP_PKEY* key, Scheme scheme, p11::View digest, p11::View signature) {
  const EVP_MD* const hash = HashOf(digest.size);
  const int type = EVP_PKEY_get_base_id(key);
  if (hash == nullptr || type != (scheme == Scheme::kEcdsa ? EVP_PKEY_EC : EVP_PKEY_RSA)) return false;
  Context context(EVP_PKEY_CTX_new(key, nullptr));
  if (!context || !Prepare(context.get(), scheme, hash)) return false;
  if (scheme != Scheme::kEcdsa) {
    return EVP_PKEY_verify(context.get(), signature.data, signature.size, digest.data, digest.size) == 1;
  }
  const p11::Bytes der = ToDer(key, signature);
  return der.size() > 0 && EVP_PKEY_verify(context.get(), der.data(), der.size(), digest.data, digest.size) == 1;
}

}  // namespace

std::shared_ptr<PublicKey> PublicKey::FromDer(p11::View der) {
  if (der.size > INT_MAX) return nullptr;
  const unsigned char* next = der.data;
  EVP_PKEY* const key = d2i_PUBKEY(nullptr, &next, static_cast<long>(der.size));
  ERR_clear_error();
  if (key == nullptr) return nullptr;
  return std::shared_ptr<PublicKey>(new PublicKey(key));
}

PublicKey::~PublicKey() { EVP_PKEY_free(key_); }

bool PublicKey::Verify(Scheme scheme, p11::View digest, p11::View signature) const {
  const bool valid = VerifyIn(key_, scheme, digest, signature);
  // The reason must not stay behind on this thread for somebody else to find.
  ERR_clear_error();
  return valid;
}

}  // namespace public_key
