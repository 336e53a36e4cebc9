/** Starts the notifications about syncs and deployments. */

import type { Logger } from 'pino';
import type { Config } from '../config.ts';
import { ConfigError } from '../errors.ts';
import { startEventSender } from '../reporters/notifications/event-sender.ts';
import { createChatWebhook, createEventWebhook } from '../reporters/notifications/event-webhook-client.ts';
import { createNotificationSource } from '../reporters/notifications/notification-source.ts';
import type { RunStore } from '../runs/run-store.ts';
import { DEFAULT_ENVIRONMENT } from '../runs/sync/hold.ts';
import { VERSION } from '../version.ts';

/** Later notifications wait for an earlier one, so one that the receiver calls wrong is given up after about a minute. */
const TRIES_OF_WRONG = 5;

/** Throws ConfigError if a rule names an environment that there is not. Without rules every run is settled at once, so that a rule of tomorrow is not about the runs of today. */
export function startNotifications(
  { notify, repositories, remotes: rules }: Config,
  store: RunStore,
  runUrl: (runId: string) => string,
  loop: { log: Logger; onFailure(error: unknown): void },
): () => Promise<void> {
  requireEnvironments(notify, repositories);
  const source = createNotificationSource({
    store,
    rules: notify,
    repository: repositories[0]?.name ?? '',
    runUrl,
    sendBy: ({ secret }) =>
      secret === null
        ? createChatWebhook({ version: VERSION, maxTriesOfWrong: TRIES_OF_WRONG })
        : createEventWebhook({ secret, rules, version: VERSION, maxTriesOfWrong: TRIES_OF_WRONG }),
  });
  const sender = startEventSender({ store, source, ...loop });
  return () => sender.stop();
}

function requireEnvironments(notify: Config['notify'], repositories: Config['repositories']): void {
  const known = repositories.flatMap(({ environments }) =>
    environments.map(({ name }) => name ?? DEFAULT_ENVIRONMENT),
  );
  const problems = notify.flatMap(({ environments }, index) =>
    (environments ?? []).flatMap((name, place) =>
      known.includes(name)
        ? []
        : [
            `CONFIG_FILE, notify.${index}.environments.${place}: expected one of ${known.join(', ')}, not ${name}`,
          ],
    ),
  );
  if (problems.length > 0) throw new ConfigError(problems.join('\n'));
}
