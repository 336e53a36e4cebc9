import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { describe, expect, it, onTestFinished } from 'vitest';
import { runInThread, ThreadLimitError } from './run-in-thread.ts';

async function moduleOf(text: string): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'thread-'));
  onTestFinished(() => rm(folder, { recursive: true, force: true }));
  const file = join(folder, 'work.mjs');
  await writeFile(file, text);
  return pathToFileURL(file).href;
}

function run(module: string, timeoutMs = 60_000): Promise<unknown> {
  return runInThread({ module, function: 'work', arguments: [2, { three: 3 }] }, { timeoutMs });
}

describe('runInThread', () => {
  it('returns the result of the function', async () => {
    const module = await moduleOf('export const work = (two, { three }) => ({ six: two * three });');
    expect(await run(module)).toEqual({ six: 6 });
  });

  it('throws the error of the function', async () => {
    const module = await moduleOf('export function work() { throw new Error("no such luck"); }');
    await expect(run(module)).rejects.toThrow('no such luck');
  });

  it('ends a function that never returns', async () => {
    const module = await moduleOf('export function work() { for (;;); }');
    await expect(run(module, 300)).rejects.toThrow(ThreadLimitError);
  });

  it('passes no variable of the environment on', async () => {
    const module = await moduleOf('export const work = () => Object.keys(process.env);');
    expect(await run(module)).toEqual([]);
  });
});
