import { describe, expect, it } from 'vitest';
import { flagFiles, flagSecrets, flagsProblem, givenValues, shownCommand, splitFlags } from './tool-flags.ts';

describe('Splitting flags', () => {
  it.each<[text: string, flags: string[]]>([
    ['', []],
    [' \t\n ', []],
    ['-a -b=c', ['-a', '-b=c']],
    ['-var "a=b c"  -x', ['-var', 'a=b c', '-x']],
    [`-var 'a="b"'`, ['-var', 'a="b"']],
    [`-var='list=["a","b"]'`, ['-var=list=["a","b"]']],
    [`-var 'a=it'\\''s'`, ['-var', "a=it's"]],
    ['a\\ b "c\\"d" "e\\\\f" "g\\h"', ['a b', 'c"d', 'e\\f', 'g\\h']],
    [`'a\\b'`, ['a\\b']],
    [`"" ''`, ['', '']],
    ['a""b', ['ab']],
    ['a\\\nb "c\\\nd"', ['ab', 'cd']],
    ['-var x=$HOME;id|cat&`id`>f*#~', ['-var', 'x=$HOME;id|cat&`id`>f*#~']],
    ['"$HOME" \\$x "\\$y"', ['$HOME', '$x', '$y']],
    ["'line\nline'", ['line\nline']],
    ['für →', ['für', '→']],
  ])('takes %j as a shell would, without being one', (text, flags) => {
    expect(splitFlags(text)).toEqual({ ok: true, flags });
  });

  it.each([['-var "a'], ["-var 'a"], ['-var a\\'], ['"a\\'], ['"a\\"'], ['a\0b']])('refuses %j', (text) => {
    expect(splitFlags(text)).toEqual({ ok: false, problem: expect.any(String) });
  });
});

describe('Flags of a request', () => {
  it.each<['init' | 'plan', string[]]>([
    ['init', []],
    ['init', ['-backend-config=bucket=b', '-backend-config', 'key=a/b', '-upgrade', '--reconfigure']],
    ['init', ['-backend-config=env/prod.hcl', '-backend=false', '-lockfile=readonly', '-no-color']],
    ['init', ['-input=false', '-lock-timeout=5m', '-lock-timeout', '5m']],
    ['plan', ['-var', 'a=b', '-var=c=-d', '--var', '-e=f', '-target=module.a', '-target', 'b["c d"]']],
    ['plan', ['-var-file=env/prod.tfvars', '--var-file', './a..b.tfvars', '-refresh=false', '-refresh-only']],
    ['plan', ['-parallelism=3', '-replace=a.b', '-compact-warnings', '-lock=F', '-exclude=a.b', '-input=0']],
  ])('are allowed: %s %j', (kind, flags) => {
    expect(flagsProblem(kind, flags)).toBe(null);
  });

  it.each<['init' | 'plan', string[]]>([
    ['plan', ['-chdir=/etc']],
    ['plan', ['-chdir', '/etc']],
    ['init', ['--chdir=/etc']],
    ['plan', ['-state=/tmp/x']],
    ['plan', ['--state', 'x']],
    ['plan', ['-state-out=x']],
    ['plan', ['-backup=x']],
    ['plan', ['-out=x']],
    ['plan', ['--out', 'x']],
    ['plan', ['-input']],
    ['plan', ['-input=true']],
    ['init', ['--input=1']],
    ['plan', ['-input', 'false']],
    ['plan', ['-auto-approve']],
    ['plan', ['-destroy']],
    ['plan', ['--destroy=true']],
    ['init', ['-from-module=x']],
    ['init', ['-plugin-dir=.']],
    ['init', ['-force-copy']],
    ['init', ['-migrate-state']],
    ['plan', ['-generate-config-out=x.tf']],
    ['plan', ['-json']],
    ['plan', ['-json-into=x']],
    ['plan', ['-show-sensitive']],
    ['plan', ['-detailed-exitcode']],
    ['plan', ['-help']],
    ['init', ['--help']],
    ['plan', ['-var', '-help']],
    ['plan', ['-var', '-h']],
    ['plan', ['tfplan']],
    ['plan', ['-refresh', 'false']],
    ['plan', ['--', '-out=x']],
    ['plan', ['-']],
    ['plan', ['']],
    ['plan', ['---var=a=b']],
    ['plan', ['-=x']],
    ['plan', ['-var']],
    ['plan', ['-OUT=x']],
    ['plan', ['-Var=a=b']],
    ['plan', ['-constructor=x']],
    ['plan', ['-upgrade']],
    ['init', ['-target=a']],
    ['plan', ['-lock=maybe']],
    ['plan', ['-var-file=/etc/passwd']],
    ['plan', ['-var-file', '../x']],
    ['plan', ['--var-file=a/../../x']],
    ['plan', ['-var-file=']],
    ['plan', ['-var-file=~/x']],
    ['init', ['-backend-config=/etc/x.hcl']],
    ['init', ['-backend-config', '../x.hcl']],
  ])('are refused, naming the first one: %s %j', (kind, flags) => {
    expect(flagsProblem(kind, flags)).toMatch(/^[-"].+/);
  });

  it('name the files that have to be in the checkout', () => {
    const flags = ['-var-file=a.tfvars', '-var', 'b=c', '-var-file', 'd/e.tfvars'];
    expect(flagFiles('plan', flags)).toEqual(['a.tfvars', 'd/e.tfvars']);
    expect(flagFiles('init', ['-backend-config=k=v', '-backend-config=f.hcl'])).toEqual(['f.hcl']);
  });

  it('F41: are shown without the values they assign', () => {
    const argv = [
      'terraform',
      'plan',
      '-var',
      'a=b',
      '-var=c=d=e',
      '--backend-config=k=v',
      '-target=x',
      '-var=q=',
    ];
    expect(shownCommand(argv)).toEqual([
      ...['terraform', 'plan', '-var', 'a=****', '-var=c=****'],
      ...['--backend-config=k=****', '-target=x', '-var=q='],
    ]);
    expect(
      flagSecrets([
        '-var',
        'db_password=p w',
        '-var=region=eu',
        '-backend-config=secret_key=s=k',
        '-var=key=path',
      ]),
    ).toEqual(['p w', 's=k']);
  });

  it('F41: give all their values, with the strings inside them, except plain numbers', () => {
    const given = givenValues({
      git: null,
      initFlags: ['-backend-config=bucket=bucket-canary', '-backend-config=of.hcl'],
      planFlags: [
        ...['-var', 'thing=plain canary', '-var=size=123456789', '-var=part=-1234.5678', '-var=none='],
        '-var=list=["one canary", "quoted \\"canary\\""]',
        '-var={"key canary":{"inner":"map canary"},x=["$${hcl} \\. canary"]}',
        '-target=a.b["target"]',
      ],
      environment: { TF_VAR_thing: '["environment canary"]', AWS_REGION: 'eu-central-1' },
    });
    expect(given).toEqual([
      'bucket-canary',
      'plain canary',
      ...['["one canary", "quoted \\"canary\\""]', 'one canary', 'quoted "canary"'],
      ...['["$${hcl} \\. canary"]}', '$${hcl} \\. canary'],
      ...['["environment canary"]', 'environment canary'],
    ]);
  });
});
