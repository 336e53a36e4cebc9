import { expect, it } from 'vitest';
import { boundTexts } from './bound-texts.ts';
import type { ServiceDecision } from './run-events.ts';

it('an explanation lists 5,000 paths of 300 characters at most, and says how many it leaves out', () => {
  const paths = Array.from({ length: 20 }, (_, i) => `libs/${'x'.repeat(4_000)}/${i}`);
  const services = Array.from(
    { length: 2_000 },
    (_, i): ServiceDecision => ({
      service: `s${i}`,
      folder: `p/01.${'y'.repeat(4_000)}`,
      wave: 1,
      decision: 'run',
      because: 'libs changed.',
      paths,
    }),
  );
  const explanation = { revision: 'a', notes: ['A note.'], services, unmatched: paths };
  const bounded = boundTexts({ type: 'run.explained', explanation }).explanation;
  const listed = [...bounded.unmatched, ...bounded.services.flatMap((one) => one.paths)];
  expect(listed).toHaveLength(5_000);
  expect([...listed, bounded.services[0]?.folder].every((path) => path?.length === 300)).toBe(true);
  expect(bounded.services).toHaveLength(2_000);
  expect(bounded.notes).toEqual(['A note.', '35020 more changed paths are not listed.']);
  expect(boundTexts({ type: 'run.explained', explanation: bounded }).explanation).toEqual(bounded);
});
