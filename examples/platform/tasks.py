"""The namespace of tasks: one collection per service, found by its deploy.py."""

import importlib.util
import re
import traceback
from pathlib import Path
from types import ModuleType

from invoke import Collection, Exit, task

ROOT = Path(__file__).resolve().parent
FOLDER = re.compile(r"[0-9]+\.([a-z0-9][a-z0-9._-]*)")
# Where services live, and what their collection's name begins with.
PLACES = (
    ("platform", ""),
    ("finance_report/finance_report", "fr-"),
    ("bootstrap", ""),
)


def load(path: Path) -> ModuleType:
    """Runs a deploy.py as a module of its own. Its folder's name is no Python identifier, hence by location."""
    name = "deploy_" + re.sub(r"\W", "_", str(path.parent.relative_to(ROOT)))
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path} cannot be loaded")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def broken(name: str, path: Path) -> Collection:
    """Stands in for a deploy.py that cannot be loaded, so that it fails its own sync and no other service's."""
    problem = traceback.format_exc().rstrip()

    @task
    def sync(_c):  # type: ignore[no-untyped-def]
        """Fails: the deploy.py of this service cannot be loaded."""
        raise Exit(f"{path.relative_to(ROOT)} cannot be loaded.\n{problem}", code=1)

    return Collection(name, sync)


def collect() -> Collection:
    """All services under all places, in the order of their numbers."""
    namespace = Collection()
    for place, prefix in PLACES:
        for path in sorted((ROOT / place).glob("*/deploy.py")):
            folder = FOLDER.fullmatch(path.parent.name)
            if folder is None:
                continue
            name = prefix + folder.group(1)
            try:
                collection = Collection.from_module(load(path), name=name)
            except (Exception, SystemExit):
                collection = broken(name, path)
            namespace.add_collection(collection)
    return namespace


namespace = collect()
