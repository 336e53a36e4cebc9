/** Adds the reason why a test is skipped to its title. */

export function because(reason: string | null): string {
  return reason === null ? '' : ` (skipped: ${reason})`;
}
