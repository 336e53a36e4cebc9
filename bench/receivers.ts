/** Measures how fast pushes are accepted, against other programs that teams use to receive webhooks. */

import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { writeFile } from 'node:fs/promises';
import { connect } from 'node:net';
import { join } from 'node:path';
import { freePort } from '../e2e/support/free-port.ts';
import { createPlatformRepository } from '../e2e/support/platform-repository.ts';
import { WEBHOOK_SECRET } from '../e2e/support/runner-environment.ts';
import { until } from '../e2e/support/until.ts';
import { pushBody, startBusy, startPeer } from './accept.ts';
import type { Bench } from './bench.ts';
import { withFolder } from './support/built-runner.ts';
import { type Contender, compareRates, loadInTurn } from './support/contenders.ts';
import { startLoad } from './support/load.ts';
import { median } from './support/statistics.ts';

const LOAD = { connections: 32, requests: 2_000, rounds: 5 };

interface Peer {
  contender: Contender;
  end(): void;
  /** The least ratio that the project aims at. */
  aim: number;
}

export const receivers: Bench = {
  name: 'Against other receivers',
  method: `The pushes and the server of "Accepting pushes". The peers are the bare server that does the same work and writes each push to one SQLite table with \`synchronous=FULL\`, where pushes that arrive together share a commit; a receiver in Flask, which checks the signature, maps paths to services, starts a thread that does nothing, and stores nothing; and adnanh/webhook, which checks the signature and runs \`/bin/true\`. The last two are Debian's packages \`python3-flask\` and \`webhook\`. ${LOAD.rounds} rounds of ${LOAD.requests.toLocaleString('en-US')} requests each, in turn.`,
  run: () =>
    withFolder('receivers', async (folder) => {
      const repository = await createPlatformRepository(folder);
      const runner = await startBusy(folder, repository);
      const port = Number(new URL(runner.url).port);
      const ours: Contender = { name: 'iac-runner', pid: runner.pid, port, results: [] };
      const body = await pushBody(repository);
      const load = await startLoad({ folder, secret: WEBHOOK_SECRET, body });
      const table = { ...(await startPeer('table')), aim: 0.9 };
      const peers: Peer[] = [table];
      try {
        peers.push(await startFlask());
        peers.push(await startWebhook(folder));
        await loadInTurn(load, [ours, ...peers.map(({ contender }) => contender)], LOAD);
      } finally {
        load.end();
        for (const { end } of peers) end();
      }
      return peers.map(({ contender, aim }) => {
        const { ratios, ...cells } = compareRates(ours, contender);
        const measured = 'Pushes accepted per second';
        return { measured, ...cells, aim: `≥ ${aim}×`, met: median(ratios) >= aim };
      });
    }),
};

async function startFlask(): Promise<Peer> {
  const port = await freePort();
  const script = join(import.meta.dirname, 'support/flask-receiver.py');
  // Debian's Python has Debian's packages, which another one that comes first on PATH does not.
  const argv = ['/usr/bin/python3', script, String(port), WEBHOOK_SECRET] as const;
  return { ...(await startProgram('Flask, nothing stored', argv, port)), aim: 4 };
}

async function startWebhook(folder: string): Promise<Peer> {
  const port = await freePort();
  const signature = {
    type: 'payload-hmac-sha256',
    secret: WEBHOOK_SECRET,
    parameter: { source: 'header', name: 'X-Hub-Signature-256' },
  };
  const hook = {
    id: 'webhook',
    'execute-command': '/bin/true',
    'response-message': '{"status":"accepted"}',
    'trigger-rule': { match: signature },
  };
  const hooks = join(folder, 'hooks.json');
  await writeFile(hooks, JSON.stringify([hook]));
  const address = ['-ip', '127.0.0.1', '-port', String(port), '-urlprefix', ''];
  const argv = ['webhook', '-hooks', hooks, ...address] as const;
  return { ...(await startProgram('adnanh/webhook, /bin/true', argv, port)), aim: 1.5 };
}

/** Resolves once the program listens. */
async function startProgram(
  name: string,
  [program, ...args]: readonly [string, ...string[]],
  port: number,
): Promise<Omit<Peer, 'aim'>> {
  const child = spawn(program, args, { stdio: 'ignore' });
  const failed = endOf(child).then((cause) => {
    throw new Error(`${name} ended (${cause}). Install Debian's packages python3-flask and webhook.`);
  });
  try {
    await Promise.race([failed, until(`${name} on port ${port}`, () => isListening(port))]);
  } catch (error) {
    child.kill();
    throw error;
  } finally {
    failed.catch(() => undefined);
  }
  return { contender: { name, pid: child.pid ?? 0, port, results: [] }, end: () => void child.kill() };
}

async function endOf(child: ChildProcess): Promise<string> {
  try {
    const [code] = await once(child, 'exit');
    return `exit code ${code}`;
  } catch (error) {
    return String(error);
  }
}

function isListening(port: number): Promise<true | null> {
  return new Promise((resolve) => {
    const socket = connect({ port, host: '127.0.0.1' });
    const answer = (found: true | null) => () => {
      socket.destroy();
      resolve(found);
    };
    socket.once('connect', answer(true));
    socket.once('error', answer(null));
  });
}
