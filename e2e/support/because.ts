/** Names in the title of a test why it is skipped. */

export function because(reason: string | null): string {
  return reason === null ? '' : ` (skipped: ${reason})`;
}
