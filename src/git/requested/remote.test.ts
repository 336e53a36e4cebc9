import { describe, expect, it } from 'vitest';
import { ConfigError } from '../../errors.ts';
import { parseRemote } from './remote.ts';

describe('parseRemote', () => {
  it.each([
    ['https://github.com/o/r.git', 'https', 'https://github.com/o/r.git'],
    ['HTTPS://GitHub.com/o/r.git', 'https', 'https://github.com/o/r.git'],
    ['http://127.0.0.1:8080/r.git', 'http', 'http://127.0.0.1:8080/r.git'],
    ['ssh://git@github.com/o/r.git', 'ssh', 'ssh://git@github.com/o/r.git'],
    ['git@github.com:o/r.git', 'ssh', 'git@github.com:o/r.git'],
    ['git://host/r.git', 'git', 'git://host/r.git'],
    ['file:///srv/r.git', 'file', 'file:///srv/r.git'],
    ['/srv/r.git', 'file', '/srv/r.git'],
    ['/srv/a:b.git', 'file', '/srv/a:b.git'],
  ])('reads %s as %s', (url, protocol, clean) => {
    expect(parseRemote({ url, token: null })).toMatchObject({ protocol, url: clean, credential: null });
  });

  it.each([
    '--upload-pack=touch X',
    '-oProxyCommand=x',
    'ext::sh -c "touch X"',
    'EXT::sh -c x',
    'fd::7',
    'foo::bar',
    'ftp://host/r.git',
    'https://host/r.git\nevil',
    'https://bad host:x/',
    '',
  ])('F36: refuses %j', (url) => {
    expect(() => parseRemote({ url, token: null })).toThrow(ConfigError);
  });

  it('takes the user information out of the URL and into a header for that host alone', () => {
    const remote = parseRemote({ url: 'https://bot:p%40ss@github.com:8443/o/r.git', token: 'ghp_other' });
    expect(remote.url).toBe('https://github.com:8443/o/r.git');
    expect(remote.credential).toEqual({
      key: 'http.https://github.com:8443/.extraHeader',
      value: `Authorization: Basic ${Buffer.from('bot:p@ss').toString('base64')}`,
    });
  });

  it('uses the token for https, and for http on loopback only', () => {
    const basic = `Authorization: Basic ${Buffer.from('x-access-token:ghp_1').toString('base64')}`;
    const credential = (url: string) => parseRemote({ url, token: 'ghp_1' }).credential?.value;
    expect(credential('https://github.com/o/r')).toBe(basic);
    expect(credential('http://localhost:80/o/r')).toBe(basic);
    expect(credential('http://[::1]:80/o/r')).toBe(basic);
    expect(credential('http://example.com/o/r')).toBeUndefined();
    expect(credential('ssh://git@github.com/o/r')).toBeUndefined();
  });

  it('refuses a password that would travel unencrypted, without repeating it', () => {
    expect(() => parseRemote({ url: 'http://bot:hunter22@example.com/r', token: null })).toThrow(
      /^(?!.*hunter22)/,
    );
  });

  it('cleans secrets in every spelling from a text', () => {
    const { clean } = parseRemote({ url: 'https://bot:p%40ss@github.com/o/r.git', token: 'ghp_1' });
    const basic = Buffer.from('bot:p@ss').toString('base64');
    const dirty = `p@ss p%40ss ghp_1 ${basic} https://bot:p%40ss@github.com ssh://git@host/x`;
    expect(clean(dirty)).toBe('*** *** *** *** https://github.com ssh://host/x');
  });

  it('hides a token that stands as the user name', () => {
    const { clean, url } = parseRemote({ url: 'https://ghp_lonely123@github.com/o/r.git', token: null });
    expect(url).toBe('https://github.com/o/r.git');
    expect(clean('bad ghp_lonely123')).toBe('bad ***');
  });
});
