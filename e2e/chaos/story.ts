/** The events of a chaos run as one readable account. */

export interface Story {
  tell(event: string): void;
  text(): string;
}

/** Times are seconds since this moment. */
export function createStory(): Story {
  const startedAt = performance.now();
  const lines: string[] = [];
  return {
    tell(event) {
      const seconds = ((performance.now() - startedAt) / 1_000).toFixed(3).padStart(9);
      lines.push(`${seconds}  ${event}`);
    },
    text: () => `${lines.join('\n')}\n`,
  };
}
