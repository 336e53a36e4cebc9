/** The rules of the house that a machine can check: who imports whom, no cycles, and a truthful map. */

import { existsSync, readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import fastGlob from 'fast-glob';
import { describe, expect, it } from 'vitest';
import { ROUTES } from './web/api/described-routes.ts';

/** Lowest first. A room imports from lower levels and from itself, never upwards and never from a sibling. */
const LEVELS = [
  ['program-files', 'units'],
  [
    'errors',
    'event-loop',
    'forget-first',
    'loop',
    'parse-json',
    'steady-clock',
    'sync-window',
    'version',
    'yaml-file',
  ],
  ['nearest-name'],
  ['config', 'runs', 'process', 'make-folder'],
  ['stores', 'github', 'git', 'executor'],
  ['isolation', 'reporters'],
  ['pipelines', 'triggers'],
  ['worker', 'web'],
  ['jobs'],
  ['wiring'],
  ['commands'],
  ['cli'],
];

/** The modules that only one room may import. */
const ONLY_IN: [module: string, room: string][] = [
  ['execa', 'process'],
  ['node:child_process', 'process'],
  ['node:sqlite', 'stores'],
  ['proper-lockfile', 'pipelines'],
  ['@octokit/rest', 'github'],
  ['@octokit/webhooks', 'triggers'],
  ['pg', 'stores'],
  ['ioredis', 'jobs'],
];

/** These files outside runs/kinds/ are about one kind of run only, or tell those apart that they are about. */
const ABOUT_ONE_KIND = [
  'web/deployments/deploy-routes.ts',
  'web/metrics/deploy-metrics.ts',
  'reporters/notifications/deploy-event-source.ts',
  'reporters/notifications/notification-source.ts',
];

/** Code that decides by the kind of a run. The kinds of other things have other names. */
const KIND = '[\'"`](?:sync|preview|deploy|plan|command)[\'"`]';
const BY_KIND = new RegExp(
  [
    `\\bkind\\)? [=!]== ${KIND}`,
    `${KIND} [=!]== (?:\\w+\\.)*kind\\b`,
    `\\bcase ${KIND}:`,
    `${KIND}[^\\n]*\\]\\.includes\\((?:\\w+\\.)*kind\\)`,
    'switch \\((?:run|request)\\.kind\\)',
    'Record<RunKind\\b',
  ].join('|'),
);

/** A statement in SQL. */
const SQL = /\b(?:SELECT\s[^;]*\sFROM|INSERT INTO|UPDATE\s+\w+\s+SET|DELETE FROM|CREATE TABLE)\b/;

/** Reading the environment of this process, also by taking it apart. */
const ENVIRONMENT =
  /\bprocess\.env\b|\benv\b[^;{}]*\}\s*=\s*process\b|\bimport\s*\{[^}]*\benv\b[^}]*\}\s*from 'node:process'/;

function textOf(file: string): string {
  return readFileSync(path.join(source, file), 'utf8');
}

function withoutComments(text: string): string {
  return text.replace(/\/\*[\s\S]*?\*\//g, '').replace(/^\s*\/\/.*$/gm, '');
}

const source = import.meta.dirname;
const files = fastGlob
  .sync('**/*.ts', { cwd: source })
  .filter((file) => !/\.(test|fixture|fixtures)\.ts$|test-support|-contract\.ts$/.test(file));

function roomOf(file: string): string {
  return file.split('/')[0]?.replace(/\.ts$/, '') ?? '';
}

function levelOf(room: string): number {
  return LEVELS.findIndex((rooms) => rooms.includes(room));
}

/** Specifiers of static and dynamic imports and re-exports, types included. */
function importsOf(file: string): string[] {
  const text = textOf(file);
  return [...text.matchAll(/(?<!')\b(?:from|import)\s*\(?\s*'([^']+)'/g)].map(
    ([, specifier]) => specifier ?? '',
  );
}

function localImports(file: string): string[] {
  return importsOf(file)
    .filter((specifier) => specifier.startsWith('.'))
    .map((specifier) => path.posix.join(path.posix.dirname(file), specifier))
    .filter((target) => !target.startsWith('..'));
}

describe('The description of the interface', () => {
  /** The styles and scripts of the pages. */
  const UNDESCRIBED = /^get \/assets\//;

  it('names every address, and no other', () => {
    const pattern = /\b(?:app|routes)\.(get|post|delete)\(\s*'([^']+)'/g;
    const found = files
      .filter((file) => /^(?:web|jobs)\//.test(file))
      .flatMap((file) => [...textOf(file).matchAll(pattern)])
      .map(
        ([, method, address = '']) => `${method} ${address.replace(/:(\w+)(?:\{.*?\}+)?(?=\/|$)/g, '{$1}')}`,
      )
      .filter((operation) => !UNDESCRIBED.test(operation));
    const described = ROUTES.map(({ method, path: address }) => `${method} ${address}`);
    // The addresses of these actions are in a table of their own.
    const actions = ['approve', 'reject', 'cancel'].map((action) => `post /deploy/{id}/${action}`);
    expect([...new Set([...found, ...actions])].sort()).toEqual(described.toSorted());
  });
});

describe('Routes that change something', () => {
  /** These note what is done by themselves. */
  const OTHERS = ['/login', '/logout'];

  it('stand behind a guard, which asks who it is and notes it in the audit log', () => {
    const routes = files
      .filter((file) => file.startsWith('web/'))
      .flatMap((file) => [
        ...textOf(file).matchAll(/\broutes\.(?:post|put|patch|delete)\(\s*('[^']*'|\w+),\s*(\w+)/g),
      ])
      .map(([, address = '', guard = '']) => ({ address: address.replaceAll("'", ''), guard }));
    expect(routes.length).toBeGreaterThan(10);
    const guards = ['operator', 'admin', 'mayOperate', 'mayAct', 'mayApprove', 'viewer', 'guard'];
    expect(
      routes.filter(({ address, guard }) => !guards.includes(guard) && !OTHERS.includes(address)),
    ).toEqual([]);
  });
});

describe('The rooms', () => {
  it('are all on the map of levels', () => {
    expect([...new Set(files.map(roomOf))].filter((room) => levelOf(room) === -1)).toEqual([]);
  });

  it('import only from lower levels and from themselves', () => {
    const wrong = files.flatMap((file) =>
      localImports(file)
        .filter((target) => roomOf(target) !== roomOf(file))
        .filter((target) => levelOf(roomOf(target)) >= levelOf(roomOf(file)))
        .map((target) => `${file} → ${target}`),
    );
    expect(wrong).toEqual([]);
  });

  it('have no cycles between their files', () => {
    const done = new Set<string>();
    const cycles: string[] = [];
    function visit(file: string, trail: string[]): void {
      if (trail.includes(file)) {
        cycles.push([...trail.slice(trail.indexOf(file)), file].join(' → '));
        return;
      }
      if (done.has(file)) return;
      for (const target of localImports(file)) visit(target, [...trail, file]);
      done.add(file);
    }
    for (const file of files) visit(file, []);
    expect(cycles).toEqual([]);
  });

  it('keep what belongs to one of them there', () => {
    const wrong = files.flatMap((file) =>
      importsOf(file).flatMap((specifier) =>
        ONLY_IN.filter(
          ([module, room]) => module === specifier && !room.split('|').includes(roomOf(file)),
        ).map(() => `${file} imports ${specifier}`),
      ),
    );
    expect(wrong).toEqual([]);
  });

  it('decide by the kind of a run only in runs/kinds/ and in what is about one kind', () => {
    const deciding = files.filter((file) => BY_KIND.test(textOf(file)));
    const elsewhere = deciding.filter((file) => !file.startsWith('runs/kinds/'));
    expect(elsewhere.sort()).toEqual(ABOUT_ONE_KIND.toSorted());
  });

  it('hold at most 15 files in a folder', () => {
    const folders = Map.groupBy(files, (file) => path.dirname(file));
    const full = [...folders].filter(([, { length }]) => length > 15);
    expect(full.map(([folder, { length }]) => `${folder}: ${length}`)).toEqual([]);
  });

  it('hold at most 250 lines in a file', () => {
    const lengths = files.map((file) => {
      const lines = textOf(file).trimEnd().split('\n');
      return { file, lines: lines.length };
    });
    expect(lengths.filter(({ lines }) => lines > 250)).toEqual([]);
  });

  it('leave the domain free of I/O', () => {
    const runs = files.filter((file) => roomOf(file) === 'runs');
    expect(runs.flatMap(importsOf).filter((specifier) => !specifier.startsWith('.'))).toEqual([]);
  });

  it('read the environment in config.ts only', () => {
    const readers = files.filter((file) => ENVIRONMENT.test(withoutComments(textOf(file))));
    expect(readers).toEqual(['config.ts']);
  });

  it('write SQL in stores/ only, where the statements do not know the database', () => {
    const elsewhere = files.filter((file) => SQL.test(withoutComments(textOf(file))));
    expect(elsewhere.filter((file) => !file.startsWith('stores/'))).toEqual([]);
    const statements = files.filter((file) => file.startsWith('stores/sql/'));
    const drivers = statements
      .flatMap(localImports)
      .filter((file) => /^stores\/(?:sqlite|postgres)\//.test(file));
    expect(drivers).toEqual([]);
  });

  it('read their own path in program-files.ts only, because the build moves their code to other files', () => {
    const readers = files.filter((file) => /import\.meta\./.test(textOf(file)));
    expect(readers).toEqual(['program-files.ts']);
  });

  it('begin each file with a sentence on its job', () => {
    const silent = files.filter((file) => !/^(#!.*\n)?\/\*\*/.test(textOf(file)));
    expect(silent).toEqual([]);
  });
});

describe('The map in the README', () => {
  it('names exactly the folders that exist', () => {
    const readme = path.join(source, '..', 'README.md');
    expect(existsSync(readme)).toBe(true);
    const named = [...readFileSync(readme, 'utf8').matchAll(/^\s*`?src\/([a-z-]+)\/`?/gm)].map(
      ([, name]) => name,
    );
    const folders = readdirSync(source, { withFileTypes: true })
      .filter((entry) => entry.isDirectory())
      .map(({ name }) => name);
    expect(named.sort()).toEqual(folders.sort());
  });

  it('and the picture of a push name only places that exist', () => {
    const text = readFileSync(path.join(source, '..', 'README.md'), 'utf8');
    const [picture = ''] = /## The way of a push\n([\s\S]*?)\n## /.exec(text) ?? [];
    const rooms = picture.match(
      /(?<![\w/])(?:web|stores|worker|executor|reporters|(?:git|runs|triggers|pipelines)\/[a-z-]+)\b/g,
    );
    const places = (rooms ?? []).map((place) => path.join(source, place));
    expect(places.length).toBeGreaterThan(8);
    expect(places.filter((place) => !existsSync(place) && !existsSync(`${place}.ts`))).toEqual([]);
  });
});
