# KeyClient, every operation that it has. Checks nothing itself. Argument: see sdk.py.
import base64
from datetime import datetime, timezone

from azure.core.credentials import AccessToken
from azure.keyvault.keys import (
    ApiVersion,
    JsonWebKey,
    KeyClient,
    KeyExportEncryptionAlgorithm,
    KeyReleasePolicy,
    KeyRotationLifetimeAction,
    KeyRotationPolicy,
    KeyRotationPolicyAction,
    KeyType,
    KeyVaultKeyIdentifier,
)
from azure.keyvault.keys.crypto import SignatureAlgorithm

from sdk import credential, failure, tell, to_bytes, to_text, url, wish

client = KeyClient(url, credential)

FROM = datetime(2026, 1, 2, 3, 4, 5, tzinfo=timezone.utc)
UNTIL = datetime(2199, 12, 31, 23, 59, 59, tzinfo=timezone.utc)
PARTS = ("n", "e", "x", "y")


def moment(date):
    return None if date is None else int(date.timestamp())


def text_of(part):
    return base64.urlsafe_b64encode(part).decode().rstrip("=")


def shown(key):
    properties = key.properties
    return {
        "id": key.id,
        "name": key.name,
        "type": key.key_type,
        "operations": key.key_operations,
        "version": properties.version,
        "enabled": properties.enabled,
        "exportable": properties.exportable,
        "notBefore": moment(properties.not_before),
        "expiresOn": moment(properties.expires_on),
        "created": moment(properties.created_on),
        "tags": properties.tags,
        "recoverableDays": properties.recoverable_days,
        "recoveryLevel": properties.recovery_level,
        "vaultUrl": properties.vault_url,
        "jwk": {
            "kty": key.key.kty,
            "crv": key.key.crv,
            **{part: text_of(getattr(key.key, part)) for part in PARTS if getattr(key.key, part)},
        },
    }


def item(properties):
    return {"name": properties.name, "version": properties.version, "enabled": properties.enabled}


def deletion(key):
    return {
        "name": key.name,
        "recoveryId": key.recovery_id,
        "deleted": moment(key.deleted_date),
        "purge": moment(key.scheduled_purge_date),
    }


def types():
    return {kind.value: shown(client.create_key(f"type-{kind.value}", kind)) for kind in KeyType if "OKP" not in kind.value}


def created():
    return {
        "rsa": shown(
            client.create_rsa_key(
                "created-rsa",
                size=3072,
                hardware_protected=True,
                key_operations=["sign", "verify"],
                enabled=True,
                tags={"owner": "somebody"},
                not_before=FROM,
                expires_on=UNTIL,
            )
        ),
        "exponent": shown(client.create_rsa_key("created-exponent", public_exponent=3)),
        "ec": shown(client.create_ec_key("created-ec", curve="P-521", hardware_protected=True)),
        "oct": shown(client.create_oct_key("created-oct", size=192, hardware_protected=True)),
        "okp": failure(client.create_okp_key, "created-okp", curve="Ed25519"),
    }


def imported():
    keys = {}
    for name, jwk in wish["jwks"].items():
        members = {
            member: value if member in ("kty", "crv") else base64.urlsafe_b64decode(value + "==")
            for member, value in jwk.items()
        }
        keys[name] = shown(
            client.import_key(
                name,
                JsonWebKey(**members),
                hardware_protected=True,
                enabled=True,
                tags={"from": "elsewhere"},
                not_before=FROM,
                expires_on=UNTIL,
            )
        )
    return keys


def life():
    first = client.create_ec_key("life", tags={"kept": "yes"})
    second = client.create_ec_key("life")
    newest = client.get_key("life")
    older = client.get_key("life", first.properties.version)
    listed = [properties.name for properties in client.list_properties_of_keys()]
    pages = [
        [properties.name for properties in page]
        for page in client.list_properties_of_keys(max_page_size=2).by_page()
    ]
    versions = [item(properties) for properties in client.list_properties_of_key_versions("life")]
    updated = client.update_key_properties("life", enabled=False, tags={"stage": "off"}, expires_on=UNTIL)
    refused = failure(
        client.get_cryptography_client("life", key_version=second.properties.version).sign,
        SignatureAlgorithm.es256,
        bytes(32),
    )
    named = client.update_key_properties("life", first.properties.version, key_operations=["verify"], not_before=FROM)
    deleting = client.begin_delete_key("life")
    deleted = deleting.result()
    deleting.wait()
    gone = failure(client.get_key, "life")
    taken = failure(client.create_ec_key, "life")
    seen = client.get_deleted_key("life")
    [found] = [key for key in client.list_deleted_keys() if key.name == "life"]
    recovering = client.begin_recover_deleted_key("life")
    recovering.wait()
    recovered = client.get_key("life")
    client.begin_delete_key("life").wait()
    client.purge_deleted_key("life")
    return {
        "first": shown(first),
        "second": shown(second),
        "newest": shown(newest),
        "older": shown(older),
        "listed": listed,
        "pages": pages,
        "versions": versions,
        "updated": shown(updated),
        "refused": refused,
        "named": shown(named),
        "deleted": deletion(deleted),
        "seen": deletion(seen),
        "found": deletion(found),
        "gone": gone,
        "taken": taken,
        "recovered": shown(recovered),
        "purged": failure(client.get_deleted_key, "life"),
        "identifier": {
            "name": KeyVaultKeyIdentifier(first.id).name,
            "version": KeyVaultKeyIdentifier(first.id).version,
        },
    }


def random():
    return [to_text(client.get_random_bytes(count)) for count in (1, 16, 128)]


def signed():
    """By the newest version, and by one that is named."""
    first = client.create_ec_key("chosen")
    second = client.create_ec_key("chosen")
    digest = to_bytes(wish["digest"])
    signatures = []
    for version in (None, first.properties.version):
        crypto = client.get_cryptography_client("chosen", key_version=version)
        signatures.append(to_text(crypto.sign(SignatureAlgorithm.es256, digest).signature))
    return {"keys": [shown(first), shown(second)], "signatures": signatures}


def versions():
    """Every API version that the package may be told to use."""
    answers = {}
    for version in (item.value for item in ApiVersion):
        older = KeyClient(url, credential, api_version=version)
        answers[version] = failure(older.create_ec_key, "versioned")
    return answers


class Pretender:
    def get_token(self, *scopes, **options):
        return AccessToken("not.a.token", int(UNTIL.timestamp()))


def disbelieved():
    return failure(KeyClient(url, Pretender()).create_ec_key, "never")


def backup():
    first = client.create_ec_key("kept", tags={"kept": "yes"})
    second = client.create_ec_key("kept")
    blob = client.backup_key("kept")
    taken = failure(client.restore_key_backup, blob)
    client.begin_delete_key("kept").wait()
    held = failure(client.restore_key_backup, blob)
    client.purge_deleted_key("kept")
    restored = client.restore_key_backup(blob)
    return {
        "first": shown(first),
        "second": shown(second),
        "blob": to_text(blob),
        "taken": taken,
        "held": held,
        "restored": shown(restored),
        "older": shown(client.get_key("kept", first.properties.version)),
        "garbage": failure(client.restore_key_backup, b"nothing of the kind"),
    }


def policy(given):
    return {
        "id": given.id,
        "expiresIn": given.expires_in,
        "created": moment(given.created_on),
        "updated": moment(given.updated_on),
        "actions": [
            [action.action, action.time_after_create, action.time_before_expiry] for action in given.lifetime_actions
        ],
    }


def rotation():
    first = client.create_rsa_key("turned", tags={"kept": "yes"})
    wanted = KeyRotationPolicy(
        expires_in="P90D",
        lifetime_actions=[KeyRotationLifetimeAction(KeyRotationPolicyAction.rotate, time_after_create="P30D")],
    )
    made = client.update_key_rotation_policy("turned", wanted)
    return {
        "first": shown(first),
        "made": policy(made),
        "read": policy(client.get_key_rotation_policy("turned")),
        "rotated": shown(client.rotate_key("turned")),
        "versions": len(list(client.list_properties_of_key_versions("turned"))),
    }


def release_policy(key):
    given = key.properties.release_policy
    return [given.content_type, given.immutable, given.encoded_policy.decode()]


def release():
    given = wish["release"]
    target = given["target"]
    policy = KeyReleasePolicy(given["policy"].encode())
    exportable = {"hardware_protected": True, "exportable": True, "release_policy": policy}
    keys = {
        "rsa": client.create_rsa_key("released-rsa", **exportable),
        "ec": client.create_ec_key("released-ec", curve="P-384", **exportable),
        "oct": client.create_oct_key("released-oct", size=256, **exportable),
    }
    told = {}
    for title, key in keys.items():
        values = {}
        for algorithm in KeyExportEncryptionAlgorithm:
            answer = client.release_key(key.name, target, algorithm=algorithm, nonce=f"nonce of {title}")
            values[algorithm.value] = answer.value
        told[title] = {**shown(key), "policy": release_policy(key), "values": values}
    newer = client.create_ec_key("released-ec", **exportable)
    newest = client.release_key("released-ec", target).value
    named = client.release_key("released-ec", target, version=keys["ec"].properties.version).value
    fixed = KeyReleasePolicy(given["other"].encode(), immutable=True)
    return {
        "keys": told,
        "newer": shown(newer),
        "newest": newest,
        "named": named,
        "changed": release_policy(client.update_key_properties("released-ec", release_policy=fixed)),
        "unmet": failure(client.release_key, "released-ec", target),
        "fixed": failure(client.update_key_properties, "released-ec", release_policy=policy),
        "refused": [failure(client.release_key, "released-rsa", token) for token in given["refused"]],
        "notExportable": failure(client.create_ec_key, "not-exportable", release_policy=policy),
    }


tell(
    {
        chapter.__name__: chapter
        for chapter in (types, created, imported, life, random, signed, versions, disbelieved, backup, rotation, release)
    }
)
