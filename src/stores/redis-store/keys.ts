/** The names of everything the store keeps in Redis. */

/** Numbers in members sort as text, so they have as many digits as any. */
export const DIGITS = 16;

/** Stand in a write for the number that its commit gives out: of the one new run, of the one new delivery. */
export const NEW_RUN = '\0number:run';
export const NEW_DELIVERY = '\0number:delivery';

export type Keys = ReturnType<typeof createKeys>;

/** `prefix` stands before each name, e.g. `iac-runner:`. */
export function createKeys(prefix: string) {
  const key = (name: string) => `${prefix}${name}`;
  return {
    prefix,
    /** Hash: data (JSON of the Run), number, seq (the next), kind, labels, tool, notBefore; token, owner, expires while leased; home, homeMs and homeUntil of one whose files are on a machine. */
    run: (id: string) => key(`run:${id}`),
    /** Hash: step id → JSON. */
    steps: (id: string) => key(`steps:${id}`),
    /** Stream: an entry for each event, named by its sequence number. */
    events: (id: string) => key(`events:${id}`),
    /** Sorted by name: `type:seq` of each event that is no log. */
    index: (id: string) => key(`index:${id}`),
    sealed: (id: string) => key(`sealed:${id}`),
    keptPlan: (id: string) => key(`kept-plan:${id}`),
    /** Set of the runs that a run covers. */
    covered: (id: string) => key(`covered:${id}`),
    /** Hash: reporter and target → JSON. */
    reports: (id: string) => key(`reports:${id}`),
    /** Run ids by number: all, and by what they are listed by; `open` is `kind:state` of what has not ended. */
    runs: key('runs'),
    runsBy: (what: 'kind' | 'state' | 'group' | 'open', value: string) => key(`runs:${what}:${value}`),
    /** Run ids by the time of their end. */
    ended: key('ended'),
    /** Run ids by the time since which they wait, for the limit of the queue. */
    waiting: key('waiting'),
    /** Members `number:c|n:id` by priority, the highest first; c is one that coalesces. */
    queue: (group: string) => key(`queue:${group}`),
    /** Set of groups that may have something queued. */
    groups: key('groups'),
    /** Hash: group → the run that holds it. */
    held: key('held'),
    /** Run ids by the end of their lease, in ms of Redis' clock. */
    leases: key('leases'),
    token: key('token'),
    /** Hash: dedupe key → the latest run. */
    dedupe: key('dedupe'),
    unreported: (reporter: string) => key(`unreported:${reporter}`),
    /** Hash of counters: `kind:state:upTo:runs|ms`. */
    endings: key('endings'),
    /** Hash of the branch: baseline, examined, rules; and the ledger, pins and outside hashes by service. */
    scope: (scope: string) => key(`scope:${scope}`),
    ledger: (scope: string) => key(`ledger:${scope}`),
    pins: (scope: string) => key(`pins:${scope}`),
    outside: (scope: string) => key(`outside:${scope}`),
    scopes: key('scopes'),
    /** Hash: number → JSON; their numbers by decision and by time; and the latest number of each id. */
    deliveries: key('deliveries'),
    deliveriesBy: (decision: string) => key(`deliveries:by:${decision}`),
    deliveriesByTime: key('deliveries:by-time'),
    deliveryIds: key('deliveries:ids'),
    numbers: key('numbers'),
    nonces: key('nonces'),
    keys: key('keys'),
    checks: key('checks'),
    /** Stream: which runs changed, for other processes. */
    changes: key('changes'),
    /** Hash: worker → JSON of its last sign of life. */
    workers: key('workers'),
    role: (role: string) => key(`role:${role}`),
    identity: key('identity'),
    /** What the store was written by. */
    schema: key('schema'),
  };
}

export function padded(number: number): string {
  return String(number).padStart(DIGITS, '0');
}
