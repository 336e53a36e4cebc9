/** The program refuses to start with some settings and says why, and its files on the disk are private. */

import { chmod, mkdir, readdir, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { waitUntilIdle } from './support/deliveries.ts';
import { commitChange } from './support/platform-services.ts';
import { processesMentioning } from './support/processes.ts';
import { CLI } from './support/program.ts';
import { acceptedRun } from './support/run-actions.ts';
import { runProgram } from './support/runner.ts';
import { setTestStage } from './support/test-stage.ts';

const CONFIGURATION_ERROR = 3;
const OTHER_FAILURE = 1;

/** Settings that the program must refuse. Undefined stands for a variable that is not set. */
const WRONG_VALUES: Record<string, (string | undefined)[]> = {
  WEBHOOK_SECRET: [
    undefined,
    '',
    ' \t ',
    'changeme',
    ' CHANGEME ',
    'change-me',
    'seven77',
    'your-webhook-secret',
  ],
  WEBHOOK_SECRET_PREVIOUS: ['short77', 'changeme', 'password'],
  GIT_REPO_URL: [
    ...[undefined, '', '  ', 'ext::sh -c id', 'EXT::sh%20-c%20id', '-xCANARY', '--upload-pack=touch'],
    ...['fd::17/CANARY', 'https://bot:CANARY-5d1f0c@example.com/a b.git'],
  ],
  GIT_BRANCH: ['-x', '--upload-pack=touch', 'a..b', 'a b', 'refs/heads/', '/x', 'x.lock', 'a~1', 'a:b'],
  GITHUB_REPOSITORY: ['platform', 'a/b/c', 'a b/c', 'https://github.com/acme/platform', '/platform'],
  GITHUB_API_URL: ['api.github.com', 'ftp://api.github.com', 'file:///etc/passwd', 'http://', 'javascript:1'],
  WEBHOOK_PORT: ['80a', '-1', '65536', '8080.5', '0x50', '8080,8081'],
  PUBLIC_URL: ['iac.example.com', 'ftp://iac.example.com', 'javascript:alert(1)'],
  WORKSPACE_DIR: ['workspace', './workspace', '../workspace', '~/workspace'],
  DATA_DIR: ['data', './data', '~'],
  INVOKE_COMMAND: [
    'invoke; id',
    'invoke "x"',
    '$(id)',
    'invoke | cat',
    '`id`',
    'invoke > x',
    "sh -c 'invoke'",
  ],
  TASK_ENV: [
    'A B',
    '1A',
    'A=b',
    'WEBHOOK_SECRET',
    'ENV,GITHUB_TOKEN',
    'API_TOKENS',
    'ENV, WEBHOOK_SECRET_PREVIOUS',
  ],
  SYNC_TIMEOUT: ['0', '-1', '10m', '1.5', '1e3'],
  SYNC_CONCURRENCY: ['0', '-1', 'four', '100000'],
  DRAIN_TIMEOUT: ['-1', '30s'],
  RETRY_LIMIT: ['0', 'never'],
  LOG_LIMIT_MB: ['0', '64MB'],
  RECONCILE_INTERVAL: ['-1', '5m'],
  API_TOKENS: [
    ...[
      'CANARY-0123456789',
      'ada:CANARY-0123456789',
      'ada:root:CANARY-0123456789',
      'ada:admin:CANARY'.slice(0, 15),
    ],
    ...[
      'ada:admin:CANARY-01234567,ada:viewer:CANARY-76543210',
      'ada:admin:CANARY 0123456789',
      ':admin:CANARY-0123456789',
    ],
  ],
  LOG_LEVEL: ['verbose', 'INFO'],
  LEASE_SECONDS: ['9', '601', '60s', '30.5'],
  SYNC_REQUIRE_TIMESTAMP: ['yes', '1', 'TRUE'],
};

const MISTAKEN_FILE = `repositories:
  - url: https://bot:CANARY@example.com/platform.git
    token: { env: BLANK }
    environments:
      - { name: staging, follow: main }
      - name: production
        promote: stagging
`;

/** Settings whose values must not be shown, even if they are wrong. */
const SECRETS = ['WEBHOOK_SECRET', 'WEBHOOK_SECRET_PREVIOUS', 'GIT_REPO_URL', 'API_TOKENS'];

/** The wrong value with this index for each variable that has so many wrong values. */
function wrongRounds(): Record<string, string | undefined>[] {
  const rounds = Math.max(...Object.values(WRONG_VALUES).map((values) => values.length));
  return Array.from({ length: rounds }, (_, round) =>
    Object.fromEntries(
      Object.entries(WRONG_VALUES).flatMap(([name, values]) =>
        round < values.length ? [[name, values[round]]] : [],
      ),
    ),
  );
}

describe('F1: A wrong configuration', () => {
  it('is a secret that is unset, empty, blank, short or a placeholder: one line says so, and nothing is started', async () => {
    const stage = await setTestStage('secret');
    for (const value of WRONG_VALUES.WEBHOOK_SECRET ?? []) {
      const options = { ...stage.runnerOptions, environment: { WEBHOOK_SECRET: value } };
      const { exitCode, stdout, stderr } = await runProgram(['serve'], options);
      expect({ value, exitCode, stdout }).toEqual({ value, exitCode: CONFIGURATION_ERROR, stdout: '' });
      expect(stderr.trim().split('\n')).toHaveLength(1);
      expect(stderr).toMatch(/WEBHOOK_SECRET.*expected.*e\.g\./);
      expect(await readdir(join(stage.folder, 'data'))).toEqual([]);
      expect(await readdir(join(stage.folder, 'workspace'))).toEqual([]);
    }
  });

  it('of many variables at once is reported completely, with a line for each variable and without any value', async () => {
    const stage = await setTestStage('wrong');
    for (const environment of wrongRounds()) {
      const options = { ...stage.runnerOptions, environment };
      const { exitCode, stdout, stderr } = await runProgram(['serve'], options);
      expect({ environment, exitCode, stdout }).toEqual({
        environment,
        exitCode: CONFIGURATION_ERROR,
        stdout: '',
      });
      const lines = stderr.replace('iac-runner serve: ', '').trim().split('\n');
      const form = /^([A-Z_]+) is (?:missing|wrong): expected .+, e\.g\. .+\.$/;
      // TASK_ENV is wrong too, so the variables that it should name look like misspelled ones.
      const wrong = lines.filter((line) => !line.includes('is not a variable of iac-runner'));
      const named = wrong.map((line) => form.exec(line)?.[1]);
      expect(named.toSorted()).toEqual(Object.keys(environment).toSorted());
      expect(stderr).not.toContain('CANARY');
      for (const name of SECRETS) {
        const value = environment[name]?.trim() ?? '';
        if (value.length > 6) expect(stderr.toLowerCase()).not.toContain(value.toLowerCase());
      }
    }
  });

  it('is a mistake in the file of CONFIG_FILE: each one is named with its line and field, and no secret is shown', async () => {
    const stage = await setTestStage('config-file');
    const CONFIG_FILE = join(stage.folder, 'config.yaml');
    await writeFile(CONFIG_FILE, MISTAKEN_FILE);
    const unset = { GIT_REPO_URL: undefined, GIT_BRANCH: undefined, GITHUB_REPOSITORY: undefined };
    const options = { ...stage.runnerOptions, environment: { ...unset, CONFIG_FILE, BLANK: ' ' } };
    const { exitCode, stdout, stderr } = await runProgram(['serve'], options);
    expect({ exitCode, stdout }).toEqual({ exitCode: CONFIGURATION_ERROR, stdout: '' });
    expect(stderr.replace('iac-runner serve: ', '').trim().split('\n')).toEqual([
      'CONFIG_FILE line 7, repositories.0.environments.1.promote: expected the name of another environment here: staging',
      'CONFIG_FILE line 3, repositories.0.token: expected a secret in the variable BLANK, which is not set or empty',
    ]);
    expect(stderr).not.toContain('CANARY');
    expect(await readdir(join(stage.folder, 'data'))).toEqual([]);
  });

  it('does not include blank optional variables and white space around values', async () => {
    const stage = await setTestStage('blank');
    const environment = {
      WEBHOOK_PORT: ' 0 ',
      GIT_BRANCH: '',
      WEBHOOK_SECRET_PREVIOUS: '  ',
      API_TOKENS: '',
      SYNC_TIMEOUT: ' 60\n',
      LOG_LEVEL: '',
      PUBLIC_URL: ' ',
    };
    const runner = await stage.start({ environment });
    expect((await runner.getJson('/health', null)).body).toEqual({ status: 'healthy' });
    expect((await runner.getJson('/runs')).status).toBe(401);
    expect(await runner.stop()).toBe(0);
  });
});

describe("A variable whose name is almost one of iac-runner's", () => {
  const environment = { SYNC_RETRYS: 'CANARY-5d1f0c' };
  const line = 'SYNC_RETRYS is not a variable of iac-runner; did you mean SYNC_RETRIES?';

  it("is named in one line of the server's log, without its value, and the server starts", async () => {
    const stage = await setTestStage('unknown');
    const runner = await stage.start({ environment });
    expect((await runner.getJson('/health', null)).status).toBe(200);
    expect(runner.output().split(line)).toHaveLength(2);
    expect(runner.output()).not.toContain('CANARY');
    expect(await runner.stop()).toBe(0);
  });

  it('is named in the log of a worker, too', async () => {
    const stage = await setTestStage('unknown-worker');
    const ofJobs = { REDIS_URL: 'redis://127.0.0.1:1', ENCRYPTION_KEY: 'a key of this test, 32 letters. ' };
    const options = { ...stage.runnerOptions, environment: { ...environment, ...ofJobs } };
    const { stdout } = await runProgram(['worker'], options);
    expect(stdout.split(line)).toHaveLength(2);
    expect(stdout).not.toContain('CANARY');
  });
});

describe('A server that cannot start', () => {
  it('because its port is taken says which port and what to do, and leaves the data to the next server', async () => {
    const stage = await setTestStage('port');
    const first = await stage.start();
    const { port } = new URL(first.url);
    const elsewhere = {
      DATA_DIR: join(stage.folder, 'data2'),
      WORKSPACE_DIR: join(stage.folder, 'workspace2'),
    };
    const options = { ...stage.runnerOptions, environment: { ...elsewhere, WEBHOOK_PORT: port } };
    const { exitCode, stderr } = await runProgram(['serve'], options);
    expect(exitCode).toBe(OTHER_FAILURE);
    expect(stderr.trim().split('\n')).toHaveLength(1);
    expect(stderr).toContain(`127.0.0.1:${port}`);
    expect(stderr).toContain('WEBHOOK_PORT');
    expect((await first.getJson('/health', null)).status).toBe(200);
    const second = await stage.start({ environment: elsewhere });
    expect((await second.getJson('/ready', null)).status).toBe(200);
  });

  it('because another server uses its data names that server and does not disturb it; a killed server leaves no lock', async () => {
    const stage = await setTestStage('twice');
    const first = await stage.start();
    const { exitCode, stderr } = await runProgram(['serve'], stage.runnerOptions);
    expect(exitCode).toBe(OTHER_FAILURE);
    expect(stderr.trim().split('\n')).toHaveLength(1);
    expect(stderr).toContain(join(stage.folder, 'data'));
    expect(stderr).toContain('DATA_DIR');
    await commitChange(stage.repository, ['platform/redis'], 'Still served');
    await first.waitForRun(acceptedRun(await stage.push(first)), 'succeeded');
    await first.kill();
    const second = await stage.start();
    expect((await second.runs()).length).toBe(1);
    expect(await second.stop()).toBe(0);
  });

  it('because its data folder is a file or cannot be created says so in one line, at once', async () => {
    const stage = await setTestStage('file');
    await stage.repository.write('../not-a-folder', 'x');
    const file = join(stage.folder, 'not-a-folder');
    // Nobody can create folders in /proc, where Node's own recursive mkdir never returns.
    for (const DATA_DIR of [file, join(file, 'data'), '/proc/iac-runner/data']) {
      const options = { ...stage.runnerOptions, environment: { DATA_DIR } };
      const { exitCode, stderr } = await runProgram(['serve'], options);
      expect(exitCode).toBe(OTHER_FAILURE);
      expect(stderr.trim().split('\n')).toHaveLength(1);
      expect(stderr).toContain(`The data directory ${DATA_DIR} cannot be made`);
    }
  });
});

describe('F43: The data on the disk', () => {
  it('is private even with the umask 000, and nothing is left in the folder for temporary files', async () => {
    const stage = await setTestStage('modes');
    const program = ['sh', '-c', 'umask 000; exec "$@"', 'sh', process.execPath, CLI, 'serve'];
    const dataDir = join(stage.folder, 'fresh', 'data');
    await mkdir(join(stage.folder, 'workspace'), { mode: 0o755 });
    const runner = await stage.start({ program, environment: { DATA_DIR: dataDir } });
    await commitChange(stage.repository, ['platform/redis'], 'Leave files');
    await runner.waitForRun(acceptedRun(await stage.push(runner)), 'succeeded');
    await waitUntilIdle(runner);
    await expectPrivate();
    expect(await runner.stop()).toBe(0);
    await expectPrivate();
    expect(await readdir(join(stage.folder, 'tmp'))).toEqual([]);
    expect(await processesMentioning(stage.folder)).toEqual([]);

    async function expectPrivate(): Promise<void> {
      expect(await modeOf(dataDir)).toBe('700');
      for (const entry of await readdir(dataDir, { withFileTypes: true })) {
        if (!entry.isFile()) continue;
        expect([entry.name, await modeOf(join(dataDir, entry.name))]).toEqual([entry.name, '600']);
      }
      const everywhere = [join(stage.folder, 'fresh'), join(stage.folder, 'workspace')];
      expect((await Promise.all(everywhere.map(writableByOthers))).flat()).toEqual([]);
    }
  });

  it('is made private if it was not, also in the default folder', async () => {
    const stage = await setTestStage('loose');
    await mkdir(join(stage.folder, 'data'));
    await chmod(join(stage.folder, 'data'), 0o777);
    const runner = await stage.start();
    expect(await modeOf(join(stage.folder, 'data'))).toBe('700');
    await runner.stop();
    const inWorkspace = await stage.start({ environment: { DATA_DIR: undefined } });
    expect(await modeOf(join(stage.folder, 'workspace', '.iac-runner'))).toBe('700');
    await inWorkspace.stop();
  });
});

/** The permission bits in octal. */
async function modeOf(path: string): Promise<string> {
  return ((await stat(path)).mode & 0o777).toString(8);
}

/** The folder and everything below it that users other than its owner may write. */
async function writableByOthers(folder: string): Promise<string[]> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true });
  const paths = entries
    .filter((entry) => !entry.isSymbolicLink())
    .map(({ parentPath, name }) => join(parentPath, name));
  const found = await Promise.all(
    [folder, ...paths].map(async (path) => (((await stat(path)).mode & 0o022) === 0 ? [] : [path])),
  );
  return found.flat();
}
