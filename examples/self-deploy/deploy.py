"""Replaces the runner's own container.

The command that replaces a container cannot run inside it: it ends together with the container, before the new one is
started. So this task starts a helper container, which goes on. The runner hands this run back when it is stopped, and
the new runner starts this task again. Then there is nothing left to do, and the run succeeds.
"""

import socket
import subprocess
from pathlib import Path

from invoke import Exit, task

# The folder on the host that holds the runner's compose.yaml and .env.
PROJECT = "/opt/iac-runner"
SOCKET = "/var/run/docker.sock"
HELPER = "iac-runner-replacement"
HELPER_IMAGE = "docker:28-cli"
OVERRIDE = Path(__file__).resolve().parent / "compose.override.yaml"


def docker(*arguments: str) -> "subprocess.CompletedProcess[str]":
    """Runs the docker command and returns its exit code and what it printed."""
    command = ["docker", *arguments]
    return subprocess.run(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )


def must(result: "subprocess.CompletedProcess[str]") -> str:
    if result.returncode != 0:
        raise Exit(result.stdout.strip(), code=1)
    return result.stdout.strip()


def wait_for_helper() -> int:
    """Waits until the helper ends, prints its output, removes it, and returns its exit code."""
    exit_code = int(must(docker("wait", HELPER)))
    print(docker("logs", HELPER).stdout, flush=True)
    docker("rm", HELPER)
    return exit_code


@task
def sync(_c):  # type: ignore[no-untyped-def]
    """Bring the runner's own container to what compose.yaml and compose.override.yaml say."""
    # The helper of the run that was handed back may still be busy, and two must not work at the same time.
    if docker("inspect", HELPER).returncode == 0:
        wait_for_helper()
    must(
        docker(
            *("run", "--detach", "--name", HELPER),
            # The helper reads compose.override.yaml from the checkout in the runner's volume.
            *("--volumes-from", f"{socket.gethostname()}:ro"),
            *("--volume", f"{SOCKET}:/var/run/docker.sock"),
            *("--volume", f"{PROJECT}:{PROJECT}:ro"),
            *(HELPER_IMAGE, "docker", "compose", "--project-directory", PROJECT),
            *("--file", f"{PROJECT}/compose.yaml", "--file", str(OVERRIDE), "up", "--detach"),
        )
    )
    if wait_for_helper() != 0:
        raise Exit("The runner's container could not be replaced; the lines above say why.", code=1)
