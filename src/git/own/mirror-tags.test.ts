/** A mirror that follows the newest tag by version. */

import { join } from 'node:path';
import { expect, it } from 'vitest';
import { GitError } from '../../errors.ts';
import { createWorld, type World } from '../test-support.ts';
import { createMirror } from './mirror.ts';

function tagMirror({ git, root }: World, tags = 'v*') {
  const log = { warn: () => undefined };
  return createMirror({ git, directory: join(root, 'data/tags.git'), followed: { tags }, log });
}

/** Commits a change, and pushes the commit as this tag only. */
async function tagged(world: World, tag: string, how: readonly string[] = []): Promise<string> {
  const commit = await world.commit({ version: tag });
  await world.shell(['tag', ...how, tag]);
  await world.shell(['push', '-q', 'origin', `refs/tags/${tag}`]);
  return commit;
}

it('A mirror of tags is at the newest version, whatever was pushed last', async () => {
  const world = await createWorld();
  const mirror = tagMirror(world);
  await tagged(world, 'v1.2.0');
  const newest = await tagged(world, 'v1.10.0');
  await tagged(world, 'v1.9.3');
  await tagged(world, 'other-9');
  expect(await mirror.fetch()).toEqual({ head: newest });
  expect(await mirror.head()).toBe(newest);
});

it('A release candidate is older than its release, and an annotated tag counts by its commit', async () => {
  const world = await createWorld();
  const mirror = tagMirror(world);
  const candidate = await tagged(world, 'v2.0.0-rc1');
  expect(await mirror.fetch()).toEqual({ head: candidate });
  const release = await tagged(world, 'v2.0.0', ['-a', '-m', 'Release']);
  expect(await mirror.fetch()).toEqual({ head: release });
  await tagged(world, 'v2.0.0-rc2');
  expect(await mirror.fetch()).toEqual({ head: release });
});

it('A tag that is deleted or moved counts no more as it was', async () => {
  const world = await createWorld();
  const mirror = tagMirror(world);
  const first = await tagged(world, 'v1');
  const second = await tagged(world, 'v2');
  expect(await mirror.fetch()).toEqual({ head: second });
  await world.shell(['push', '-q', 'origin', ':refs/tags/v2']);
  expect(await mirror.fetch()).toEqual({ head: first });
  await world.shell(['tag', '-f', 'v1', second]);
  await world.shell(['push', '-q', '-f', 'origin', 'refs/tags/v1']);
  expect(await mirror.fetch()).toEqual({ head: second });
});

it('A repository without such a tag says so', async () => {
  const world = await createWorld();
  await tagged(world, 'release-1');
  const problem = await tagMirror(world)
    .fetch()
    .catch((error: unknown) => error);
  expect(problem).toBeInstanceOf(GitError);
  expect(problem).toMatchObject({ kind: 'unknown_revision' });
  expect(String(problem)).toContain('has no tag v* on a commit');
});

it('A commit of any release is on the tags, also of one that the newest does not contain', async () => {
  const world = await createWorld();
  const mirror = tagMirror(world);
  await tagged(world, 'v1.0');
  await world.shell(['checkout', '-q', '-b', 'release-1']);
  await world.shell(['commit', '-q', '--allow-empty', '-m', 'Repair']);
  const repaired = await world.shell(['rev-parse', 'HEAD']);
  await world.shell(['tag', 'v1.0.1']);
  await world.shell(['push', '-q', 'origin', 'refs/tags/v1.0.1']);
  await world.shell(['checkout', '-q', 'main']);
  const newest = await tagged(world, 'v2.0');
  expect(await mirror.fetch()).toEqual({ head: newest });
  const untagged = await world.commit({ version: 'next' });
  expect(await mirror.locate([repaired, newest, untagged])).toEqual(
    new Map([
      [repaired, 'on_branch'],
      [newest, 'on_branch'],
      [untagged, 'missing'],
    ]),
  );
});
