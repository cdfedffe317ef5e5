// Between JavaScript values and those of p11. Wrong types throw a TypeError; wrong contents are refused with
// the code that the module would use.
#pragma once

#include "job.h"

namespace addon {

constexpr std::size_t kPinMax = 1024;

// Numbers are exact: integers from 0 to 2^53 - 1.
CK_ULONG ToUlong(const Napi::Value& value, const char* name);
bool ToBool(const Napi::Value& value, const char* name);
// Points into the caller's memory: good for as long as the call, no longer.
p11::View ToView(const Napi::Value& value, const char* name);
p11::Bytes ToPin(Napi::Env env, const Napi::Value& value, const char* function);
// Copies at most `max` bytes; refuses more before copying anything.
p11::Bytes ToBytes(Napi::Env env, const Napi::Value& value, const char* name, std::size_t max,
                   const p11::Status& refusal);
p11::Template ToTemplate(Napi::Env env, const Napi::Value& value, const char* function);
// A number for a mechanism without a parameter, else its encoding.
p11::Mechanism ToMechanism(Napi::Env env, const Napi::Value& value, const char* function);
p11::Operation ToOperation(const Napi::Value& value);
p11::OaepHash ToOaepHash(const Napi::Value& value);

// Raw values: these also run when an environment is going away, where failing is normal and must not throw.
napi_value FromBytes(napi_env env, const p11::Bytes& bytes);
napi_value FromUlong(napi_env env, CK_ULONG value);
napi_value FromBool(napi_env env, bool value);

// What jobs answer with.
napi_value AnswerNothing(napi_env env, Request& request);
napi_value AnswerHandle(napi_env env, Request& request);
napi_value AnswerHandles(napi_env env, Request& request);
napi_value AnswerOutput(napi_env env, Request& request);
napi_value AnswerValid(napi_env env, Request& request);
// In the encoding of templates, with a state byte in place of the kind.
napi_value AnswerAttributes(napi_env env, Request& request);

}  // namespace addon
