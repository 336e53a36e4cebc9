/** Pushes a commit, waits for its run, and collects the answer, the run, its explanation and the journal. */

import { z } from 'zod';
import { syncedAt } from './platform-services.ts';
import { acceptedRun } from './run-actions.ts';
import type { DetailedRun } from './runner-client.ts';
import type { SharedStage } from './shared-stage.ts';

const whySchema = z.object({
  notes: z.array(z.string()),
  services: z.array(
    z.object({ service: z.string(), decision: z.string(), because: z.string(), paths: z.array(z.string()) }),
  ),
});

export interface InspectedPush {
  commit: string;
  /** The services in the answer. */
  announced: string[];
  run: DetailedRun;
  why: z.infer<typeof whySchema>;
  /** The services that the journal shows at the commit. */
  ran: string[];
}

/** Pushes the commit, which must be accepted, and waits for the end of its run. */
export async function pushAndInspect(
  { stage, runner }: SharedStage,
  state = 'succeeded',
): Promise<InspectedPush> {
  const commit = await stage.repository.head();
  const delivery = await stage.push(runner);
  const run = await runner.waitForRun(acceptedRun(delivery), state);
  const { services: announced } = z.object({ services: z.array(z.string()) }).parse(delivery.body);
  return {
    commit,
    announced,
    run,
    why: whySchema.parse(run.why),
    ran: await syncedAt(stage.journal, commit),
  };
}

/** Restores the branch as it was at this commit, so that the next test finds the usual services. */
export async function restore(shared: SharedStage, commit: string): Promise<void> {
  const { repository } = shared.stage;
  await repository.git('rm', '--quiet', '-r', '--', '.');
  await repository.git('checkout', '--quiet', commit, '--', '.');
  await repository.commit('As it was');
  await pushAndInspect(shared, 'final');
}
