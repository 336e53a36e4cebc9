/** The log of a chaos run, for a person to read. */

export interface Story {
  add(event: string): void;
  text(): string;
}

/** Times are seconds since this moment. */
export function createStory(): Story {
  const startedAt = performance.now();
  const lines: string[] = [];
  return {
    add(event) {
      const seconds = ((performance.now() - startedAt) / 1_000).toFixed(3).padStart(9);
      lines.push(`${seconds}  ${event}`);
    },
    text: () => `${lines.join('\n')}\n`,
  };
}
