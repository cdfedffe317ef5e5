"""On PYTHONPATH before az: fills two holes of Debian's package, without which its security-domain commands crash
before they send anything. The modules are the copies that az itself ships under another name; requests, challenges
and the security-domain code stay az's own."""

import importlib
import importlib.abc
import importlib.util
import inspect
import sys

SHIPPED = "azure.cli.command_modules.keyvault.vendored_sdks.azure_keyvault_t1"
MISSING = ("http_bearer_challenge_cache", "http_challenge", "http_message_security", "_internal")


class Shipped(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    def find_spec(self, fullname, path=None, target=None):
        package, _, name = fullname.rpartition(".")
        if package == "azure.keyvault" and name in MISSING:
            return importlib.util.spec_from_loader(fullname, self)
        return None

    def create_module(self, spec):
        # Its package imports what needs these modules, so they are loaded by their files.
        name = spec.name.rpartition(".")[2]
        vendored = importlib.util.find_spec("azure.cli.command_modules.keyvault.vendored_sdks")
        place = next(iter(vendored.submodule_search_locations)) + "/azure_keyvault_t1/" + name
        finder = importlib.machinery.PathFinder.find_spec(name, [place.rpartition("/")[0]])
        found = importlib.util.spec_from_file_location(
            spec.name, finder.origin, submodule_search_locations=finder.submodule_search_locations
        )
        module = importlib.util.module_from_spec(found)
        sys.modules[spec.name] = module
        found.loader.exec_module(module)
        return module

    def exec_module(self, module):
        pass


sys.meta_path.append(Shipped())
if not hasattr(inspect, "getargspec"):  # gone since Python 3.11
    inspect.getargspec = inspect.getfullargspec
