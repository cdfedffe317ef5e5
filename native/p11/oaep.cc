#include "oaep.h"

// The low-level function is deprecated in name only; nothing else in OpenSSL unpads a block that was decrypted
// elsewhere.
#define OPENSSL_SUPPRESS_DEPRECATED
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/rsa.h>

namespace p11 {
namespace {

const EVP_MD* DigestOf(OaepHash hash) {
  switch (hash) {
    case OaepHash::kSha1:
      return EVP_sha1();
    case OaepHash::kSha256:
      return EVP_sha256();
    case OaepHash::kSha384:
      return EVP_sha384();
    case OaepHash::kSha512:
      return EVP_sha512();
  }
  return nullptr;
}

}  // namespace

bool UnpadOaep(View padded, OaepHash hash, View label, Bytes* data) {
  const EVP_MD* const digest = DigestOf(hash);
  const int length = static_cast<int>(padded.size);
  *data = Bytes(padded.size);
  // The whole buffer is written in every case, so that its former contents never show.
  memset(data->data(), 0, data->capacity());
  const int written =
      RSA_padding_check_PKCS1_OAEP_mgf1(data->data(), length, padded.data, length, length, label.data,
                                        static_cast<int>(label.size), digest, digest);
  // The reason must not stay behind on this thread for somebody else to find.
  ERR_clear_error();
  data->Shorten(written > 0 ? static_cast<std::size_t>(written) : 0);
  return written >= 0;
}

}  // namespace p11
