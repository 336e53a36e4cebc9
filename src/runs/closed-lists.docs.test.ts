/** Checks that docs/architecture.md has the closed lists of the code, and docs/glossary.md has each word once. */

import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import fastGlob from 'fast-glob';
import { describe, expect, it } from 'vitest';
import { SCHEMA_FILE } from '../stores/sql/schema.ts';
import { kindOf, RUN_KINDS } from './kinds/kinds.ts';
import type { RunInputs, RunKind } from './run.ts';
import type { RunEventBody } from './run-events.ts';
import { RUN_REASONS } from './run-reasons.ts';

const text = readFileSync(join(import.meta.dirname, '../../docs/architecture.md'), 'utf8');

/** The compiler checks that the union has no other member. */
const EVENT_TYPES: Record<RunEventBody['type'], true> = {
  'run.queued': true,
  'run.started': true,
  'run.revision': true,
  'run.explained': true,
  'run.chosen': true,
  'run.baseline': true,
  'run.examined': true,
  'run.pinned': true,
  'run.rules': true,
  'run.uncovers': true,
  'run.uncovered': true,
  'run.notice': true,
  'run.planned': true,
  'run.diagnosed': true,
  'run.checked': true,
  'run.outputs': true,
  'run.awaiting_approval': true,
  'run.decided': true,
  'run.cancel_requested': true,
  'run.held': true,
  'run.released': true,
  'run.requeued': true,
  'run.finished': true,
  'step.planned': true,
  'step.started': true,
  'step.process': true,
  'step.log': true,
  'step.finished': true,
};

/** The part of an input that the context of a status depends on, without and with a named environment. */
const INPUTS = [{ branch: 'main' }, { branch: 'main', environment: 'staging' }] as RunInputs[RunKind][];

/** Returns the text of a section, up to the next heading of its level or a higher one. */
function section(heading: string): string {
  const level = heading.split(' ')[0] ?? '';
  const [, after = ''] = text.split(`\n${heading}\n`);
  return after.split(new RegExp(`\n#{1,${level.length}} `))[0] ?? '';
}

describe('docs/architecture.md', () => {
  it('has every reason of a run once, and no other', () => {
    const reasons = [...section('### Reasons').matchAll(/^\| `(\w+)` \|/gm)].map(([, name]) => name);
    expect(reasons.sort()).toEqual(Object.keys(RUN_REASONS).sort());
  });

  it('has every type of event once, and no other', () => {
    const types = [...section('## Events').matchAll(/`((?:run|step)\.\w+)`/g)].map(([, name]) => name);
    expect([...new Set(types)].sort()).toEqual(Object.keys(EVENT_TYPES).sort());
  });

  it('has every table of the store', () => {
    const tables = readFileSync(SCHEMA_FILE, 'utf8').matchAll(/\bCREATE TABLE (\w+)/g);
    const named = [...section('## The store').matchAll(/`(\w+)`/g)].map(([, name]) => name);
    for (const [, table] of tables) expect(named, table).toContain(table);
  });

  it('has every context of a commit status, and no other', () => {
    const contexts = RUN_KINDS.flatMap((kind) =>
      INPUTS.flatMap((input) => {
        const { status, services } = kindOf({ kind });
        return [status?.context(input), services?.context(input, 'platform/redis')].flatMap(
          (one) => one ?? [],
        );
      }),
    );
    const named = [...section('## Statuses and metrics').matchAll(/`(IaC Runner[^`]*)`/g)];
    expect(named.map(([, name]) => name).sort()).toEqual([...new Set(contexts)].sort());
  });

  it('has every metric, and no other', () => {
    const cwd = join(import.meta.dirname, '../web');
    const files = fastGlob.sync('**/*metrics*.ts', { cwd, absolute: true, ignore: ['**/*.test.ts'] });
    const source = files.map((file) => readFileSync(file, 'utf8')).join('');
    const metrics = [...source.matchAll(/'(iac_runner_\w+)'/g)].map(([, name]) => name);
    const named = [...section('## Statuses and metrics').matchAll(/`(iac_runner_\w+)`/g)];
    expect(named.map(([, name]) => name).sort()).toEqual([...new Set(metrics)].sort());
  });

  it('names files that a new kind of run changes, and that exist', () => {
    const named = [...section('## Rooms').matchAll(/^\| `(src\/[^`]+)` \|/gm)].map(([, file]) => file ?? '');
    const root = join(import.meta.dirname, '../..');
    expect(named.map((file) => [file, existsSync(join(root, file))])).toEqual([
      ['src/runs/run.ts', true],
      ['src/runs/kinds/kinds.ts', true],
      ['src/wiring/work.ts', true],
    ]);
  });
});

describe('docs/glossary.md', () => {
  it('has each word once, in alphabetical order', () => {
    const glossary = readFileSync(join(import.meta.dirname, '../../docs/glossary.md'), 'utf8');
    const words = [...glossary.matchAll(/^\| (?!Word|---)([^|]+) \|/gm)].map(([, word]) => word ?? '');
    expect(words.length).toBeGreaterThan(20);
    expect(words).toEqual([...new Set(words)].toSorted((a, b) => a.localeCompare(b, 'en')));
  });
});
