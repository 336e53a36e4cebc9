/** Metrics in the text format of Prometheus, for numbers that something else has counted already. */

type Sample = [labels: string, value: number];

/** One metric. `samples` is its value, or a value for each set of labels, such as `{status="failed"}`. */
export function metricText(
  type: 'counter' | 'gauge',
  name: string,
  help: string,
  samples: number | Sample[],
): string {
  const list: Sample[] = typeof samples === 'number' ? [['', samples]] : samples;
  const lines = list.map(([labels, value]) => `${name}${labels} ${value}\n`);
  return `# HELP ${name} ${help}\n# TYPE ${name} ${type}\n${lines.join('')}`;
}
