/** Writes the text of docs/benchmarks.md. */

import { readFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { PROJECT_ROOT } from '../../e2e/support/project-root.ts';
import type { Bench, Row } from '../bench.ts';

/** The text has no date, host or path, so that it depends only on the kind of machine. */
export function benchmarksDocument(sections: readonly string[], loadBefore: number): string {
  return `# Benchmarks

<!-- Written by \`npm run bench\`. -->

Each number is compared with a named peer or bound that is measured in turn with it, in the same run. The machine and its
load differ from run to run, but the ratios stay the same. A cell shows the median, with the lowest and the highest value
in parentheses. The tested program is the bundle, which runs as a child process, and all traffic stays on the loopback
interface. The machine had ${availableParallelism()} cores and Node ${process.versions.node}. The server, its peer and the load shared them. The load
average before the run was ${loadBefore.toFixed(1)}. Other work on the machine slows the server more than its peers, because the
server has a second thread and waits for fsyncs.

${sections.join('\n\n')}

${readFileSync(join(PROJECT_ROOT, 'bench/aims.md'), 'utf8')}`;
}

/** Returns a heading, the method of the measurement, and the table. */
export function benchSection({ name, method }: Bench, rows: readonly Row[]): string {
  const lines = rows.map(({ measured, ours, bound = '', ratio = '', aim = '', met }) =>
    line([measured, ours, bound, ratio, aim, met === undefined ? '' : met ? 'met' : '**missed**']),
  );
  const heading = line(['Measured', 'iac-runner', 'Peer or bound', 'Ratio', 'Aim', '']);
  return `## ${name}\n\n${method}\n\n${heading}\n${line(Array(6).fill('---'))}\n${lines.join('\n')}`;
}

function line(cells: readonly string[]): string {
  return `| ${cells.join(' | ')} |`;
}
