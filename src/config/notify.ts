/** Who is told what: the rules under `notify` in the file that CONFIG_FILE names. */

export const NOTIFY_EVENTS = [
  'failed',
  'recovered',
  'succeeded',
  'approval_needed',
  'held',
  'drift',
] as const;
export type NotifyEvent = (typeof NOTIFY_EVENTS)[number];

export const NOTIFY_FORMATS = ['standard-webhooks', 'slack'] as const;

export interface NotifyRule {
  /** The address, which may itself be a secret. */
  url: string;
  format: (typeof NOTIFY_FORMATS)[number];
  /** `whsec_` and base64. Null for a format that signs nothing. */
  secret: string | null;
  events: readonly NotifyEvent[];
  /** The names of environments, of which the unnamed one is `default`. Null: all of them, and deployments. */
  environments: readonly string[] | null;
  /** The ids of services. Null: all of them, and deployments. */
  services: readonly string[] | null;
}
