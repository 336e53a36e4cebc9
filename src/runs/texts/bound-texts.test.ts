import { expect, it } from 'vitest';
import type { Explanation, ServiceDecision } from '../run-events.ts';
import { boundTexts } from './bound-texts.ts';

function explanationWith(paths: string[]): Explanation {
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
  return { revision: 'a', notes: ['A note.'], services, unmatched: paths };
}

function bounded(explanation: Explanation): Explanation {
  return boundTexts({ type: 'run.explained', explanation }).explanation;
}

function listedIn({ unmatched, services }: Explanation): string[] {
  return [...unmatched, ...services.flatMap(({ paths }) => paths)];
}

it('an explanation lists 5,000 paths at most, and says how many it leaves out', () => {
  const explanation = bounded(explanationWith(Array.from({ length: 20 }, (_, i) => `libs/${i}`)));
  expect(listedIn(explanation)).toHaveLength(5_000);
  expect(explanation.services).toHaveLength(2_000);
  expect(explanation.services[0]?.folder).toHaveLength(300);
  expect(explanation.notes).toEqual(['A note.', '35020 more changed paths are not listed.']);
  expect(bounded(explanation)).toEqual(explanation);
});

it('an explanation lists long paths completely, up to 1,500,000 characters in all', () => {
  const paths = Array.from({ length: 20 }, (_, i) => `libs/${'x'.repeat(3_985)}/${i}`.padEnd(4_000, 'x'));
  const explanation = bounded(explanationWith(paths));
  expect(listedIn(explanation)).toHaveLength(375);
  expect(listedIn(explanation).slice(0, 20)).toEqual(paths);
  expect(explanation.notes).toEqual(['A note.', '39645 more changed paths are not listed.']);
});
