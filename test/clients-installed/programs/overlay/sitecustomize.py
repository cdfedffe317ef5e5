"""On PYTHONPATH before az: fills the holes of Debian's package without which its security-domain commands crash before
they send anything. The modules are the copies that az itself ships under another name; requests, challenges and the
security-domain code stay az's own."""

import importlib.abc
import importlib.machinery
import importlib.util
import inspect
import sys
import types

SHIPPED = "azure.cli.command_modules.keyvault.vendored_sdks"
MISSING = ("http_bearer_challenge_cache", "http_challenge", "http_message_security", "_internal")


class Shipped(importlib.abc.MetaPathFinder):
    """Finds the modules by their files: to import them by name would import what needs them."""

    def find_spec(self, fullname, path=None, target=None):
        package, _, name = fullname.rpartition(".")
        if package != "azure.keyvault" or name not in MISSING:
            return None
        (shipped,) = importlib.util.find_spec(SHIPPED).submodule_search_locations
        found = importlib.machinery.PathFinder.find_spec(name, [shipped + "/azure_keyvault_t1"])
        inside = found.submodule_search_locations
        return importlib.util.spec_from_file_location(
            fullname, found.origin, submodule_search_locations=inside
        )


sys.meta_path.append(Shipped())

# Of the models one is named, and used only for requests that are encrypted themselves.
models = types.ModuleType("azure.keyvault.models")
models.JsonWebKey = type("JsonWebKey", (), {})
sys.modules[models.__name__] = models

if not hasattr(inspect, "getargspec"):  # gone since Python 3.11
    inspect.getargspec = inspect.getfullargspec
