/** What a write gives back. */

/** Its result, and the runs it changed, whose watchers are told after the commit. */
export interface Written<T> {
  result: T;
  changed: string[];
}
