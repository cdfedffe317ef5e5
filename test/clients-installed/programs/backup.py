# KeyVaultBackupClient, every operation that it has. Checks nothing itself. Argument: see sdk.py, and {container, token,
# key} with the name of a key that is restored from the backup.
from azure.keyvault.administration import KeyVaultBackupClient
from azure.keyvault.keys import KeyClient

from sdk import credential, failure, tell, url, wish

client = KeyVaultBackupClient(url, credential)
keys = KeyClient(url, credential)
container, token, name = wish["container"], wish["token"], wish["key"]
made = {}


def backup():
    poller = client.begin_backup(container, token, _polling_interval=1)
    again = client.begin_backup(container, token, continuation_token=poller.continuation_token())
    made["folder"] = poller.result().folder_url
    return {"folder": made["folder"], "again": again.result().folder_url}


def key():
    before = keys.get_key(name)
    taken = failure(client.begin_restore, made["folder"], token, key_name=name)
    keys.begin_delete_key(name).wait()
    keys.purge_deleted_key(name)
    client.begin_restore(made["folder"], token, key_name=name, _polling_interval=1).wait()
    after = keys.get_key(name)
    return {"before": before.id, "after": after.id, "taken": taken}


def everything():
    keys.create_oct_key("later", size=128)
    client.begin_restore(made["folder"], token, _polling_interval=1).wait()
    return {"later": failure(keys.get_key, "later"), "kept": keys.get_key(name).id}


def refused():
    return {
        "forbidden": failure(client.begin_backup, "https://storage.example.net/backups", token),
        "missing": failure(lambda: client.begin_restore(made["folder"] + "9", token, _polling_interval=1).wait()),
    }


tell({"backup": backup, "key": key, "everything": everything, "refused": refused})
