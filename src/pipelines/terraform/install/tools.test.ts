import { mkdirSync, symlinkSync } from 'node:fs';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { createLocalExecutor } from '../../../executor/local.ts';
import { temporaryFolder, terraformOrSkip, writeTree } from '../terraform.fixture.ts';
import { checkTool, findTool, listTools, type ToolPlaces } from './tools.ts';

function says(text: string): string {
  return `#!/bin/sh\ncat <<'END'\n${text}\nEND\n`;
}

function installed(): ToolPlaces & { toolsDir: string; bin: string } {
  const folder = temporaryFolder();
  const toolsDir = path.join(folder, 'tools');
  const bin = path.join(folder, 'bin');
  writeTree(folder, {
    'bin/tofu': says('{"terraform_version":"1.10.0"}'),
    'tools/terraform/1.9.8/terraform': says('{"terraform_version":"1.9.8"}'),
    'tools/terraform/1.11.4/terraform': says('{"terraform_version":"1.11.4"}'),
    'tools/terraform/1.12.0-beta1/terraform': says('{"terraform_version":"1.12.0"}'),
    'tools/terraform/2.0.0/terraform': 'not executable',
    'tools/terraform/README': '',
    'tools/tofu/3.0.0/terraform': says(''),
    terraform: says(''),
  });
  mkdirSync(path.join(toolsDir, 'terraform/4.0.0'), { recursive: true });
  symlinkSync(path.join(folder, 'terraform'), path.join(toolsDir, 'terraform/4.0.0/terraform'));
  return { path: `bin::.:${bin}`, toolsDir, bin };
}

describe('Finding a tool', () => {
  it('takes the tool on the PATH if there is no version, from absolute folders only', async () => {
    const { bin, ...places } = installed();
    expect(await findTool(places, 'tofu', null)).toEqual({ ok: true, program: path.join(bin, 'tofu') });
    expect(await findTool({ ...places, path: 'bin::.' }, 'tofu', null)).toMatchObject({ ok: false });
  });

  it('takes the requested version', async () => {
    const places = installed();
    const program = path.join(places.toolsDir, 'terraform/1.9.8/terraform');
    expect(await findTool(places, 'terraform', '1.9.8')).toEqual({ ok: true, program });
  });

  it('lists the installed versions if the requested one is missing', async () => {
    const places = installed();
    expect(await findTool(places, 'terraform', '1.5.0')).toEqual({
      ok: false,
      problem: 'terraform "1.5.0" is not installed. Installed: 1.9.8, 1.11.4, 1.12.0-beta1.',
    });
    expect(await findTool(places, 'tofu', '1.5.0')).toMatchObject({
      problem: 'tofu "1.5.0" is not installed. No version of tofu is installed.',
    });
    expect(await findTool({ path: places.bin, toolsDir: null }, 'terraform', null)).toMatchObject({
      problem: expect.stringContaining('not on the PATH of the server. TOOLS_DIR is not set'),
    });
  });

  it.each([
    '',
    '..',
    '../terraform/1.9.8',
    '1.9.8/../1.9.8',
    '/1',
    '-1',
    '2.0.0',
    '4.0.0',
    'README',
    '1'.repeat(65),
  ])('F35: refuses the version %j', async (version) => {
    expect(await findTool(installed(), 'terraform', version)).toMatchObject({ ok: false });
  });
});

describe('Listing and checking', () => {
  it('lists the versions in order, and which of them are broken', async () => {
    const places = installed();
    const executor = createLocalExecutor();
    const tools = await listTools(places);
    const checked = await Promise.all(
      tools.map(async (tool) => [tool.tool, tool.version, await checkTool(executor, tool)]),
    );
    expect(checked).toEqual([
      ['terraform', '1.9.8', { ok: true, version: '1.9.8' }],
      ['terraform', '1.11.4', { ok: true, version: '1.11.4' }],
      ['terraform', '1.12.0-beta1', { ok: false, problem: 'it says that it is 1.12.0' }],
      ['tofu', null, { ok: true, version: '1.10.0' }],
    ]);
  });

  it.each<[program: string, problem: string]>([
    [says('Terraform v1'), 'version -json printed no version'],
    ['#!/bin/sh\nexit 3\n', 'version -json ended with exit code 3'],
    ['#!/no/such/interpreter\n', 'was not found'],
  ])('reports the problem of %j', async (text, problem) => {
    const folder = temporaryFolder();
    writeTree(folder, { tool: text });
    const tool = { tool: 'tofu', version: null, program: path.join(folder, 'tool') } as const;
    expect(await checkTool(createLocalExecutor(), tool)).toEqual({
      ok: false,
      problem: expect.stringContaining(problem),
    });
  });

  it('understands a real terraform', async (context) => {
    const program = await terraformOrSkip(context);
    const checked = await checkTool(createLocalExecutor(), { tool: 'terraform', version: null, program });
    expect(checked).toEqual({ ok: true, version: expect.stringMatching(/^\d+\.\d+\.\d+/) });
  });
});
