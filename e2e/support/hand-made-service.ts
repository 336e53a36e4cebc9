/** Services whose sync is a few lines of shell or Python. Nobody should write tasks like these. */

import type { PlatformRepository } from './platform-repository.ts';

/** Replaces the task's own process with the script, so that no Python process is in between. */
const SHELL_TASK = `
    script = Path(__file__).resolve().parent / "sync.sh"
    sys.stdout.flush()
    os.execvp("sh", ["sh", str(script)])
`;

/** `folder` is e.g. `platform/06.flood`, whose service is `platform/flood`. */
export async function writeShellService(
  repository: PlatformRepository,
  folder: string,
  script: string,
): Promise<void> {
  await repository.write(`${folder}/deploy.py`, deployFile(SHELL_TASK));
  await repository.write(`${folder}/sync.sh`, `${script.trim()}\n`);
}

/** `body` is the body of the task's function, which can use `os`, `sys`, `time` and `Path`. */
export async function writePythonService(
  repository: PlatformRepository,
  folder: string,
  body: string,
): Promise<void> {
  const indented = body
    .trim()
    .split('\n')
    .map((line) => `    ${line}`)
    .join('\n');
  await repository.write(`${folder}/deploy.py`, deployFile(indented));
}

/** A line of shell that waits until the test has opened the gate of this name. */
export function waitAtGate(name: string): string {
  return `while [ ! -e "$IAC_EXAMPLE_STATE/gate-${name}" ]; do sleep 0.05; done`;
}

function deployFile(body: string): string {
  return `"""A service made by hand."""

import os
import sys
import time
from pathlib import Path

from invoke import task


@task
def sync(_c):
    """Do what the test wants."""
${body}
`;
}
