/** What ends a sleep early. A store wakes its reporters with every change, so this has to cost next to nothing. */

export interface WakeUp {
  /** True once `wake` was called. */
  readonly isDue: boolean;
  /** Resolves then. */
  due: Promise<void>;
  wake(): void;
}

/** Unlike the abort of a signal it makes no exception. */
export function createWakeUp(): WakeUp {
  const { promise, resolve } = Promise.withResolvers<void>();
  let isDue = false;
  return {
    get isDue() {
      return isDue;
    },
    due: promise,
    wake() {
      if (isDue) return;
      isDue = true;
      resolve();
    },
  };
}

/** Resolves after `ms`, or as soon as `until` is due. */
export async function sleepUntil(ms: number, until: WakeUp): Promise<void> {
  if (ms <= 0 || until.isDue) return;
  const { promise, resolve } = Promise.withResolvers<void>();
  const timer = setTimeout(resolve, ms);
  await Promise.race([promise, until.due]);
  clearTimeout(timer);
}
