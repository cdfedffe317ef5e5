#include "mechanism.h"

#include "reader.h"

namespace p11 {

bool Mechanism::Decode(View encoded) {
  if (encoded.size > kMechanismBytesMax) return false;
  encoded_ = Bytes(encoded);
  Reader reader(encoded_.view());
  type_ = reader.U32();
  kind_ = static_cast<ParameterKind>(reader.U8());
  parameter_ = {};
  switch (kind_) {
    case ParameterKind::kNone:
      break;
    case ParameterKind::kBytes:
      bytes_ = reader.Rest();
      break;
    case ParameterKind::kPss:
      parameter_.pss.hashAlg = reader.U32();
      parameter_.pss.mgf = reader.U32();
      parameter_.pss.sLen = reader.U32();
      break;
    case ParameterKind::kOaep: {
      parameter_.oaep.hashAlg = reader.U32();
      parameter_.oaep.mgf = reader.U32();
      const View source = reader.Rest();
      parameter_.oaep.source = CKZ_DATA_SPECIFIED;
      // Here NULL is what the standard asks for when there is no label.
      parameter_.oaep.pSourceData = source.size > 0 ? source.Mutable() : nullptr;
      parameter_.oaep.ulSourceDataLen = source.size;
      break;
    }
    case ParameterKind::kGcm: {
      const View iv = reader.Sized();
      const View aad = reader.Sized();
      parameter_.gcm.pIv = iv.Mutable();
      parameter_.gcm.ulIvLen = iv.size;
      parameter_.gcm.ulIvBits = iv.size * 8;
      parameter_.gcm.pAAD = aad.size > 0 ? aad.Mutable() : nullptr;
      parameter_.gcm.ulAADLen = aad.size;
      parameter_.gcm.ulTagBits = reader.U32();
      break;
    }
    case ParameterKind::kEcdh1: {
      parameter_.ecdh1.kdf = reader.U32();
      const View shared = reader.Sized();
      const View point = reader.Sized();
      parameter_.ecdh1.pSharedData = shared.size > 0 ? shared.Mutable() : nullptr;
      parameter_.ecdh1.ulSharedDataLen = shared.size;
      parameter_.ecdh1.pPublicData = point.Mutable();
      parameter_.ecdh1.ulPublicDataLen = point.size;
      break;
    }
    case ParameterKind::kCtr: {
      parameter_.ctr.ulCounterBits = reader.U32();
      const View block = reader.Take(sizeof parameter_.ctr.cb);
      if (reader.ok()) memcpy(parameter_.ctr.cb, block.data, block.size);
      break;
    }
    case ParameterKind::kStringData: {
      const View text = reader.Rest();
      parameter_.text.pData = text.Mutable();
      parameter_.text.ulLen = text.size;
      break;
    }
    case ParameterKind::kCbcData: {
      const View iv = reader.Take(sizeof parameter_.cbc.iv);
      if (reader.ok()) memcpy(parameter_.cbc.iv, iv.data, iv.size);
      const View data = reader.Rest();
      parameter_.cbc.pData = data.Mutable();
      parameter_.cbc.length = data.size;
      break;
    }
    default:
      return false;
  }
  return reader.AtEnd();
}

CK_MECHANISM Mechanism::Native() {
  CK_MECHANISM native = {type_, nullptr, 0};
  switch (kind_) {
    case ParameterKind::kNone:
      return native;
    case ParameterKind::kBytes:
      native.pParameter = bytes_.Mutable();
      native.ulParameterLen = bytes_.size;
      return native;
    case ParameterKind::kPss:
      native.ulParameterLen = sizeof parameter_.pss;
      break;
    case ParameterKind::kOaep:
      native.ulParameterLen = sizeof parameter_.oaep;
      break;
    case ParameterKind::kGcm:
      native.ulParameterLen = sizeof parameter_.gcm;
      break;
    case ParameterKind::kEcdh1:
      native.ulParameterLen = sizeof parameter_.ecdh1;
      break;
    case ParameterKind::kCtr:
      native.ulParameterLen = sizeof parameter_.ctr;
      break;
    case ParameterKind::kStringData:
      native.ulParameterLen = sizeof parameter_.text;
      break;
    case ParameterKind::kCbcData:
      native.ulParameterLen = sizeof parameter_.cbc;
      break;
  }
  native.pParameter = &parameter_;
  return native;
}

}  // namespace p11
