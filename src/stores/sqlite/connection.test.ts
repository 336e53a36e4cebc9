import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { expect, it, onTestFinished, vi } from 'vitest';
import { StoreUnavailableError } from '../../errors.ts';
import { openConnection } from './connection.ts';

it('A connection that was closed is not used again, and leaves no timer that its thread would wait for', () => {
  const directory = mkdtempSync(path.join(tmpdir(), 'iac-connection-'));
  vi.useFakeTimers();
  onTestFinished(() => {
    vi.useRealTimers();
    rmSync(directory, { recursive: true });
  });
  const connection = openConnection(path.join(directory, 'iac-runner.db'));
  connection.written();
  expect(vi.getTimerCount()).toBe(1);
  connection.close();
  expect(() => connection.use()).toThrow(StoreUnavailableError);
  connection.written();
  expect(vi.getTimerCount()).toBe(0);
});
