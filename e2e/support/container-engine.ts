/** A Docker engine of its own, with the images that tests of containers need. `.ci/containers` installs its parts. */

import { cpSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { execa } from 'execa';
import { PROJECT_ROOT } from './project-root.ts';
import { removeFolder } from './temporary-folder.ts';
import { until } from './until.ts';

export interface ContainerEngine {
  /** The engine's socket on this machine. */
  socket: string;
  /** Runs docker and returns its stdout. Throws when docker fails. */
  docker(...args: string[]): Promise<string>;
  /** Builds an image from the folder of its Dockerfile. */
  build(tag: string, context: string): Promise<void>;
  /** Removes all containers, stops the engine and removes what it stored. */
  stop(): Promise<void>;
}

/** A plugin of Docker's command line: `docker compose` runs the Compose that Debian packages. */
const COMPOSE_PLUGIN = `#!/bin/sh
if [ "$1" = docker-cli-plugin-metadata ]; then
  echo '{"SchemaVersion":"0.1.0","Vendor":"test","Version":"1"}'
  exit
fi
shift
exec docker-compose "$@"
`;

const NODE_IMAGE = `FROM debian-base
ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
COPY node/bin/node /usr/local/bin/node
COPY npm /usr/local/lib/node_modules/npm
COPY ca.crt /usr/local/etc/ca.crt
RUN ln -s ../lib/node_modules/npm/bin/npm-cli.js /usr/local/bin/npm \\
    && echo cafile=/usr/local/etc/ca.crt > /usr/local/etc/npmrc
`;

const DOCKER_IMAGE = `FROM compose-base
ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
COPY docker /usr/local/bin/docker
COPY docker-compose /usr/local/lib/docker/cli-plugins/docker-compose
`;

/** The folder that `.ci/containers` filled, or why there is none, for the title of a skipped test. */
export function containerParts(): { folder: string } | { missing: string } {
  const { IAC_TEST_CONTAINERS: folder = '' } = process.env;
  if (folder !== '' && existsSync(join(folder, 'complete'))) return { folder };
  return { missing: 'needs IAC_TEST_CONTAINERS, a folder filled by .ci/containers' };
}

/** Starts the engine in `folder` and builds the images `iac-runner` and `docker:28-cli`. Needs root. */
export async function startContainerEngine(parts: string, folder: string): Promise<ContainerEngine> {
  mkdirSync(folder, { recursive: true });
  const socket = join(folder, 'docker.sock');
  const env = {
    PATH: `${parts}/engine/usr/sbin:${parts}/engine/usr/bin:${process.env.PATH ?? ''}`,
    DOCKER_HOST: `unix://${socket}`,
    DOCKER_BUILDKIT: '1',
    DOCKER_CONFIG: join(folder, 'config'),
  };
  const logPath = join(folder, 'engine.log');
  const daemon = execa(
    'dockerd',
    [
      ...['--data-root', join(folder, 'data'), '--exec-root', join(folder, 'exec')],
      ...['--pidfile', join(folder, 'docker.pid'), '--host', `unix://${socket}`],
      ...['--default-ulimit', 'nofile=1024:4096', '--default-ulimit', 'nproc=4096:4096'],
    ],
    {
      env,
      stdin: 'ignore',
      stdout: { file: logPath },
      stderr: { file: logPath },
      buffer: false,
      reject: false,
    },
  );

  async function docker(...args: string[]): Promise<string> {
    const result = await execa('docker', args, { env, all: true, stdin: 'ignore', reject: false });
    if (result.failed) throw new Error(`docker ${args.join(' ')} failed:\n${result.all}`);
    return result.stdout;
  }
  // The build uses the host's network, because this machine may need its own proxy to install packages.
  const build = async (tag: string, context: string): Promise<void> => {
    await docker('build', '--quiet', '--network', 'host', '--tag', tag, context);
  };

  await until('the engine to answer', async () => {
    if (daemon.nodeChildProcess.exitCode !== null) {
      throw new Error(`The engine ended:\n${readFileSync(logPath, 'utf8').slice(-2_000)}`);
    }
    return docker('version').catch(() => null);
  });
  await buildStandIns(parts, folder, { docker, build });
  await build('iac-runner', PROJECT_ROOT);

  return {
    socket,
    docker,
    build,
    async stop() {
      const containers = (await docker('ps', '--all', '--quiet')).split('\n').filter((id) => id !== '');
      if (containers.length > 0) await docker('rm', '--force', ...containers);
      daemon.kill('SIGTERM');
      await daemon;
      await removeFolder(folder);
    },
  };
}

/** Builds the images of public registries that this repository uses from Debian's packages. */
async function buildStandIns(
  parts: string,
  folder: string,
  { docker, build }: Pick<ContainerEngine, 'docker' | 'build'>,
): Promise<void> {
  await docker('import', join(parts, 'debian.tar'), 'debian-base');
  await docker('import', join(parts, 'compose.tar'), 'compose-base');

  const node = join(folder, 'node-image');
  cpSync(join(parts, 'node'), join(node, 'node'), { recursive: true });
  cpSync(join(parts, 'npm'), join(node, 'npm'), { recursive: true });
  cpSync(join(parts, 'ca.crt'), join(node, 'ca.crt'));
  writeFileSync(join(node, 'Dockerfile'), NODE_IMAGE);
  await build('node:24-bookworm-slim', node);

  const cli = join(folder, 'docker-image');
  mkdirSync(cli);
  cpSync(join(parts, 'engine/usr/bin/docker'), join(cli, 'docker'));
  writeFileSync(join(cli, 'docker-compose'), COMPOSE_PLUGIN, { mode: 0o755 });
  writeFileSync(join(cli, 'Dockerfile'), DOCKER_IMAGE);
  await build('docker:28-cli', cli);
}
