"""The sync that all services share: compare, render, say what happened."""

import json
import os
import random
import tempfile
import time
from pathlib import Path
from typing import Optional, Tuple

from invoke import Exit

from libs import compose, journal
from libs.console import paint, say


def _state_root() -> Path:
    """Each environment of iac-runner that has a name has a state of its own."""
    named = os.environ.get("IAC_EXAMPLE_STATE")
    root = Path(named) if named else Path(tempfile.gettempdir()) / f"iac-runner-example-{os.getuid()}"
    return root / os.environ.get("IAC_ENVIRONMENT", "")


def _replace(path: Path, text: str) -> None:
    """Writes the whole file or nothing, also when killed half way."""
    handle, temporary = tempfile.mkstemp(dir=str(path.parent))
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.write(text)
    os.replace(temporary, path)


def _report(action: str, details: str) -> None:
    """Tells iac-runner what came of the sync: created, updated, skipped or failed."""
    result_file = os.environ.get("IAC_RESULT_FILE")
    if result_file:
        Path(result_file).write_text(json.dumps({"action": action, "details": details}), encoding="utf-8")


def _pretend_to_work() -> None:
    """Waits IAC_EXAMPLE_SLEEP_MS milliseconds, a number or a range such as 5-300, for rehearsals."""
    wanted = os.environ.get("IAC_EXAMPLE_SLEEP_MS")
    if wanted:
        shortest, _, longest = wanted.partition("-")
        time.sleep(random.uniform(float(shortest), float(longest or shortest)) / 1000)


class Deployer:
    """Brings one service to the state its folder describes. `Deployer(__file__)` in the folder's deploy.py."""

    def __init__(self, deploy_file: str) -> None:
        self.folder = Path(deploy_file).resolve().parent
        self.service = f"{self.folder.parent.name}/{self.folder.name.partition('.')[2]}"
        self.state = _state_root() / self.service

    def sync(self) -> None:
        """Deploys when something changed. Safe to repeat; ends the program with code 1 when it cannot."""
        with journal.recorded(self.service, self.folder):
            try:
                action, details = self._deploy()
            except (compose.ComposeError, OSError) as error:
                _report("failed", str(error))
                say("✗", f"{self.service}: {error}", "red")
                raise Exit(code=1)
            _report(action, details)
        say("✓", f"{self.service}: {action}, {details}", "green")

    def status(self) -> None:
        """Says whether the service is deployed as described."""
        try:
            _, wanted, _ = self._wanted()
        except (compose.ComposeError, OSError) as error:
            say("✗", f"{self.service}: {error}", "red")
            raise Exit(code=1)
        deployed = self._deployed()
        if deployed is None:
            say("○", f"{self.service}: absent", "yellow")
        elif deployed == wanted:
            say("●", f"{self.service}: deployed at {wanted}", "green")
        else:
            say("●", f"{self.service}: changed, {deployed} → {wanted}", "yellow")

    def _wanted(self) -> Tuple[str, str, str]:
        text = (self.folder / "compose.yaml").read_text(encoding="utf-8")
        compose.check(text)
        environment = {name: os.environ.get(name, "") for name in compose.public_variables(text)}
        # iac-runner hands its own hash over, which covers more than this folder can see.
        wanted = os.environ.get("IAC_CONFIG_HASH") or compose.config_hash(text, environment)
        return text, wanted, compose.render(text, environment)

    def _deployed(self) -> Optional[str]:
        try:
            return (self.state / "config-hash").read_text(encoding="utf-8").strip()
        except FileNotFoundError:
            return None

    def _deploy(self) -> Tuple[str, str]:
        say("▸", f"{paint(self.service, 'bold')}: reading compose.yaml")
        _, wanted, rendered = self._wanted()
        deployed = self._deployed()
        if deployed == wanted:
            return "skipped", f"config hash {wanted} unchanged"
        say("▸", f"config hash {deployed or 'none'} → {wanted}")
        _pretend_to_work()
        self.state.mkdir(mode=0o700, parents=True, exist_ok=True)
        _replace(self.state / "compose.yaml", rendered)
        say("▸", f"rendered {len(rendered.splitlines())} lines")
        # Last, so that a sync that was cut off is done again.
        _replace(self.state / "config-hash", wanted + "\n")
        return ("updated" if deployed else "created"), f"config hash {wanted}"
