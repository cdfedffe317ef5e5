// EME-OAEP decoding (RFC 8017 section 7.1.2) in constant time.
#pragma once

#include "session.h"

namespace p11 {

// `padded` is the whole block, leading zero included. False for every fault alike.
bool UnpadOaep(View padded, OaepHash hash, View label, Bytes* data);

}  // namespace p11
