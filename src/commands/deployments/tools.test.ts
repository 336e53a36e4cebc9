import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { expect, it, onTestFinished } from 'vitest';
import { captureProcess } from '../../process/capture.ts';

function newFolder(): string {
  const folder = mkdtempSync(path.join(tmpdir(), 'iac-tools-'));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

function install(file: string, version: string): string {
  mkdirSync(path.dirname(file), { recursive: true });
  writeFileSync(file, `#!/bin/sh\necho '{"terraform_version":"${version}"}'\n`);
  chmodSync(file, 0o755);
  return file;
}

async function tools(env: Record<string, string>) {
  const cli = path.join(import.meta.dirname, '..', '..', 'cli.ts');
  const argv = [process.execPath, cli, 'tools'] as const;
  const result = await captureProcess({ argv, cwd: '/', env, timeoutMs: 30_000 });
  if (result.kind !== 'exited') throw new Error(`It ended as ${result.kind}.`);
  return {
    exitCode: result.exitCode,
    lines: result.stdout.toString().trimEnd().split('\n'),
    stderr: result.stderr,
  };
}

it('iac-runner tools lists tool, version and program, and exits with 1 when one is broken', async () => {
  const folder = newFolder();
  const onPath = install(path.join(folder, 'bin/tofu'), '1.10.0');
  const old = install(path.join(folder, 'tools/terraform/1.9.8/terraform'), '1.9.8');
  const env = { PATH: path.dirname(onPath), TOOLS_DIR: path.join(folder, 'tools') };
  expect(await tools(env)).toMatchObject({
    exitCode: 0,
    lines: [`terraform  1.9.8            ${old}`, `tofu       1.10.0           ${onPath}  (on the PATH)`],
  });
  install(path.join(folder, 'tools/terraform/1.12.0/terraform'), '1.11.4');
  const { exitCode, lines } = await tools(env);
  expect(exitCode).toBe(1);
  expect(lines[1]).toMatch(/^terraform {2}1\.12\.0 .* broken: it says that it is 1\.11\.4$/);
});

it('iac-runner tools exits with 1 and says where it looked when there is no tool', async () => {
  const { exitCode, stderr } = await tools({ PATH: newFolder() });
  expect(exitCode).toBe(1);
  expect(stderr).toContain('neither on the PATH nor in TOOLS_DIR, which is not set');
});
