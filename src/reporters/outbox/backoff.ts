/** How long to wait after failures in a row. */

export const SECOND = 1_000;

/** The wait after the nth failure in a row: doubling up to the cap, and never shorter than what was asked for. */
export function backoffMs(firstMs: number, failures: number, capMs: number): number {
  return Math.max(firstMs, Math.min(capMs, firstMs * 2 ** (failures - 1)));
}
