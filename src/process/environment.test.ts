import { expect, it } from 'vitest';
import { taskSecrets } from './environment.ts';

it('F41: taskSecrets finds secret values by the names of their variables', () => {
  const secret = {
    VAULT_APP_TOKEN: '1',
    DOKPLOY_API_KEY: '2',
    AWS_SECRET_ACCESS_KEY: '3',
    db_password: '4',
    MYSQL_PWD: '5',
    GITHUB_PAT: '6',
    GOOGLE_CREDENTIALS: '7',
    PGPASSWORD: '8',
    GITHUBTOKEN: '9',
    SSH_PASSPHRASE: '10',
    SMTP_PASS: '11',
    REDIS_AUTH: '12',
    SECRET1: '13',
    DB_PASSWORD2_OLD: '14',
    API_KEY2: '15',
    SLACK_WEBHOOK: '16',
    slack_webhook_url: '17',
    WEBHOOK2: '18',
  };
  const harmless = {
    PWD: '/w',
    OLDPWD: '/w',
    PATH: '/bin',
    MONKEY: 'x',
    TOKENIZER: 'x',
    BYPASS: 'x',
    ENV: 'prod',
    WEBHOOK_PORT: '8000',
    WEBHOOK_URL_PATH: '/in',
  };
  expect(taskSecrets({ ...secret, ...harmless, EMPTY_TOKEN: '' })).toEqual(Object.values(secret));
});

it('F41: taskSecrets finds the password in a URL', () => {
  expect(
    taskSecrets({
      DATABASE_URL: 'postgres://user:p%40ss-word@db/x',
      REPOSITORY: 'https://ghp_abcdef@github.com/a/b',
      PLAIN: 'https://example.com/@scope',
      MAIL: 'ops@example.com',
    }),
  ).toEqual(['p%40ss-word', 'p@ss-word', 'ghp_abcdef']);
});
