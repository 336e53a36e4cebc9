/**
 * The real node:fs/promises, of which one call fails. A test puts it in the place of the module, for all parts:
 * `vi.mock('node:fs/promises', async (load) => failingFiles(await load()))`.
 */

interface Fault {
  calls: number;
  failing: number;
  code: string;
  failed: string | null;
}

let counting: Fault | null = null;

export function failingFiles(real: object): object {
  const wrapped = Object.entries(real).map(([name, value]) =>
    typeof value === 'function' ? [name, counted(name, value)] : [name, value],
  );
  return Object.fromEntries(wrapped);
}

/**
 * Lets the call with this number, counted from 1, fail with a system error while `work` runs. Resolves to the call that
 * failed; null when there were fewer.
 */
export async function whileCallFails(
  failing: number,
  code: string,
  work: () => Promise<void>,
): Promise<string | null> {
  const count: Fault = { calls: 0, failing, code, failed: null };
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
    if (!counting) return call(...args);
    counting.calls += 1;
    if (counting.calls !== counting.failing) return call(...args);
    counting.failed = `${name} ${String(args[0])}`;
    const { code } = counting;
    const message = `${code}: a fault of the test, ${name} '${String(args[0])}'`;
    return Promise.reject(Object.assign(new Error(message), { code, syscall: name, path: args[0] }));
  };
}
