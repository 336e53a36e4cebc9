import { execFileSync, spawn } from 'node:child_process';
import {
  existsSync,
  linkSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { describe, expect, it, onTestFinished } from 'vitest';
import { copyMadeFile, copyMadeFolder, readMadeFile } from './foreign-files.ts';

const GIB = 1024 ** 3;

function limits(maxBytes = GIB, signal = new AbortController().signal, maxEntries = 1_000) {
  return { maxBytes, maxEntries, signal };
}

/** A file of this size of which nothing is on the disk. */
function writeHole(file: string, bytes: number): void {
  writeFileSync(file, '');
  truncateSync(file, bytes);
}

/** A folder of a run with a work folder, and a secret beside it. */
function setUp() {
  const root = mkdtempSync(path.join(tmpdir(), 'foreign-files-'));
  onTestFinished(() => rmSync(root, { recursive: true, force: true }));
  const [work, outside] = [path.join(root, 'work'), path.join(root, 'outside')];
  for (const folder of [work, outside]) mkdirSync(folder);
  const secret = path.join(outside, 'secret');
  writeFileSync(secret, 'CANARY');
  return { root, work, outside, secret, in: (name: string) => path.join(work, name) };
}

describe('A file that a step has made', () => {
  it('is read and copied as it is', async () => {
    const { root, work, in: at } = setUp();
    mkdirSync(at('deep'));
    const content = Buffer.alloc(600_000, 'abc');
    writeFileSync(at('deep/file'), content);
    expect((await readMadeFile(work, at('deep/file'), 1_000_000)).equals(content)).toBe(true);
    const copy = path.join(root, 'copy');
    await copyMadeFile(work, at('deep/file'), copy, limits());
    expect(readFileSync(copy).equals(content)).toBe(true);
    expect(lstatSync(copy).mode & 0o777).toBe(0o600);
    await expect(copyMadeFile(work, at('deep/file'), copy, limits())).rejects.toThrow('EEXIST');
    await expect(readMadeFile(work, at('deep/file'), 599_999)).rejects.toThrow('larger than 599999 bytes');
    await expect(readMadeFile(work, at('none'), 10)).rejects.toThrow('ENOENT');
    writeFileSync(at('empty'), '');
    expect(await readMadeFile(work, at('empty'), 0)).toHaveLength(0);
  });

  it('F38: is refused if it is a link, a hard link, outside of the folder, a pipe or a folder', async () => {
    const { work, outside, secret, in: at } = setUp();
    symlinkSync(secret, at('link'));
    linkSync(secret, at('second-name'));
    symlinkSync(outside, at('way-out'));
    execFileSync('mkfifo', [at('pipe')]);
    mkdirSync(at('folder'));
    for (const [name, problem] of [
      ['link', '"link" is a link.'],
      ['second-name', '"second-name" is not a plain file with only one name.'],
      ['pipe', '"pipe" is not a plain file with only one name.'],
      ['folder', '"folder" is not a plain file with only one name.'],
    ] as const) {
      await expect(readMadeFile(work, at(name), 1_000)).rejects.toThrow(problem);
    }
    rmSync(at('second-name'));
    await expect(readMadeFile(work, at('way-out/secret'), 1_000)).rejects.toThrow('leads out of the folder');
  });

  it('F40c: is not copied if it is larger than allowed, even if it is mostly a hole', async () => {
    const { root, work, in: at } = setUp();
    writeHole(at('hole'), 10_000 * GIB);
    const copy = path.join(root, 'copy');
    await expect(copyMadeFile(work, at('hole'), copy, limits())).rejects.toThrow(
      '"hole" is larger than 1 GiB',
    );
    const anySize = limits(Number.POSITIVE_INFINITY);
    await expect(copyMadeFile(work, at('hole'), copy, anySize)).rejects.toThrow(/MiB are free at .*needed/);
    expect(existsSync(copy)).toBe(false);
  });

  it('F40c: is not copied any further after an abort', async () => {
    const { root, work, in: at } = setUp();
    writeHole(at('hole'), GIB);
    const copy = path.join(root, 'copy');
    const ending = new AbortController();
    const copying = copyMadeFile(work, at('hole'), copy, limits(GIB, ending.signal));
    const stopped = expect(copying).rejects.toThrow('asked to stop');
    await expect.poll(() => existsSync(copy), { interval: 1 }).toBe(true);
    ending.abort(new Error('asked to stop'));
    await stopped;
    expect(lstatSync(copy).size).toBeLessThan(GIB);
  });
});

describe('A folder that a step has made', () => {
  it('is copied with its links and modes, whatever its names, and without its .git', async () => {
    const { root, secret, work, in: at } = setUp();
    mkdirSync(at('.git/objects'), { recursive: true });
    mkdirSync(at('a/.git'), { recursive: true });
    writeFileSync(at('a/run'), '#!/bin/sh\n', { mode: 0o755 });
    writeFileSync(Buffer.concat([Buffer.from(`${work}/`), Buffer.from([0x66, 0xfc])]), 'latin1');
    writeFileSync(at('empty'), '');
    symlinkSync(secret, at('link'));
    symlinkSync('nowhere', at('dangling'));
    execFileSync('mkfifo', [at('pipe')]);
    const copy = path.join(root, 'copy');
    await copyMadeFolder(work, copy, limits());
    const names = readdirSync(copy, { encoding: 'buffer' }).map((name) => name.toString('latin1'));
    expect(names.sort()).toEqual(['a', 'dangling', 'empty', 'f\u00fc', 'link']);
    expect(readlinkSync(path.join(copy, 'link'))).toBe(secret);
    expect(lstatSync(path.join(copy, 'a/run')).mode & 0o777).toBe(0o700);
    expect(existsSync(path.join(copy, 'a/.git'))).toBe(true);
  });

  it('F40c: is not copied if it is larger than allowed, including holes, or has too many entries', async () => {
    const { root, work, in: at } = setUp();
    const copy = path.join(root, 'copy');
    mkdirSync(at('deep'));
    for (const name of ['one', 'two', 'deep/three']) writeHole(at(name), GIB / 2);
    await expect(copyMadeFolder(work, copy, limits())).rejects.toThrow('larger than 1 GiB');
    await expect(copyMadeFolder(work, copy, limits(2 * GIB, undefined, 3))).rejects.toThrow(
      'more than 3 files',
    );
    truncateSync(at('one'), 10_000 * GIB);
    const anySize = limits(Number.POSITIVE_INFINITY);
    await expect(copyMadeFolder(work, copy, anySize)).rejects.toThrow(/MiB are free at .*needed/);
    expect(existsSync(copy)).toBe(false);
  });

  it('F40c: is not copied any further after an abort', async () => {
    const { root, work, in: at } = setUp();
    writeHole(at('hole'), GIB);
    const ending = new AbortController();
    const copy = path.join(root, 'copy');
    const stopped = expect(copyMadeFolder(work, copy, limits(GIB, ending.signal))).rejects.toThrow(
      'asked to stop',
    );
    await expect.poll(() => existsSync(path.join(copy, 'hole')), { interval: 1 }).toBe(true);
    ending.abort(new Error('asked to stop'));
    await stopped;
  });

  it('F38: does not lead to other folders, even if its folders are replaced by links all the time', async () => {
    const { root, outside, work, in: at } = setUp();
    mkdirSync(at('real'));
    writeFileSync(at('real/secret'), 'harmless');
    // The path is a folder and a link to the secret by turns, thousands of times a second.
    const script = `import os
os.chdir(${JSON.stringify(work)})
os.symlink(${JSON.stringify(outside)}, "way")
print("started", flush=True)
while True:
    os.rename("real", "spot"); os.rename("spot", "real")
    os.rename("way", "spot"); os.rename("spot", "way")`;
    const attacker = spawn('python3', ['-c', script], { stdio: ['ignore', 'pipe', 'ignore'] });
    onTestFinished(() => void attacker.kill('SIGKILL'));
    await new Promise((resolve) => attacker.stdout.once('data', resolve));
    const seen = new Set<string>();
    for (let round = 0; round < 400; round += 1) {
      const copy = path.join(root, 'copy');
      await copyMadeFolder(work, copy, limits()).catch((error: Error & { code?: string }) =>
        seen.add(`${error.code}`),
      );
      for (const name of ['spot', 'real', 'way']) {
        const file = path.join(copy, name);
        const isFolder = lstatSync(file, { throwIfNoEntry: false })?.isDirectory();
        if (isFolder && existsSync(path.join(file, 'secret'))) {
          seen.add(readFileSync(path.join(file, 'secret'), 'utf8'));
        }
      }
      rmSync(copy, { recursive: true, force: true });
    }
    expect([...seen]).toContain('harmless');
    expect([...seen]).not.toContain('CANARY');
  });
});
