/** The closed list of reasons for which a run can end, each with the next action of a person. */

/**
 * The reason of an ending, with the next action that is shown beside it. `failed` means that a command failed or refused;
 * `errored` means that this program could not do its part.
 */
export const RUN_REASONS = {
  step_failed: 'Open the failed step, fix it and push, or retry the run.',
  step_timed_out: 'Find what the task waits for, or raise SYNC_TIMEOUT, then retry the run.',
  repository_invalid: 'Fix the named folders in the repository and push.',
  service_missing: 'Request services that exist at the commit; the branch may have lost them since.',
  rules_invalid: 'Fix .iac-runner.yaml at the named line and push; the last good rules were used.',
  unsigned_commit: 'Sign the commit with a key that the operator allows and push it again.',
  git_unavailable: 'Check that the repository can be reached with the credentials given, then try again.',
  unknown_revision: 'Check that the commit, branch or tag was pushed, then try again.',
  not_on_branch: 'Nothing to do: the branch head was queued instead.',
  covered_by_newer: 'Nothing to do: a newer run of the branch covers this commit.',
  pull_request_closed: 'Nothing to do, unless the pull request is opened again.',
  newer_already_synced: 'Nothing to do. If you want an older commit, request a rollback.',
  tool_missing: 'Install the tool, or ask for a version that is there, then deploy again.',
  no_wall: 'Set EXECUTOR_COMMAND, or the named variable that trusts these people, then start the run again.',
  executor_lost: 'Look at EXECUTOR_COMMAND and at where it leads, then start the run again.',
  request_invalid: 'Fix what the message names, then deploy again.',
  credentials_lost: 'Deploy again: the credentials of the request cannot be read any more.',
  plan_lost: 'Deploy again: the plan that was shown is missing or has changed, so it was not applied.',
  check_failed: 'Open the failed check; change the configuration, or the check, and deploy again.',
  not_allowed: 'Ask somebody with write access to the repository to write it.',
  not_approved: 'Fix what the message names, then write a new comment.',
  github_unavailable: 'Check GITHUB_TOKEN and GITHUB_API_URL, then write a new comment.',
  interrupted: 'Look at what the tool says was applied, check the state and its lock, then deploy again.',
  rejected: 'Nothing was applied. Deploy again if you still want it.',
  approval_expired: 'Nothing was applied: nobody approved in time. Deploy again.',
  task_runner_missing: 'Install invoke or set INVOKE_COMMAND, then retry the run.',
  secret_missing: 'Write the named file again, and let iac-runner read it, then retry the run.',
  not_promotable: 'Promote a commit that the other environment holds.',
  promotion_changed: 'Look at what the promotion would change now, and ask for it again.',
  environment_unknown: 'Put the environment back into CONFIG_FILE, or ask for another one.',
  workspace_unavailable: 'Check who holds the workspace lock and its permissions, then retry the run.',
  disk_full: 'Free space on the disk, then retry the run.',
  attempts_exhausted: 'Read the log of the last attempt, then retry the run.',
  handed_back_too_often:
    'See whether a task of this run stops the server: then let a helper replace it (docs/operations.md). Retry the run.',
  cancelled_by_request: 'Retry the run if you still want it.',
  internal: 'Read the server log for this run and report a bug.',
} as const;

export type RunReason = keyof typeof RUN_REASONS;
