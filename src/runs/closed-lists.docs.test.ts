/** docs/architecture.md has two closed lists of the code, and says of each entry what the code says. */

import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { SCHEMA_FILE } from '../stores/sql/schema.ts';
import { RUN_REASONS } from './run.ts';
import type { RunEventBody } from './run-events.ts';

const text = readFileSync(join(import.meta.dirname, '../../docs/architecture.md'), 'utf8');

/** Checked by the compiler: the union has no other. */
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
  'run.requeued': true,
  'run.finished': true,
  'step.planned': true,
  'step.started': true,
  'step.process': true,
  'step.log': true,
  'step.finished': true,
};

/** The text of a section, up to the next of its level or a higher one. */
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
});
