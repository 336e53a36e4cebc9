/** Folders that can be made, and those that cannot. */

import { mkdirSync, mkdtempSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { makeFolder } from './make-folder.ts';

describe('makeFolder', () => {
  let root: string;
  beforeAll(() => {
    root = mkdtempSync(path.join(tmpdir(), 'iac-make-folder-'));
  });
  afterAll(() => rmSync(root, { recursive: true, force: true }));

  it('makes a folder with those above it, and leaves one that is there', () => {
    const folder = path.join(root, 'a/b/c');
    makeFolder(folder, 0o700);
    expect(statSync(folder).mode & 0o777).toBe(0o700);
    mkdirSync(path.join(folder, 'kept'));
    makeFolder(folder, 0o755);
    expect(statSync(folder).mode & 0o777).toBe(0o700);
    expect(statSync(path.join(folder, 'kept')).isDirectory()).toBe(true);
    symlinkSync(folder, path.join(root, 'link'));
    makeFolder(path.join(root, 'link'));
    makeFolder('/');
  });

  it('F27: says at once what is in the way', () => {
    writeFileSync(path.join(root, 'file'), '');
    symlinkSync(path.join(root, 'nowhere'), path.join(root, 'dangling'));
    expect(() => makeFolder(path.join(root, 'file'))).toThrow('EEXIST');
    expect(() => makeFolder(path.join(root, 'file/x'))).toThrow('ENOTDIR');
    expect(() => makeFolder(path.join(root, 'dangling/x'))).toThrow('EEXIST');
    // Node's own recursive mkdir never returns for these paths.
    expect(() => makeFolder('/proc/iac-runner')).toThrow("mkdir '/proc/iac-runner'");
    expect(() => makeFolder('/proc/iac-runner/deep/er')).toThrow("mkdir '/proc/iac-runner'");
  });
});
