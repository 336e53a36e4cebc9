/** What tells a program that runs for long to stop. */

/** SIGTERM and SIGINT; and SIGHUP, as a closed terminal is no reason to leave work half done. */
export function listenToSignals() {
  let onAnother = (): void => {};
  const first = new Promise<NodeJS.Signals>((resolve) => {
    let stopping = false;
    for (const name of ['SIGTERM', 'SIGINT', 'SIGHUP'] as const) {
      process.on(name, (signal) => {
        if (stopping) onAnother();
        stopping = true;
        resolve(signal);
      });
    }
  });
  return {
    /** The first signal that comes. */
    first,
    /** What is done at every later one. */
    onAnother(action: () => void): void {
      onAnother = action;
    },
  };
}
