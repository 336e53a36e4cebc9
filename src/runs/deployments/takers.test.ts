import { describe, expect, it } from 'vitest';
import type { WorkerSign } from '../fleet.ts';
import { whatIsMissing } from './takers.ts';

const NOW = 1_000_000;

function machine(labels: string[] | null, tools: string[] | null, silentMs = 0): WorkerSign {
  return {
    owner: `m${labels}:${tools}`,
    command: 'worker',
    version: '1',
    labels,
    tools,
    limits: { sync: 1, preview: 1, deploy: 1, plan: 1, command: 1 },
    runs: [],
    startedAt: 0,
    at: NOW - silentMs,
  };
}

function missing(version: string | null, labels: string[], ...workers: WorkerSign[]) {
  return whatIsMissing({ tool: 'terraform', toolVersion: version }, labels, { workers, now: NOW });
}

describe('What is missing for a deployment to be taken', () => {
  it('is nothing when one machine that is alive has the labels and the tool, or takes any', () => {
    const others = [machine(['aws'], []), machine(['gcp'], ['terraform 1.9.0'])];
    expect(missing('1.9.0', ['aws'], ...others, machine(['aws', 'x'], ['terraform 1.9.0']))).toBeNull();
    expect(missing('1.9.0', ['aws'], ...others, machine(null, null))).toBeNull();
    expect(missing(null, [], machine(['aws'], ['terraform']))).toBeNull();
  });

  it('is the version that no machine with the labels has, and the problem lists the installed versions', () => {
    const fleet = [
      machine(['aws'], ['terraform', 'terraform 1.10.0', 'tofu 1.9.0']),
      machine(null, ['terraform 1.9.0', 'terraform 1.10.0']),
      machine(['gcp'], ['terraform 1.8.0']),
      machine(null, ['terraform 1.8.0'], 60_000),
    ];
    expect(missing('1.8.0', ['aws'], ...fleet)).toEqual({
      what: 'tool',
      problem: 'No machine with the label aws that is alive has terraform "1.8.0". Installed: 1.9.0, 1.10.0.',
    });
    expect(missing('1.8.0', [], ...fleet)).toBeNull();
    expect(missing(null, [], machine(null, ['terraform 1.9.0']))?.problem).toBe(
      'No machine that is alive has terraform on its PATH. Installed: 1.9.0.',
    );
    expect(missing('1', [], machine(null, ['tofu 1']))?.problem).toContain(
      'No version of terraform is installed.',
    );
  });

  it('is a machine with the labels when none is alive, but nothing when no machine is known yet', () => {
    const fleet = [machine(['aws'], ['terraform 1.9.0']), machine(null, ['terraform 1.9.0'], 60_000)];
    expect(missing('1.9.0', ['aws', 'gpu'], ...fleet)).toEqual({
      what: 'labels',
      problem: 'No machine with the labels aws, gpu is alive.',
    });
    expect(missing('9', ['gpu'], ...fleet)?.what).toBe('labels');
    expect(missing('9', ['gpu'])).toBeNull();
  });
});
