/** Signed payloads that make no sense: none of them may stop the server, then or later. */

import { describe, expect, it } from 'vitest';
import { deliver, expectNothingStored, signedLink } from './support/deliveries.ts';
import { commitChange } from './support/platform-services.ts';
import { acceptedRun } from './support/run-actions.ts';
import { setTestStage } from './support/test-stage.ts';

const MIB = 1024 * 1024;

describe('F10: A signed but odd payload', () => {
  /** JSON that is refused because it is no push. */
  const REFUSED: Record<string, string> = {
    'without a ref': '{}',
    'with the ref null': '{"ref":null}',
    'with a ref that is a number': '{"ref":1}',
    'with a ref that is a list': '{"ref":["refs/heads/main"]}',
    'that is a list': '[]',
    'that is a list of pushes': '[{"ref":"refs/heads/main"}]',
    'that is a text': '"x"',
    'that is a number': '1',
    'that is null': 'null',
    'that is true': 'true',
    'with commits that are a text': '{"ref":"refs/heads/main","commits":"x"}',
    'with commits that are an object': '{"ref":"refs/heads/main","commits":{"0":{}}}',
    'with a commit that is null': '{"ref":"refs/heads/main","commits":[null]}',
    'with a commit that is a text': '{"ref":"refs/heads/main","commits":["x"]}',
    'with paths that are a text': '{"ref":"refs/heads/main","commits":[{"added":"libs/x"}]}',
    'with paths that are numbers': '{"ref":"refs/heads/main","commits":[{"added":[1]}]}',
    'with a commit id that is an object': '{"ref":"refs/heads/main","after":{},"commits":[]}',
    'with a repository that is a text': '{"ref":"refs/heads/main","repository":"acme/platform"}',
    'with a name that is a list': '{"ref":"refs/heads/main","repository":{"full_name":["acme/platform"]}}',
    'nested deeply': '['.repeat(200_000) + ']'.repeat(200_000),
    'nested deeply where commits belong': `{"ref":"refs/heads/main","commits":${'['.repeat(100_000)}${']'.repeat(100_000)}}`,
  };

  const redis = '"commits":[{"modified":["platform/01.redis/compose.yaml"]}]';
  /** JSON that is a push, whose run must end. */
  const ACCEPTED: Record<string, string> = {
    'with commits that are null': '{"ref":"refs/heads/main","commits":null}',
    'with lists that are null': '{"ref":"refs/heads/main","forced":true,"commits":[{"added":null}]}',
    'with control characters': `{"ref":"refs/heads/main","after":"\\u0000\\u001b[2J",${redis},"sender":{"login":"\\u0000<b>\\u202e"}}`,
    'with lone surrogates': `{"ref":"refs/heads/main","after":"\\ud800",${redis},"sender":{"login":"\\udfff"}}`,
    'with keys of the prototype': `{"ref":"refs/heads/main","__proto__":{"deleted":true},"constructor":1,${redis}}`,
    'with commits that do not exist': `{"ref":"refs/heads/main","before":"${'a'.repeat(40)}","after":"${'b'.repeat(40)}",${redis}}`,
    'with a name of 1 MiB': `{"ref":"refs/heads/main",${redis},"sender":{"login":"${'x'.repeat(MIB)}"}}`,
    'with a path of 1 MiB': `{"ref":"refs/heads/main","commits":[{"added":["libs/${'x/'.repeat(MIB / 2)}"]}]}`,
  };

  it('is refused, or run until it ends, and never stops the next start', async () => {
    const stage = await setTestStage('odd');
    let runner = await stage.start();
    await expectNothingStored(runner, async () => {
      for (const [what, payload] of Object.entries(REFUSED)) {
        const { status, body } = await deliver({ stage, runner }, payload);
        expect({ what, status, body }).toEqual({
          what,
          status: 400,
          body: { error: 'The body is not a push payload' },
        });
      }
    });
    const taken = new Map<string, string>();
    for (const [what, payload] of Object.entries(ACCEPTED)) {
      const { status, body } = await deliver({ stage, runner }, payload);
      expect({ what, status, body }).toMatchObject({ what, status: 200, body: { status: 'accepted' } });
      taken.set(acceptedRun({ status, body }), signedLink({ body }));
    }
    // The server starts once with all runs waiting, and once more when they have ended.
    await runner.kill();
    for (let restarts = 0; restarts < 2; restarts += 1) {
      runner = await stage.start();
      for (const [runId, link] of taken) {
        const run = await runner.waitForRun(runId, 'final');
        expect(run.state).toMatch(/^(succeeded|superseded)$/);
        const page = await fetch(runner.url + link, { headers: { accept: 'text/html' } });
        expect(page.status).toBe(200);
        expect(await page.text()).not.toContain('<b>');
      }
      expect(await runner.stop()).toBe(0);
    }
    runner = await stage.start();
    const head = await commitChange(stage.repository, ['platform/redis'], 'After all that');
    const run = await runner.waitForRun(acceptedRun(await stage.push(runner)), 'succeeded');
    expect(run.revision).toBe(head);
  });
});
