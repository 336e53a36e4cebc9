import { describe, expect, it } from 'vitest';
import type { CommandRun, Step } from '../../runs/run.ts';
import { aRun } from '../stored-runs.fixture.ts';
import { commandReply, replyKey } from './command-reply.ts';

const url = 'https://iac.example.com/runs/1?key=k';

function aCommand(changes: Partial<CommandRun> = {}): CommandRun {
  const common = aRun();
  return {
    ...common,
    kind: 'command',
    trigger: { ...common.trigger, source: 'comment' },
    input: {
      command: 'apply',
      repository: 'acme/platform',
      pullRequest: 7,
      author: { id: 1, login: 'ada' },
      commentId: 9,
      writtenAt: 0,
      branch: 'main',
      cloneUrl: 'https://github.com/acme/platform',
      apiUrl: 'https://api.github.com',
    },
    ...changes,
  };
}

function aStep(id: string, state: Step['state'], message: string): Step {
  return { id, position: 0, wave: 0, state, message, exitCode: null, startedAt: null, finishedAt: null };
}

describe('The reply to a command', () => {
  it('says in one line why nothing was done, and how to fix that', () => {
    const run = aCommand({
      state: 'failed',
      reason: 'not_approved',
      message: 'Nobody has approved aaaaaaaa',
    });
    expect(commandReply({ run, steps: [], url }).split('\n')).toEqual([
      '<!-- iac-runner:command:9 -->',
      `\`iac-runner apply\` by \`ada\`: **Nobody has approved aaaaaaaa**. Fix what the message names, then write a new comment. · [log](${url})`,
    ]);
  });

  it('shows the commit and the result of each root', () => {
    const run = aCommand({
      state: 'failed',
      reason: 'step_failed',
      message: '1/2',
      revision: 'a'.repeat(40),
    });
    const steps = [
      aStep('deploy infra/a', 'succeeded', 'Applied: 1 to add'),
      aStep('deploy infra/b', 'failed', 'plan failed @org/everyone <img src=x>'),
    ];
    const body = commandReply({ run, steps, url });
    expect(body).toContain(`Commit \`${'a'.repeat(40)}\``);
    expect(body).toContain('- `infra/a`: Applied: 1 to add\n');
    expect(body).toContain('- `infra/b`: **plan failed `@org/everyone` `<img` `src=x>`**');
  });

  it('is shared by all commands without permission, and separate for each other command', () => {
    const refused = { state: 'failed', reason: 'not_allowed' } as const;
    expect(replyKey(aCommand({ ...refused, id: 'a' }))).toBe(replyKey(aCommand({ ...refused, id: 'b' })));
    expect(replyKey(aCommand({ id: 'a' }))).not.toBe(replyKey(aCommand({ id: 'b' })));
    const body = commandReply({ run: aCommand({ ...refused, message: 'No' }), steps: [], url });
    expect(body).toMatch(/^<!-- iac-runner:command:refused -->\n/);
  });
});
