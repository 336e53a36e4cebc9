/**
 * F41: secrets stay secret. Canaries are configured everywhere, leaked in every way, and then looked for
 * everywhere.
 */

import { describe, expect, it, onTestFinished } from 'vitest';
import { type Canaries, canariesInFiles, watchCanaries } from './support/canaries.ts';
import { type CommandLineWatch, watchCommandLines } from './support/command-lines.ts';
import { freePort } from './support/free-port.ts';
import { type GitServer, type GitServerOptions, serveGitOverHttp } from './support/git-over-http.ts';
import { writePythonService } from './support/hand-made-service.ts';
import { type PushedRun, pushRun } from './support/pushed-run.ts';
import type { Runner } from './support/runner.ts';
import { API_TOKENS, WEBHOOK_SECRET } from './support/runner-environment.ts';
import type { Stage } from './support/stage.ts';
import { setTestStage } from './support/test-stage.ts';

const GIT_USER = 'deployer';
/**
 * Each secret has the characters that its way of transport allows, so that its encodings differ from the plain
 * text.
 */
const GIT_PASSWORD = 'git+CANARY/p@ss:w0rd?&=';
const PREVIOUS_SECRET = 'previous CANARY +/=& "secret"';
const API_TOKEN = 'api-CANARY+/=&%22-token';
const VAULT_TOKEN = 'hvs.CANARY+/=&"\'\\%é-vault';
const KEY_LINES = ['CANARYfirstKeyLine+/abcdefghij', 'CANARYsecondKeyLine=klmnopqrs'];
const DEPLOY_KEY = ['-----BEGIN EXAMPLE-----', ...KEY_LINES, '-----END EXAMPLE-----', ''].join('\n');

function canariesOf(stage: Stage): Canaries {
  return watchCanaries({
    WEBHOOK_SECRET,
    WEBHOOK_SECRET_PREVIOUS: PREVIOUS_SECRET,
    GITHUB_TOKEN: stage.github.token,
    'viewer token': API_TOKENS.viewer,
    'operator token': API_TOKENS.operator,
    'admin token': API_TOKENS.admin,
    'another token': API_TOKEN,
    'git password': GIT_PASSWORD,
    VAULT_APP_TOKEN: VAULT_TOKEN,
    DEPLOY_KEY: KEY_LINES[0] ?? '',
    'DEPLOY_KEY, its second line': KEY_LINES[1] ?? '',
  });
}

function environment(gitUrl: string): Record<string, string> {
  return {
    GIT_REPO_URL: gitUrl,
    WEBHOOK_SECRET_PREVIOUS: PREVIOUS_SECRET,
    API_TOKENS: [
      ...Object.entries(API_TOKENS).map(([role, token]) => `${role}:${role}:${token}`),
      `canary:viewer:${API_TOKEN}`,
    ].join(','),
    VAULT_APP_TOKEN: VAULT_TOKEN,
    DEPLOY_KEY,
    TASK_ENV: 'VAULT_APP_TOKEN,DEPLOY_KEY,ENV,INTERNAL_DOMAIN,IAC_EXAMPLE_STATE',
    LOG_LEVEL: 'trace',
  };
}

function withCredentials(address: string): string {
  return `http://${GIT_USER}:${encodeURIComponent(GIT_PASSWORD)}@${address}`;
}

async function gitServer(options: Omit<GitServerOptions, 'user' | 'password'>): Promise<GitServer> {
  const server = await serveGitOverHttp({ ...options, user: GIT_USER, password: GIT_PASSWORD });
  onTestFinished(() => server.close());
  return server;
}

function commandLines(): CommandLineWatch {
  const watch = watchCommandLines();
  onTestFinished(() => watch.stop());
  return watch;
}

/** All answers that somebody can get from the server, with and without permission. */
async function allAnswers(runner: Runner, runs: PushedRun[]): Promise<Map<string, string>> {
  const answers = new Map<string, string>();
  async function ask(
    path: string,
    init: RequestInit & { headers?: Record<string, string> } = {},
  ): Promise<void> {
    const response = await fetch(new URL(path, runner.url), { redirect: 'manual', ...init });
    const headers = JSON.stringify([...response.headers]);
    answers.set(
      `${init.method ?? 'GET'} ${path} ${init.headers?.accept ?? ''}`,
      headers + (await response.text()),
    );
  }
  const authorization = `Bearer ${API_TOKENS.viewer}`;
  const page = { accept: 'text/html', authorization };
  const json = { accept: 'application/json', authorization };
  for (const path of ['/health', '/ready', '/login', '/nothing-here']) await ask(path);
  for (const headers of [page, json]) {
    await ask('/runs', { headers });
    for (const { runId } of runs) await ask(`/runs/${runId}`, { headers });
  }
  for (const { runId, url } of runs) {
    await ask(`/runs/${runId}/log`, { headers: json });
    await ask(`/runs/${runId}/events`, { headers: { ...json, accept: 'text/event-stream' } });
    // The page of the signed link, for people who only have the link.
    await ask(new URL(url).pathname + new URL(url).search, { headers: { accept: 'text/html' } });
  }
  await ask('/webhook', { method: 'POST', body: '{}', headers: { 'x-hub-signature-256': 'sha256=00' } });
  await ask('/sync', { method: 'POST', body: '{}', headers: { 'content-type': 'application/json' } });
  return answers;
}

/** All places where a canary was seen: files, answers, the server's output, requests to GitHub, command lines. */
async function leaks(
  stage: Stage,
  runner: Runner,
  runs: PushedRun[],
  watch: CommandLineWatch,
): Promise<string[]> {
  const canaries = canariesOf(stage);
  const found = await canariesInFiles(stage.folder, canaries);
  const look = (where: string, content: string): void => {
    for (const seen of canaries.seenIn(content)) found.push(`${where}: ${seen}`);
  };
  for (const [what, answer] of await allAnswers(runner, runs)) look(what, answer);
  look('the server log', runner.output());
  for (const { method, url, headers, body } of stage.github.requests) {
    const { authorization: _, ...others } = headers;
    look(`${method} to GitHub`, JSON.stringify({ url, others, body }));
  }
  for (const line of watch.seen) look(`the command line ${line.slice(0, 80)}`, line);
  return found;
}

/**
 * A task that reads all secrets that it can reach, and prints each secret in each way. The task contains no secret
 * itself.
 */
const PRINTER = `
import base64, json, shlex
from urllib.parse import quote, quote_plus, unquote, urlsplit

secrets = [os.environ["VAULT_APP_TOKEN"], os.environ["DEPLOY_KEY"]]
server = dict(
    entry.split("=", 1)
    for entry in Path("/proc/%d/environ" % os.getppid()).read_bytes().decode().split("\\0")
    if "=" in entry
)
secrets += [server["WEBHOOK_SECRET"], server["WEBHOOK_SECRET_PREVIOUS"], server["GITHUB_TOKEN"]]
secrets += [entry.split(":", 2)[2] for entry in server["API_TOKENS"].split(",")]
secrets += [unquote(urlsplit(server["GIT_REPO_URL"]).password), server["GIT_REPO_URL"]]

for secret in secrets:
    raw = secret.encode()
    for text in (
        secret,
        "token=" + secret + ";",
        base64.b64encode(raw).decode(),
        base64.b64encode(b"u:" + raw).decode(),
        base64.b64encode(b"ab:" + raw + b"@host").decode(),
        base64.encodebytes(raw * 4).decode(),
        base64.urlsafe_b64encode(raw).decode(),
        quote(secret, safe=""),
        quote_plus(secret),
        json.dumps({"token": secret}),
        shlex.quote(secret),
        "\\x1b[31m" + secret + "\\x1b[0m",
        secret + secret,
        "x" * (16384 - len(secret) // 2) + secret,
        "x" * 100000 + secret,
    ):
        print(text)
        print(text, file=sys.stderr)
    half = len(raw) // 2
    sys.stdout.flush()
    os.write(1, raw[:half])
    time.sleep(0.15)
    os.write(1, raw[half:] + b"\\n")
    for byte in raw:
        os.write(1, bytes([byte]))
    os.write(1, b"\\n")
print("all printed")
`;

/** A task that reports the secret to the runner itself, in the result file. */
function reportingTask(action: string, exitCode: number): string {
  return `
import json
from urllib.parse import quote
token = os.environ["VAULT_APP_TOKEN"]
details = "vault refused %s, also as %s" % (token, quote(token, safe=""))
Path(os.environ["IAC_RESULT_FILE"]).write_text(json.dumps({"action": "${action}", "details": details}))
sys.exit(${exitCode})`;
}

describe('F41: no secret is seen in a file, page, event, log, status or command line', () => {
  it('when tasks print all of them in every encoding and in pieces', async () => {
    const stage = await setTestStage('printed-secrets');
    const watch = commandLines();
    const server = await gitServer({ repositoryPath: stage.repository.path, onRequest: watch.look });
    const runner = await stage.start({ environment: environment(withCredentials(server.address)) });
    await writePythonService(stage.repository, 'platform/06.printer', PRINTER);
    const { runId, url, commit } = await pushRun(stage, runner, 'Print secrets');
    await runner.waitForRun(runId, 'succeeded');
    await stage.github.statuses.waitFor({ sha: commit, state: 'success' });
    // The server used the credentials, and the test saw the arguments of the process that used the remote.
    expect(server.admitted).toBeGreaterThan(0);
    expect([...watch.seen].some((line) => line.includes(server.address))).toBe(true);
    const log = (await allAnswers(runner, [{ runId, url, commit }])).get(
      `GET /runs/${runId}/log application/json`,
    );
    expect(log).toContain('all printed');
    expect(log).toContain('token=****;');
    expect(await leaks(stage, runner, [{ runId, url, commit }], watch)).toEqual([]);
    expect(await runner.stop()).toBe(0);
  });

  it('when tasks write them into their result files', async () => {
    const stage = await setTestStage('reported-secrets');
    const watch = commandLines();
    const runner = await stage.start({ environment: environment(stage.repository.path) });
    await writePythonService(stage.repository, 'platform/06.creator', reportingTask('created', 0));
    await writePythonService(stage.repository, 'platform/06.failure', reportingTask('failed', 0));
    await writePythonService(stage.repository, 'platform/06.exit', reportingTask('updated', 3));
    const pushed = await pushRun(stage, runner, 'Tell secrets');
    const run = await runner.waitForRun(pushed.runId, 'failed');
    await stage.github.statuses.waitFor({ sha: pushed.commit, state: 'failure' });
    expect(run.steps.map(({ message }) => message).sort()).toEqual([
      'Created: vault refused ****, also as ****',
      'Exit code 3: vault refused ****, also as ****',
      'The task said it failed: vault refused ****, also as ****',
    ]);
    expect(await leaks(stage, runner, [pushed], watch)).toEqual([]);
    expect(await runner.stop()).toBe(0);
  });

  it('when the repository refuses the request and repeats it, or cannot be reached at all', async () => {
    const stage = await setTestStage('refused-secrets');
    const watch = commandLines();
    const server = await gitServer({ repositoryPath: stage.repository.path, onRequest: watch.look });
    server.refuseWith(403);
    const runner = await stage.start({ environment: environment(withCredentials(server.address)) });
    await stage.repository.write('platform/04.dashy/conf.yml', 'title: Refused\n');
    const refused = await pushRun(stage, runner, 'Nobody may fetch this');
    const run = await runner.waitForRun(refused.runId, 'errored');
    expect(run).toMatchObject({ reason: 'git_unavailable', message: 'Failed to update git repository' });
    await stage.github.statuses.waitFor({ sha: refused.commit, state: 'error' });
    const answers = await allAnswers(runner, [refused]);
    expect(answers.get(`GET /runs/${refused.runId} text/html`)).toContain(`http://${server.address}`);
    const sync = await runner.signedPost('/sync', { services: ['platform/postgres'] });
    expect(sync).toMatchObject({ status: 503 });
    expect(canariesOf(stage).seenIn(JSON.stringify(sync.body))).toEqual([]);
    expect(await leaks(stage, runner, [refused], watch)).toEqual([]);
    expect(await runner.stop()).toBe(0);

    const elsewhere = `127.0.0.1:${await freePort()}/platform.git`;
    const again = await stage.start({ environment: environment(withCredentials(elsewhere)) });
    await stage.repository.write('platform/04.dashy/conf.yml', 'title: Unreachable\n');
    const unreachable = await pushRun(stage, again, 'Nobody is there');
    await again.waitForRun(unreachable.runId, 'errored');
    expect(await leaks(stage, again, [refused, unreachable], watch)).toEqual([]);
    expect(await again.stop()).toBe(0);
  });

  it('when the address of the repository contains a token and nothing else', async () => {
    const stage = await setTestStage('lone-token');
    const watch = commandLines();
    const token = 'ghp_CANARYalone0123456789';
    const gitUrl = `http://${token}@127.0.0.1:${await freePort()}/platform.git`;
    const runner = await stage.start({ environment: environment(gitUrl) });
    await stage.repository.write('platform/04.dashy/conf.yml', 'title: Unreachable\n');
    const pushed = await pushRun(stage, runner, 'Nobody is there');
    await runner.waitForRun(pushed.runId, 'errored');
    expect(await runner.stop()).toBe(0);

    // The same server has now a repository that it can fetch, and a task that prints the address.
    const print = `print(Path("/proc/%d/environ" % os.getppid()).read_bytes().decode().replace("\\0", "\\n"))`;
    await writePythonService(stage.repository, 'platform/06.printer', print);
    const served = await serveGitOverHttp({
      repositoryPath: stage.repository.path,
      user: token,
      password: '',
      onRequest: watch.look,
    });
    onTestFinished(() => served.close());
    const again = await stage.start({ environment: environment(`http://${token}@${served.address}`) });
    const printed = await pushRun(stage, again, 'Print the address');
    await again.waitForRun(printed.runId, 'succeeded');
    const canaries = watchCanaries({ 'token in the address': token });
    const found = await canariesInFiles(stage.folder, canaries);
    for (const [what, answer] of await allAnswers(again, [pushed, printed])) {
      for (const seen of canaries.seenIn(answer)) found.push(`${what}: ${seen}`);
    }
    expect(found).toEqual([]);
    expect(canaries.seenIn(runner.output() + again.output() + [...watch.seen].join('\n'))).toEqual([]);
    expect(await again.stop()).toBe(0);
  });
});
