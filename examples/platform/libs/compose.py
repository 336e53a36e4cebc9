"""Reading a compose file: checking it, filling in its public variables, and its config hash."""

import hashlib
import re
from typing import List, Mapping

# Filled in when the file is rendered. All other variables are secrets; the engine reads those from Vault.
PUBLIC_VARIABLES = ("DEPLOY_ENV", "ENV", "INTERNAL_DOMAIN", "PROJECT")

_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)(?::?-([^}]*))?\}")


class ComposeError(Exception):
    """The compose file cannot be deployed; the message says why."""


def check(text: str) -> None:
    """Refuses a file that no engine would take."""
    if not re.search(r"^services:", text, re.MULTILINE):
        raise ComposeError("compose.yaml has no services")
    if not re.search(r"^\s+image:\s*\S", text, re.MULTILINE):
        raise ComposeError("compose.yaml names no image")


def public_variables(text: str) -> List[str]:
    """The public variables the file uses, sorted."""
    used = {match.group(1) for match in _VARIABLE.finditer(text)}
    return sorted(used.intersection(PUBLIC_VARIABLES))


def render(text: str, environment: Mapping[str, str]) -> str:
    """The file with its public variables filled in; references to secrets stay references."""

    def fill(match: "re.Match[str]") -> str:
        name, default = match.group(1), match.group(2)
        if name not in PUBLIC_VARIABLES:
            return match.group(0)
        value = environment.get(name) or default
        if value is None:
            raise ComposeError(f"{name} is not set, and compose.yaml needs it")
        return value

    return _VARIABLE.sub(fill, text)


def config_hash(text: str, environment: Mapping[str, str]) -> str:
    """Twelve hexadecimal digits over the file and the variables that are not empty."""
    lines = [f"{key}={environment[key]}" for key in sorted(environment) if environment[key]]
    content = text + "\n---ENV---\n" + "\n".join(lines)
    return hashlib.sha256(content.encode("utf-8")).hexdigest()[:12]
