# KeyVaultSettingsClient, every operation that it has. Checks nothing itself. Argument: see sdk.py.
from azure.keyvault.administration import KeyVaultSettingsClient

from sdk import credential, failure, tell, url

client = KeyVaultSettingsClient(url, credential)
NAME = "AllowKeyManagementOperationsThroughARM"


def setting(given):
    return {"name": given.name, "value": given.value, "type": given.type}


def everything():
    return {
        "listed": [setting(given) for given in client.list_settings()],
        "first": setting(client.get_setting(NAME)),
        "updated": setting(client.update_setting(NAME, "true")),
        "read": setting(client.get_setting(NAME)),
        "back": setting(client.update_setting(NAME, "false")),
        "wrong": failure(client.update_setting, NAME, "perhaps"),
    }


tell({"everything": everything})
