/** The thread of run-in-thread.ts: calls one function and sends its result. */

import { parentPort, workerData } from 'node:worker_threads';
import type { ThreadAnswer, ThreadCall } from './run-in-thread.ts';

const call = workerData as ThreadCall;
parentPort?.postMessage(await answer());

async function answer(): Promise<ThreadAnswer> {
  try {
    const module: Record<string, (...values: readonly unknown[]) => unknown> = await import(call.module);
    return { ok: true, result: await module[call.function]?.(...call.arguments) };
  } catch (error) {
    return { ok: false, error: error instanceof Error ? (error.stack ?? error.message) : String(error) };
  }
}
