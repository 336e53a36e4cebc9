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

Each number is measured against a named peer or bound in the same run, in turn, because the machine and its load differ
from run to run while ratios hold. A cell is the median, with the least and the most in parentheses. The program under
test is the built one, a child process like any other; all traffic stays on the loopback interface. This was a machine
with ${availableParallelism()} cores and Node ${process.versions.node}, which the server, its peer and the load share. Its load average before
the run was ${loadBefore.toFixed(1)}: everything else that ran slows the server, with its second thread and its fsyncs, more than its peers.

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
