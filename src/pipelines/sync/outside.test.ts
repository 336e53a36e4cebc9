import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { RunnerError } from '../../errors.ts';
import type { ConfigHashes } from '../../runs/config-hashes.ts';
import { enqueueSync } from '../../runs/enqueue.ts';
import type { RunStore } from '../../runs/run-store.ts';
import { createSqliteStore } from '../../stores/sqlite/sqlite-store.ts';
import { lookOutside, type OutsideOptions } from './outside.ts';
import { createOutsideWriter, writeOwed } from './outside-writes.ts';

const SCOPE = 'sync:main';
const MINUTE_MS = 60_000;
const OLD = 'a'.repeat(12);
const OURS = 'b'.repeat(12);
const THEIRS = 'c'.repeat(12);
const { signal } = new AbortController();

let folder: string;
let store: RunStore;
beforeEach(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'iac-outside-'));
  store = await createSqliteStore({ directory: path.join(folder, 'data') });
});
afterEach(async () => {
  await store.close();
  await rm(folder, { recursive: true, force: true });
});

/** A store of config hashes outside of the ledger, as a Map. If `failure` is set, every request fails with it. */
interface Place {
  values: Map<string, string | null>;
  failure: string | null;
  writes: string[];
  hashes: ConfigHashes;
}

function createPlace(values: Record<string, string | null>): Place {
  const place: Place = {
    values: new Map(Object.entries(values)),
    failure: null,
    writes: [],
    hashes: {
      async read(services) {
        if (place.failure !== null) return { found: new Map(), problems: new Map(), failure: place.failure };
        const known = services.filter((service) => place.values.has(service));
        return {
          found: new Map(known.map((service) => [service, place.values.get(service) ?? null])),
          problems: new Map(
            services
              .filter((service) => !known.includes(service))
              .map((service) => [service, 'no such place']),
          ),
          failure: null,
        };
      },
      async write({ service, value }) {
        if (place.failure !== null) throw new RunnerError(place.failure);
        place.writes.push(`${service} ${value}`);
        place.values.set(service, value);
      },
    },
  };
  return place;
}

function optionsOf(place: Place, more: Partial<OutsideOptions> = {}): OutsideOptions {
  return { hashes: place.hashes, store, selfHeal: true, now: Date.now, ...more };
}

/** A run that syncs the service, as the ledger learns it. */
async function sync(service: string, configHash: string, state: 'succeeded' | 'failed' = 'succeeded') {
  await enqueueSync(store, {
    trigger: { source: 'webhook' },
    input: { branch: 'main', selection: { mode: 'changed' } },
  });
  const claim = await store.claim({ owner: 'test', leaseMs: MINUTE_MS });
  if (!claim) throw new Error('There was nothing to claim.');
  const facts = { folder: service, commit: 'c1', tree: 't', shared: 's', inputs: 'i' };
  const ledger = { scope: SCOPE, service, configHash, ...facts };
  await store.append(claim.lease, [
    { type: 'step.planned', step: service, position: 0, wave: 1, message: '' },
    { type: 'step.started', step: service, command: [], ledger },
    { type: 'step.finished', step: service, state, message: '', exitCode: 0, ledger },
    { type: 'run.finished', state, reason: null, message: '', coveredBy: null },
  ]);
}

async function write(place: Place, service: string, value: string, healed = false, now = Date.now) {
  const remarks: string[] = [];
  const writer = createOutsideWriter(
    optionsOf(place, { now }),
    SCOPE,
    async (remark) => void remarks.push(remark),
  );
  await writer({ service, value, healed }, signal);
  return remarks;
}

async function look(place: Place, more: Partial<OutsideOptions> = {}, patient = true) {
  const { drifted, unwritten, remarks } = await lookOutside(optionsOf(place, more), SCOPE, {
    patient,
    signal,
  });
  const drifts = [...drifted.values()].map(({ service, heal, isNew }) => ({ service, heal, isNew }));
  return { drifts, unwritten: unwritten.map(({ service }) => service), remarks };
}

const NOTHING = { drifts: [], unwritten: [], remarks: [] };

describe('The config hash outside', () => {
  it('counts as right, also with more digits than ours', async () => {
    const place = createPlace({ 'a/one': null });
    await sync('a/one', OURS);
    await write(place, 'a/one', OURS);
    expect(await look(place)).toEqual(NOTHING);
    place.values.set('a/one', `${OURS}0123`);
    expect(await look(place)).toEqual(NOTHING);
  });

  it.each<[string, string | null, string | null]>([
    ['another value', OURS, THEIRS],
    ['nothing any more', OURS, null],
    ['the value of an earlier sync again', OURS, OLD],
    ['a value from before the place was configured', null, THEIRS],
  ])('has drifted when there is %s', async (_what, written, found) => {
    const place = createPlace({ 'a/one': null });
    await sync('a/one', OURS);
    if (written !== null) await write(place, 'a/one', written);
    place.values.set('a/one', found);
    expect(await look(place)).toEqual({
      ...NOTHING,
      drifts: [{ service: 'a/one', heal: true, isNew: true }],
    });
    expect(await look(place)).toEqual({
      ...NOTHING,
      drifts: [{ service: 'a/one', heal: true, isNew: false }],
    });
    expect((await look(place, { selfHeal: false })).drifts).toMatchObject([{ heal: false }]);
    place.values.set('a/one', OURS);
    expect(await look(place)).toEqual(NOTHING);
  });

  it.each<[string, string | null]>([
    ['there is nothing yet', null],
    ['it is as it was left before the last sync', OLD],
  ])('is still to be written when %s', async (_what, found) => {
    const place = createPlace({ 'a/one': null });
    await sync('a/one', OLD);
    await write(place, 'a/one', OLD);
    await sync('a/one', OURS);
    place.values.set('a/one', found);
    expect(await look(place)).toEqual({ ...NOTHING, unwritten: ['a/one'] });
  });

  it('is still to be written, whatever is outside, after a sync that could not write it', async () => {
    const place = createPlace({ 'a/one': null });
    await sync('a/one', OURS);
    await write(place, 'a/one', OURS);
    place.values.set('a/one', THEIRS);
    expect((await look(place)).drifts).toHaveLength(1);
    await sync('a/one', OURS);
    place.failure = 'It is down.';
    expect(await write(place, 'a/one', OURS, true)).toEqual([
      'The config hash of a/one is not in Dokploy yet. It is down.',
    ]);
    place.failure = null;
    expect(await look(place)).toEqual({ ...NOTHING, unwritten: ['a/one'] });
    const owed = {
      lockPath: path.join(folder, '.sync.lock'),
      hashes: [{ service: 'a/one', value: OURS }],
      signal,
    };
    expect(await writeOwed(optionsOf(place), SCOPE, owed)).toEqual([]);
    expect(place.values.get('a/one')).toBe(OURS);
    expect(await look(place)).toEqual(NOTHING);
  });

  it('is not compared after a failure, and an old hash is not written', async () => {
    const place = createPlace({ 'a/one': THEIRS });
    await sync('a/one', OURS, 'failed');
    expect(await look(place)).toEqual(NOTHING);
    const owed = {
      lockPath: path.join(folder, '.sync.lock'),
      hashes: [{ service: 'a/one', value: OURS }],
      signal,
    };
    await writeOwed(optionsOf(place), SCOPE, owed);
    expect(place.writes).toEqual([]);
  });

  it('causes only a remark if it cannot be read, and earlier knowledge is kept', async () => {
    const place = createPlace({ 'a/one': null });
    await sync('a/one', OURS);
    await sync('a/two', OURS);
    await write(place, 'a/one', OURS);
    place.values.set('a/one', THEIRS);
    const missing = 'Not compared with Dokploy: a/two: no such place.';
    expect((await look(place)).remarks).toEqual([{ level: 'info', message: missing }]);
    place.failure = 'It is down.';
    expect(await look(place)).toEqual({
      ...NOTHING,
      remarks: [{ level: 'warning', message: 'It is down. The ledger decides.' }],
    });
    place.failure = null;
    expect((await look(place)).drifts).toEqual([{ service: 'a/one', heal: true, isNew: false }]);
  });

  it('is healed more and more rarely while somebody changes it again, and at once after a quiet time', async () => {
    const place = createPlace({ 'a/one': null });
    await sync('a/one', OURS);
    await write(place, 'a/one', OURS);
    let at = 1_000 * MINUTE_MS;
    const isHealed = async (patient = true): Promise<boolean | undefined> => {
      place.values.set('a/one', THEIRS);
      return (await look(place, { now: () => at }, patient)).drifts[0]?.heal;
    };
    expect(await isHealed()).toBe(true);
    for (const pause of [1, 2, 4, 8, 16, 32, 60, 60]) {
      await write(place, 'a/one', OURS, true, () => at);
      at += pause * MINUTE_MS - 1;
      expect(await isHealed(), `${pause} min`).toBe(false);
      expect(await isHealed(false)).toBe(true);
      at += 1;
      expect(await isHealed(), `${pause} min`).toBe(true);
    }
    await write(place, 'a/one', OURS, true, () => at);
    at += 121 * MINUTE_MS;
    expect(await isHealed()).toBe(true);
    await write(place, 'a/one', OURS, true, () => at);
    at += MINUTE_MS;
    expect(await isHealed()).toBe(true);
  });
});
