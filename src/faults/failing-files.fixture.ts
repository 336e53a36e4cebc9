/**
 * The real node:fs/promises, of which one call fails. A test puts it in the place of the module, for all parts:
 * `vi.mock('node:fs/promises', async (load) => failingFiles(await load()))`.
 */

interface Fault {
  /** The number of the call that fails, counted from 1. */
  call: number;
  /** The system error, such as ENOSPC. */
  code: string;
  /** Counts only calls about paths that begin like this; left out: all. */
  below?: string;
  /** Happens before the call, which does not fail then. */
  meanwhile?: () => Promise<void>;
}

let counting: (Fault & { calls: number; failed: string | null }) | null = null;

export function failingFiles(real: object): object {
  const wrapped = Object.entries(real).map(([name, value]) =>
    typeof value === 'function' ? [name, counted(name, value)] : [name, value],
  );
  return Object.fromEntries(wrapped);
}

/** Lets one call fail while `work` runs. Resolves to the call that failed; null when there were fewer. */
export async function whileCallFails(fault: Fault, work: () => Promise<void>): Promise<string | null> {
  const count = { ...fault, calls: 0, failed: null };
  counting = count;
  try {
    await work();
  } finally {
    counting = null;
  }
  return count.failed;
}

function counted(name: string, call: (...args: unknown[]) => unknown) {
  return (...args: unknown[]): unknown => {
    if (!counting || !String(args[0]).startsWith(counting.below ?? '')) return call(...args);
    counting.calls += 1;
    if (counting.calls !== counting.call) return call(...args);
    counting.failed = `${name} ${String(args[0])}`;
    const { code, meanwhile } = counting;
    if (meanwhile) return meanwhile().then(() => call(...args));
    const message = `${code}: a fault of the test, ${name} '${String(args[0])}'`;
    return Promise.reject(Object.assign(new Error(message), { code, syscall: name, path: args[0] }));
  };
}
