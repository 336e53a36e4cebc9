"""iac-runner itself: set up by hand once, for it cannot be its own first deployment."""

import os
import re
import secrets
import subprocess
import tempfile
from pathlib import Path
from typing import Dict, Optional

from invoke import Exit, task

FOLDER = Path(__file__).resolve().parent
ENV_FILE = FOLDER / ".env"
DOMAIN = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)+")
HEADER = "# Secrets of iac-runner, written by `invoke iac-runner.setup`. Never commit this file.\n"


def read_env(text: str) -> Dict[str, str]:
    """The assignments of an .env file; comments and blank lines are left aside."""
    pairs = (line.partition("=") for line in text.splitlines() if "=" in line and not line.startswith("#"))
    return {key.strip(): value.strip() for key, _, value in pairs}


def with_values(text: str, values: Dict[str, str]) -> str:
    """The file with these values set in place or appended, and every other line as it was."""
    rest = dict(values)
    lines = []
    for line in text.splitlines():
        key = line.partition("=")[0].strip()
        lines.append(f"{key}={rest.pop(key)}" if key in rest else line)
    lines.extend(f"{key}={value}" for key, value in rest.items())
    return "\n".join(lines) + "\n"


def write_private(path: Path, text: str) -> None:
    """Replaces the file in one step; nobody but its owner can read it, not for a moment."""
    handle, temporary = tempfile.mkstemp(dir=str(path.parent), prefix=".env.")  # made with mode 0600
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise


def origin() -> Optional[str]:
    """The address this checkout came from, without any credentials in it."""
    git = ["git", "-C", str(FOLDER), "remote", "get-url", "origin"]
    try:
        found = subprocess.run(git, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=False, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return None
    url = found.stdout.decode("utf-8", "replace").strip()
    return re.sub(r"^(https?://)[^/@]*@", r"\1", url) or None


def wanted_values(present: Dict[str, str], domain: str, repository: str, rotate: bool) -> Dict[str, str]:
    """What has to be written. A secret that is there stays, unless it is to be rotated."""
    defaults = {
        "GIT_REPO_URL": repository,
        "GIT_BRANCH": "main",
        "INTERNAL_DOMAIN": domain,
        "PUBLIC_URL": f"https://iac.{domain}",
        "API_TOKENS": f"admin:admin:{secrets.token_hex(32)}",
    }
    values = {key: value for key, value in defaults.items() if not present.get(key)}
    current = present.get("WEBHOOK_SECRET")
    if not current:
        values["WEBHOOK_SECRET"] = secrets.token_hex(32)
    elif rotate:
        values["WEBHOOK_SECRET"] = secrets.token_hex(32)
        values["WEBHOOK_SECRET_PREVIOUS"] = current
    return values


def webhook_settings(domain: str, secret: str) -> str:
    """What to paste into the form under Settings → Webhooks → Add webhook."""
    return "\n".join(
        (
            "GitHub webhook (Settings → Webhooks → Add webhook):",
            f"  Payload URL:   https://iac.{domain}/webhook",
            "  Content type:  application/json",
            f"  Secret:        {secret}",
            "  SSL:           Enable SSL verification",
            "  Events:        Just the push event",
        )
    )


@task(
    help={
        "domain": "internal domain, e.g. example.com (default: INTERNAL_DOMAIN, or what .env says)",
        "repository": "address iac-runner clones from (default: origin of this checkout)",
        "rotate": "replace the webhook secret; the old one stays valid until the next rotation",
    }
)
def setup(_c, domain="", repository="", rotate=False):  # type: ignore[no-untyped-def]
    """Write .env with a fresh webhook secret and print the GitHub webhook's settings."""
    text = ENV_FILE.read_text(encoding="utf-8") if ENV_FILE.exists() else HEADER
    present = read_env(text)
    domain = domain or present.get("INTERNAL_DOMAIN") or os.environ.get("INTERNAL_DOMAIN", "")
    if not DOMAIN.fullmatch(domain):
        raise Exit("Which domain? Type: invoke iac-runner.setup --domain example.com", code=2)
    if present.get("INTERNAL_DOMAIN", domain) != domain:
        raise Exit(f"{ENV_FILE} is for {present['INTERNAL_DOMAIN']}. Change it there, then run this again.", code=2)
    repository = repository or present.get("GIT_REPO_URL") or origin() or ""
    if not repository:
        raise Exit("Which repository? Add: --repository https://github.com/<owner>/<name>.git", code=2)

    values = wanted_values(present, domain, repository, rotate)
    # Written even when nothing is new, for that also puts the mode right.
    write_private(ENV_FILE, with_values(text, values))
    fresh = values.get("WEBHOOK_SECRET")
    print(f"{'Wrote' if values else 'Nothing new in'} {ENV_FILE}")
    print()
    print(webhook_settings(domain, fresh or f"unchanged, the WEBHOOK_SECRET in {ENV_FILE}"))
    if rotate and "WEBHOOK_SECRET_PREVIOUS" in values:
        print("\nRestart iac-runner first, then change the secret at GitHub; both work meanwhile.")
