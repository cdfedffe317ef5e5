# Works off cryptographic jobs with CryptographyClient, and says what the SDK offers. Checks nothing itself.
# Argument: see sdk.py; and {jobs}, see test/clients/crypto-jobs.ts.
from azure.keyvault.keys import KeyClient
from azure.keyvault.keys.crypto import (
    CryptographyClient,
    EncryptionAlgorithm,
    KeyWrapAlgorithm,
    SignatureAlgorithm,
)

from sdk import credential, failure, tell, to_bytes, to_text, url, wish

clients = {}


def client_of(key):
    if key not in clients:
        clients[key] = CryptographyClient(key, credential)
    return clients[key]


def run(job):
    crypto = client_of(job["key"])
    verb, value = job["verb"], to_bytes(job["value"])
    named = {
        name: to_bytes(job.get(short))
        for name, short in {"iv": "iv", "additional_authenticated_data": "aad", "authentication_tag": "tag"}.items()
        if job.get(short) is not None
    }
    if verb == "sign":
        result = crypto.sign(SignatureAlgorithm(job["algorithm"]), value)
        return {"keyID": result.key_id, "value": to_text(result.signature)}
    if verb == "verify":
        result = crypto.verify(SignatureAlgorithm(job["algorithm"]), to_bytes(job["digest"]), value)
        return {"keyID": result.key_id, "value": result.is_valid}
    if verb == "encrypt":
        result = crypto.encrypt(EncryptionAlgorithm(job["algorithm"]), value, **named)
        return {
            "keyID": result.key_id,
            "value": to_text(result.ciphertext),
            "iv": to_text(result.iv),
            "aad": to_text(result.aad),
            "tag": to_text(result.tag),
        }
    if verb == "decrypt":
        result = crypto.decrypt(EncryptionAlgorithm(job["algorithm"]), value, **named)
        return {"keyID": result.key_id, "value": to_text(result.plaintext)}
    if verb == "wrapKey":
        result = crypto.wrap_key(KeyWrapAlgorithm(job["algorithm"]), value)
        return {"keyID": result.key_id, "value": to_text(result.encrypted_key)}
    if verb == "unwrapKey":
        result = crypto.unwrap_key(KeyWrapAlgorithm(job["algorithm"]), value)
        return {"keyID": result.key_id, "value": to_text(result.key)}
    raise ValueError(verb)


def done(job):
    results = []
    failed = failure(lambda: results.append(run(job)))
    return {"failure": failed} if failed else results[0]


def methods_of(client):
    return [name for name in vars(client) if not name.startswith("_") and callable(getattr(client, name))]


tell(
    {
        "jobs": lambda: [done(job) for job in wish["jobs"]],
        "readable": lambda: failure(KeyClient(url, credential).get_key, wish["name"]),
        "offers": lambda: {
            "keyClient": methods_of(KeyClient),
            "cryptographyClient": methods_of(CryptographyClient),
            "algorithms": [
                item.value for kind in (SignatureAlgorithm, EncryptionAlgorithm, KeyWrapAlgorithm) for item in kind
            ],
        },
    }
)
