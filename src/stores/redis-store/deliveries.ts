/** The deliveries that came in: written, listed, and removed when they are old. */

import type { Delivery, NewDelivery } from '../../runs/delivery.ts';
import type { Reply } from './connection.ts';
import { createDraft, type Draft, expectSame } from './draft.ts';
import { type Keys, NEW_DELIVERY } from './keys.ts';
import { type Room, untilCommitted } from './room.ts';
import { texts } from './stored-run.ts';

/** Anybody can cause refusals, so only the latest are kept. */
const KEPT_REFUSALS = 1_000;
/** Removed by one call. */
const PRUNED = 500;

async function nextDeliveryNumber({ connection, keys }: Room): Promise<number> {
  return Number(await connection.call('HINCRBY', keys.numbers, 'deliveries', 1));
}

export function draftDelivery(
  { writes }: Draft,
  keys: Keys,
  number: number | typeof NEW_DELIVERY,
  delivery: NewDelivery,
): void {
  const receivedAt = Date.now();
  const { deliveryId, decision } = delivery;
  writes.push(
    ['HSET', keys.deliveries, number, JSON.stringify({ ...delivery, receivedAt })],
    ['ZADD', keys.deliveriesBy('any'), number, number],
    ['ZADD', keys.deliveriesBy(decision), number, number],
    ['ZADD', keys.deliveriesByTime, receivedAt, number],
  );
  if (deliveryId !== null) writes.push(['HSET', keys.deliveryIds, deliveryId, number]);
}

export async function recordDelivery(room: Room, delivery: NewDelivery): Promise<void> {
  const { connection, keys, committer } = room;
  const draft = createDraft({ isRequest: true });
  draftDelivery(draft, keys, NEW_DELIVERY, delivery);
  await committer.commit(draft);
  if (delivery.decision !== 'refused') return;
  const old = await connection.call('ZRANGE', keys.deliveriesBy('refused'), 0, -KEPT_REFUSALS - 1);
  await removeDeliveries(room, texts(old));
}

export function recordMissed(room: Room, missed: readonly NewDelivery[]): Promise<number> {
  const { connection, keys, committer } = room;
  return untilCommitted(async () => {
    const named = missed.filter(({ deliveryId }) => deliveryId !== null);
    const known = await connection.all(
      named.map(({ deliveryId }) => ['HGET', keys.deliveryIds, deliveryId ?? '']),
    );
    const unknown = named.filter((_, index) => known[index] === null);
    const draft = createDraft();
    for (const delivery of unknown) {
      expectSame(draft, ['HGET', keys.deliveryIds, delivery.deliveryId ?? ''], null);
      draftDelivery(draft, keys, await nextDeliveryNumber(room), delivery);
    }
    if (unknown.length === 0) return { done: 0 };
    return (await committer.commit(draft)) && { done: unknown.length };
  });
}

/** Newest first. */
export async function readDeliveries(
  { connection, keys }: Room,
  { before, decision, limit }: { before?: number; decision?: Delivery['decision']; limit: number },
): Promise<Delivery[]> {
  const list = keys.deliveriesBy(decision ?? 'any');
  const from = before === undefined ? '+inf' : `(${before}`;
  const numbers = texts(await connection.call('ZREVRANGEBYSCORE', list, from, '-inf', 'LIMIT', 0, limit));
  if (numbers.length === 0) return [];
  const found = await connection.call('HMGET', keys.deliveries, ...numbers.map(String));
  return toDeliveries(numbers, found);
}

function toDeliveries(numbers: readonly (string | null)[], found: Reply): Delivery[] {
  return texts(found).flatMap((text, index) =>
    text === null ? [] : [{ ...JSON.parse(text), number: Number(numbers[index]) }],
  );
}

export async function readDelivery({ connection, keys }: Room, number: number): Promise<Delivery | null> {
  const text = await connection.call('HGET', keys.deliveries, number);
  return typeof text === 'string' ? { ...JSON.parse(text), number } : null;
}

/** Removes some of those that came before; true when there were any. */
export async function pruneDeliveries(room: Room, before: number): Promise<boolean> {
  const { connection, keys } = room;
  const old = await connection.call(
    ...(['ZRANGEBYSCORE', keys.deliveriesByTime, '-inf', `(${before}`, 'LIMIT', 0, PRUNED] as const),
  );
  const numbers = texts(old);
  await removeDeliveries(room, numbers);
  return numbers.length > 0;
}

async function removeDeliveries(room: Room, numbers: readonly (string | null)[]): Promise<void> {
  const { connection, keys, committer } = room;
  if (numbers.length === 0) return;
  await untilCommitted(async () => {
    const found = await connection.call('HMGET', keys.deliveries, ...numbers.map(String));
    const old = toDeliveries(numbers, found);
    const ids = await connection.all(
      old.map(({ deliveryId }) => ['HGET', keys.deliveryIds, deliveryId ?? '']),
    );
    const draft = createDraft();
    for (const number of numbers) {
      const member = String(number);
      draft.writes.push(
        ['HDEL', keys.deliveries, member],
        ['ZREM', keys.deliveriesBy('any'), member],
        ['ZREM', keys.deliveriesByTime, member],
      );
    }
    for (const [index, { number, decision, deliveryId }] of old.entries()) {
      draft.writes.push(['ZREM', keys.deliveriesBy(decision), number]);
      // The id may stand for a later one by now.
      if (deliveryId === null || ids[index] !== String(number)) continue;
      expectSame(draft, ['HGET', keys.deliveryIds, deliveryId], String(number));
      draft.writes.push(['HDEL', keys.deliveryIds, deliveryId]);
    }
    return (await committer.commit(draft)) && { done: undefined };
  });
}
