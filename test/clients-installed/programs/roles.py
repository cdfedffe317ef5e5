# KeyVaultAccessControlClient, every operation that it has. Checks nothing itself. Argument: see sdk.py; and
# {principalId}.
from azure.keyvault.administration import (
    KeyVaultAccessControlClient,
    KeyVaultDataAction,
    KeyVaultPermission,
    KeyVaultRoleScope,
)

from sdk import credential, failure, tell, url, wish

client = KeyVaultAccessControlClient(url, credential)


def definition(given):
    return {
        "id": given.id,
        "name": given.name,
        "roleName": given.role_name,
        "type": given.role_type,
        "dataActions": sorted(action for block in given.permissions for action in block.data_actions),
    }


def assignment(given):
    return {
        "id": given.role_assignment_id,
        "name": given.name,
        "principalId": given.properties.principal_id,
        "definitionId": given.properties.role_definition_id,
        "scope": given.properties.scope,
    }


def everything():
    actions = KeyVaultPermission(data_actions=[KeyVaultDataAction.READ_HSM_KEY])
    made = client.set_role_definition(KeyVaultRoleScope.GLOBAL, role_name="Reader", permissions=[actions])
    again = client.set_role_definition(
        KeyVaultRoleScope.GLOBAL, name=made.name, role_name="Reader of keys", permissions=[actions]
    )
    read = client.get_role_definition(KeyVaultRoleScope.GLOBAL, made.name)
    listed = [given.name for given in client.list_role_definitions(KeyVaultRoleScope.GLOBAL)]
    assigned = client.create_role_assignment(KeyVaultRoleScope.KEYS, made.id, wish["principalId"])
    on_key = client.create_role_assignment("/keys/one", made.id, wish["principalId"])
    seen = client.get_role_assignment(KeyVaultRoleScope.KEYS, assigned.name)
    all_of_keys = [given.name for given in client.list_role_assignments(KeyVaultRoleScope.KEYS)]
    client.delete_role_assignment(KeyVaultRoleScope.KEYS, assigned.name)
    client.delete_role_assignment("/keys/one", on_key.name)
    client.delete_role_definition(KeyVaultRoleScope.GLOBAL, made.name)
    return {
        "made": definition(made),
        "again": definition(again),
        "read": definition(read),
        "listed": listed,
        "assigned": assignment(assigned),
        "onKey": assignment(on_key),
        "seen": assignment(seen),
        "allOfKeys": all_of_keys,
        "gone": [
            failure(client.get_role_assignment, KeyVaultRoleScope.KEYS, assigned.name),
            failure(client.get_role_definition, KeyVaultRoleScope.GLOBAL, made.name),
        ],
    }


tell({"everything": everything})
