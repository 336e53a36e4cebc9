/** The first eight digits of a commit id, as people see it everywhere. */
export function shortCommit(commit: string): string {
  return commit.slice(0, 8);
}
