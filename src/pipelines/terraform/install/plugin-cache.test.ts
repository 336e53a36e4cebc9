import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, readlinkSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import type { Executor, StepCommand, StepResult } from '../../../executor/executor.ts';
import { createLocalExecutor } from '../../../executor/local.ts';
import {
  BOX,
  makePlace,
  NEEDS_BOX,
  type Place,
  packedMirror,
  temporaryFolder,
  terraformOrSkip,
  writeTree,
} from '../terraform.fixture.ts';
import { createInitExecutor } from './plugin-cache.ts';

const DONE: StepResult = { kind: 'exited', exitCode: 0 };

async function run(executor: Executor, command: Partial<StepCommand> & Pick<StepCommand, 'argv'>) {
  const lines: string[] = [];
  const result = await executor.run(
    { cwd: '/', env: {}, timeoutMs: 60_000, signal: new AbortController().signal, ...command },
    { onStart() {}, onLines: (_, batch) => void lines.push(...batch) },
  );
  return { result, output: lines.join(' ') };
}

function init(executor: Executor, { root, env }: Place) {
  return run(executor, { argv: ['terraform', 'init', '-no-color'], cwd: root, env });
}

function newCache(executor: Executor = createLocalExecutor(), more: { lockStaleMs?: number } = {}) {
  const directory = path.join(temporaryFolder(), 'a $HOME', 'providers');
  return { directory, executor: createInitExecutor({ executor, directory, ...more }) };
}

/** Acts like an init that writes into the folder that it is given. */
function actor(act: (cache: string | undefined, command: StepCommand) => Promise<StepResult> | StepResult) {
  const executor: Executor = {
    async run(command, hooks) {
      await hooks.onLines('stdout', ['init']);
      return act(command.env.TF_PLUGIN_CACHE_DIR, command);
    },
    capture: () => Promise.reject(new Error('not used')),
  };
  return executor;
}

describe('The shared provider cache, with a real terraform', () => {
  it('is filled by the first init and used by the next, also while its provider runs', async (context) => {
    await terraformOrSkip(context);
    const mirror = await packedMirror();
    const { directory, executor } = newCache();
    const places = await Promise.all([1, 2, 3, 4].map(() => boxPlace(mirror)));
    const [first, ...others] = places;
    if (!first) throw new Error('No place.');
    expect((await init(executor, first)).result).toEqual(DONE);
    const program = path.join(directory, BOX);
    const stop = new AbortController();
    const running = run(createLocalExecutor(), { argv: [program, '600'], signal: stop.signal });
    const inits = await Promise.all(others.map((place) => init(executor, place)));
    for (const { result, output } of inits) {
      expect(output).toContain('from the shared cache directory');
      expect(result).toEqual(DONE);
    }
    stop.abort();
    expect((await running).result).toEqual({ kind: 'cancelled' });
    const linked = path.join(first.env.TF_DATA_DIR ?? '', 'providers', path.dirname(BOX));
    expect(readlinkSync(linked)).toBe(path.dirname(program));
    expect(existsSync(`${directory}.filling`)).toBe(false);
  });

  it('is not used if the lock file has another checksum of the provider', async (context) => {
    await terraformOrSkip(context);
    const mirror = await packedMirror();
    const { executor } = newCache();
    expect((await init(executor, await boxPlace(mirror))).result).toEqual(DONE);
    // The lock file was made on another kind of machine, so its one checksum is of that machine's provider.
    const zip = createHash('sha256').update(readFileSync(mirror.zip)).digest('hex');
    const place = await boxPlace(mirror);
    writeTree(place.root, {
      '.terraform.lock.hcl': `provider "example.com/acme/box" {\n  version = "1.0.0"\n  hashes = [\n    "h1:${'A'.repeat(43)}=",\n    "zh:${zip}",\n  ]\n}\n`,
    });
    const { result, output } = await init(executor, place);
    expect(output).toContain('does not match the lock file of the repository; going on without it');
    expect(output).toContain('Installed example.com/acme/box v1.0.0');
    expect(result).toEqual(DONE);
  });
});

async function boxPlace(mirror: Awaited<ReturnType<typeof packedMirror>>): Promise<Place> {
  const place = await makePlace({ registry: null, mirror, repositoryProviders: false });
  writeTree(place.root, NEEDS_BOX);
  return place;
}

describe('The shared provider cache', () => {
  it('lets one init in at a time', async () => {
    let inside = 0;
    let most = 0;
    const { executor } = newCache(
      actor(async () => {
        inside += 1;
        most = Math.max(most, inside);
        await sleep(50);
        inside -= 1;
        return DONE;
      }),
    );
    await Promise.all([1, 2, 3].map(() => run(executor, { argv: ['x'] })));
    expect(most).toBe(1);
  });

  it('F33: keeps nothing of an init that failed, was ended, or died with the server', async () => {
    let result: StepResult = DONE;
    let unpacked = '1.0.0';
    const { directory, executor } = newCache(
      actor((cache) => {
        writeTree(cache ?? '', { [BOX.replace('1.0.0', unpacked)]: 'program' });
        return result;
      }),
    );
    const kept = (version: string): boolean =>
      existsSync(path.join(directory, BOX.replace('1.0.0', version)));
    await run(executor, { argv: ['x'] });
    result = { kind: 'exited', exitCode: 1 };
    unpacked = '2.0.0';
    expect((await run(executor, { argv: ['x'] })).result).toEqual(result);
    result = { kind: 'killed', signal: 'SIGKILL' };
    unpacked = '3.0.0';
    await run(executor, { argv: ['x'] });
    expect(['1.0.0', '2.0.0', '3.0.0'].map(kept)).toEqual([true, false, false]);

    writeTree(directory, {
      [BOX.replace('1.0.0', '4.0.0')]: 'torn',
      'example.com/acme/box/1.0.0/.temp1/x': '',
    });
    writeFileSync(`${directory}.filling`, JSON.stringify([path.dirname(BOX)]));
    result = DONE;
    unpacked = '5.0.0';
    await run(executor, { argv: ['x'] });
    expect(['1.0.0', '4.0.0', '5.0.0'].map(kept)).toEqual([true, false, true]);
    expect(existsSync(path.join(directory, 'example.com/acme/box/1.0.0/.temp1'))).toBe(false);

    writeFileSync(`${directory}.filling`, '["torn');
    unpacked = '6.0.0';
    await run(executor, { argv: ['x'] });
    expect(['1.0.0', '5.0.0', '6.0.0'].map(kept)).toEqual([false, false, true]);
  });

  it('is not used if it cannot be written, and the log says so', async () => {
    const seen: (string | undefined)[] = [];
    const folder = temporaryFolder();
    writeFileSync(path.join(folder, 'file'), '');
    const executor = createInitExecutor({
      executor: actor((cache) => {
        seen.push(cache);
        return DONE;
      }),
      directory: path.join(folder, 'file', 'providers'),
    });
    const { result, output } = await run(executor, { argv: ['x'] });
    expect(result).toEqual(DONE);
    expect(output).toMatch(
      /^The shared provider cache cannot be used: .*ENOTDIR.* Going on without it\. init$/,
    );
    expect(seen).toEqual([undefined]);
  });

  it('waits for another process, and a cancelled init stops waiting at once', async () => {
    let started = 0;
    const { directory, executor } = newCache(
      actor(() => {
        started += 1;
        return DONE;
      }),
      { lockStaleMs: 4_000 },
    );
    mkdirSync(directory, { recursive: true });
    mkdirSync(`${directory}.lock`);
    const cancel = new AbortController();
    const waiting = run(executor, { argv: ['x'] });
    const cancelled = run(executor, { argv: ['x'], signal: cancel.signal });
    cancel.abort();
    expect((await cancelled).result).toEqual({ kind: 'cancelled' });
    expect(started).toBe(0);
    expect((await waiting).result).toEqual(DONE);
    expect(started).toBe(1);
  });

  it('passes on the error of a hook, and lets the next one in', async () => {
    const { executor } = newCache(actor(() => DONE));
    const command = {
      argv: ['x'] as const,
      cwd: '/',
      env: {},
      timeoutMs: 1,
      signal: new AbortController().signal,
    };
    const onLines = (): void => {
      throw new Error('store is full');
    };
    await expect(executor.run(command, { onStart() {}, onLines })).rejects.toThrow('store is full');
    expect((await run(executor, { argv: ['x'] })).result).toEqual(DONE);
  });
});
