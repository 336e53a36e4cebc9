import { describe, expect, it } from 'vitest';
import { checkRemoteUrl, type RemoteUrlRules } from './remote-url.ts';

const PUBLIC: RemoteUrlRules = { protocols: ['https', 'ssh'], hosts: [], what: 'git_url' };

function listed(hosts: string[], protocols = ['https', 'ssh', 'http', 'git', 'file']): RemoteUrlRules {
  return { protocols, hosts, what: 'git_url' };
}

function problemOf(text: string, rules = PUBLIC): string {
  const checked = checkRemoteUrl(text, rules);
  return checked.ok ? '' : checked.problem;
}

describe('checkRemoteUrl', () => {
  it.each([
    ['https://github.com/o/r.git', 'https://github.com/o/r.git', 'github.com', 443],
    ['HTTPS://GitHub.com:443/o/r', 'https://github.com/o/r', 'github.com', 443],
    ['https://github.com./o/r', 'https://github.com/o/r', 'github.com', 443],
    ['https://git.example.com:8443/o/r?x=1', 'https://git.example.com:8443/o/r?x=1', 'git.example.com', 8443],
    ['https://8.8.8.8/r', 'https://8.8.8.8/r', '8.8.8.8', 443],
    ['https://134744072/r', 'https://8.8.8.8/r', '8.8.8.8', 443],
    ['ssh://git@GitHub.com/o/r.git', 'ssh://git@github.com/o/r.git', 'github.com', 22],
    ['ssh://git@github.com:22/~o/r', 'ssh://git@github.com/~o/r', 'github.com', 22],
    ['SSH://git.example.com:2222/r', 'ssh://git.example.com:2222/r', 'git.example.com', 2222],
    ['git@GitHub.com:o/r.git', 'git@github.com:o/r.git', 'github.com', 22],
    ['github.com:o/r.git', 'github.com:o/r.git', 'github.com', 22],
    ['git@[2606:4700::1]:o/r', 'git@[2606:4700::1]:o/r', '[2606:4700::1]', 22],
  ])('accepts %s', (text, url, host, port) => {
    expect(checkRemoteUrl(text, PUBLIC)).toMatchObject({
      ok: true,
      url,
      host,
      port,
      credentials: null,
      isListed: false,
    });
  });

  it('takes the user information out of an http(s) URL and keeps the user of an ssh one', () => {
    expect(checkRemoteUrl('https://bot:p%40ss@github.com/o/r', PUBLIC)).toMatchObject({
      url: 'https://github.com/o/r',
      credentials: { username: 'bot', password: 'p@ss' },
    });
    expect(checkRemoteUrl('https://token@github.com/o/r', PUBLIC)).toMatchObject({
      credentials: { username: 'token', password: '' },
    });
    expect(problemOf('ssh://git:secret@github.com/o/r')).toContain('password');
    expect(problemOf('ssh://git:secret@github.com/o/r')).not.toContain('secret');
  });

  it.each([
    '',
    '/srv/r.git',
    './r.git',
    '../r.git',
    'r.git',
    'file:///srv/r.git',
    'FILE:///srv/r.git',
    'http://github.com/o/r',
    'git://github.com/o/r',
    'ftp://github.com/o/r',
    'git+ssh://github.com/o/r',
    'ext::sh -c touch% X',
    'EXT::sh',
    'Ext::https://github.com/o/r',
    'fd::7',
    'https::https://github.com/o/r',
    'user@host::x',
    '--upload-pack=touch X',
    '-oProxyCommand=x',
    'ssh://-oProxyCommand=x/r',
    'ssh://-oProxyCommand=x@github.com/r',
    'ssh://%2doProxyCommand=x/r',
    '-oProxyCommand=x:r',
    '-x@github.com:r',
    'git@github.com:-r',
    '[git@github.com:2222]:r',
    'https://github.com/o/r\n',
    'https://github.com/o/r\tx',
    'https://github.com/o r',
    'https://github.com\\@evil.example/r',
    'https:///github.com/o/r',
    'https:/github.com/o/r',
    'https:github.com/o/r',
    'https://',
    'https://github.com/o/r#main',
    'https://git hub.com/r',
    'ssh://github.com/a%0ab',
    'ssh://github.com/r?x',
    "ssh://git'hub.com/r",
    'ssh://$(id).example.com/r',
    'https://\ud800.com/r',
    `https://github.com/${'x'.repeat(2048)}`,
  ])('F36: refuses %j', (text) => {
    expect(problemOf(text)).toMatch(/^git_url (has|is|must|begins|names) /);
  });

  it.each([
    'https://127.0.0.1/r',
    'https://127.1/r',
    'https://2130706433/r',
    'https://0x7f000001/r',
    'https://0x7f.0.0.1/r',
    'https://017700000001/r',
    'https://127.0.0.1./r',
    'https://[::1]/r',
    'https://[::ffff:127.0.0.1]/r',
    'https://[::ffff:7f00:1]/r',
    'https://[0:0:0:0:0:0:0:1]/r',
    'https://[64:ff9b::10.0.0.1]/r',
    'https://[2002:7f00:1::]/r',
    'https://[fd00::1]/r',
    'https://[fe80::1]/r',
    'https://169.254.169.254/latest',
    'https://10.1.2.3/r',
    'https://172.20.0.1/r',
    'https://192.168.0.1/r',
    'https://100.64.0.1/r',
    'https://0/r',
    'https://user@127.0.0.1/r',
    'https://github.com@127.0.0.1/r',
    'https://①②⑦.0.0.1/r',
    'https://localhost/r',
    'https://LOCALHOST./r',
    'https://a.localhost/r',
    'https://printer.local/r',
    'https://metadata.google.internal/r',
    'https://nas.home.arpa/r',
    'https://redis:6379/r',
    'https://vault/r',
    'ssh://git@2130706433/r',
    'ssh://git@0x7f.1/r',
    'ssh://git@[::1]/r',
    'ssh://git@%6c%6f%63alhost/r',
    'git@localhost:r',
    'git@127.1:r',
    'git@[::ffff:7f00:1]:r',
    'git@gitea:r',
    'C:/repositories/r',
  ])('refuses the private host of %s', (text) => {
    expect(problemOf(text)).toMatch(/which is not a public one|has no valid host/);
  });

  it('accepts nothing but the listed hosts when there are any, private ones too', () => {
    const rules = listed(['10.0.0.7:3000', 'Git.Internal', '[::1]:2222', '127.1']);
    for (const text of [
      'http://10.0.0.7:3000/r',
      'http://167772167:3000/r',
      'https://git.internal/r',
      'https://git.internal:8443/r',
      'git://git.internal/r',
      'ssh://git@[0::1]:2222/r',
      'git@127.0.0.1:r',
    ]) {
      expect(checkRemoteUrl(text, rules)).toMatchObject({ ok: true, isListed: true });
    }
    for (const text of [
      'http://10.0.0.7/r',
      'https://github.com/o/r',
      'https://x.git.internal/r',
      'ssh://[::1]/r',
    ]) {
      expect(problemOf(text, rules)).toContain('not one of those allowed');
    }
  });

  it('accepts a local repository only where file is listed', () => {
    expect(checkRemoteUrl('file:///srv/r.git', listed([]))).toMatchObject({
      ok: true,
      url: 'file:///srv/r.git',
    });
    for (const text of [
      '/srv/r.git',
      'file://',
      'file:///',
      'file://host/r.git',
      'file:///a%0ab',
      'file:r.git',
    ]) {
      expect(problemOf(text, listed([]))).not.toBe('');
    }
    expect(problemOf('file:///srv/r.git')).toBe(
      'git_url must be an absolute URL that begins with https:// or ssh://.',
    );
  });

  it('has no remote helper among the protocols, even when it is listed', () => {
    expect(problemOf('ext::sh', listed([], ['ext', 'https']))).not.toBe('');
    expect(problemOf('ext://sh', listed([], ['ext', 'https']))).not.toBe('');
  });
});
