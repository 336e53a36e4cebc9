import { describe, expect, it } from 'vitest';
import { GitError, RunnerError } from '../../errors.ts';
import { checkRemoteUrl, type RemoteUrl } from '../../runs/texts/remote-url.ts';
import { pinHost, publicAddresses } from './resolve-host.ts';

function remoteUrl(text: string, hosts: string[] = []): RemoteUrl {
  const checked = checkRemoteUrl(text, {
    protocols: ['https', 'http', 'ssh', 'git'],
    hosts,
    what: 'git_url',
  });
  if (!checked.ok) throw new Error(checked.problem);
  return checked;
}

function answers(...addresses: string[]) {
  return async () => addresses;
}

async function unknownName(): Promise<string[]> {
  throw Object.assign(new Error('not found'), { code: 'ENOTFOUND' });
}

describe('pinHost', () => {
  it('makes git use only the addresses that were checked', async () => {
    const lookup = answers('8.8.8.8', '2001:4860:4860::8888');
    const https = await pinHost(remoteUrl('https://git.example.com/r'), { network: {}, lookup });
    expect(https.settings).toEqual([
      ['http.curloptResolve', 'git.example.com:443:8.8.8.8,[2001:4860:4860::8888]'],
    ]);
    const other = await pinHost(remoteUrl('http://git.example.com:8080/r'), { network: {}, lookup });
    expect(other.settings[0]?.[1]).toMatch(/^git\.example\.com:8080:/);
    const ssh = await pinHost(remoteUrl('git@git.example.com:r'), { network: {}, lookup });
    expect(ssh).toEqual({ settings: [], address: '8.8.8.8', proxyOnly: false });
  });

  it.each(['127.0.0.1', '::1', '10.0.0.1', '169.254.169.254', '::ffff:192.168.0.1', 'fe80::1%eth0'])(
    'refuses a name that has the address %s, even among others',
    async (address) => {
      const lookup = answers('8.8.8.8', address);
      await expect(pinHost(remoteUrl('https://git.example.com/r'), { network: {}, lookup })).rejects.toThrow(
        RunnerError,
      );
    },
  );

  it('does not look up listed hosts and addresses', async () => {
    const lookup = answers('127.0.0.1');
    for (const remote of [
      remoteUrl('https://git.internal/r', ['git.internal']),
      remoteUrl('https://8.8.8.8/r'),
    ]) {
      expect(await pinHost(remote, { network: {}, lookup })).toMatchObject({ settings: [], address: null });
    }
  });

  it('leaves names that are unknown here to a proxy, if there is one', async () => {
    const remote = remoteUrl('https://git.example.com/r');
    const through = (network: Record<string, string>) => pinHost(remote, { network, lookup: unknownName });
    expect(await through({ HTTPS_PROXY: 'http://proxy:3128' })).toMatchObject({ proxyOnly: true });
    await expect(through({})).rejects.toThrow(GitError);
    await expect(through({ HTTP_PROXY: 'http://proxy:3128' })).rejects.toThrow('ENOTFOUND');
  });

  it('refuses the git protocol, which cannot be held to an address', async () => {
    const remote = remoteUrl('git://git.example.com/r');
    await expect(pinHost(remote, { network: {}, lookup: answers('8.8.8.8') })).rejects.toThrow(
      'git protocol',
    );
  });
});

describe('publicAddresses', () => {
  it('gives up at the signal', async () => {
    const signal = AbortSignal.abort(new Error('cancelled'));
    const never = () => new Promise<string[]>(() => undefined);
    await expect(publicAddresses('git.example.com', { lookup: never, signal })).rejects.toThrow('cancelled');
  });

  it('takes an address as it is', async () => {
    expect(await publicAddresses('[2606:4700::1]')).toEqual(['2606:4700::1']);
    await expect(publicAddresses('127.0.0.1')).rejects.toThrow('not a public one');
  });

  it('reports that a name without an address was not found', async () => {
    await expect(publicAddresses('git.example.com', { lookup: answers() })).rejects.toThrow(
      'The host git.example.com was not found: it has no address.',
    );
  });
});
