# Builds iac-runner and packs it with what a sync needs: git, ssh, Python and invoke.
# For tasks that need more (the docker CLI, vault, uv), build another image FROM this one.
FROM node:24-bookworm-slim AS build
WORKDIR /app
COPY package.json package-lock.json ./
# With the optional packages: the bundler's own binary is one of them.
RUN npm ci --no-audit --no-fund --ignore-scripts
COPY tsconfig.json ./
COPY bin bin
COPY src src
RUN npm run build

FROM node:24-bookworm-slim
# tini is PID 1 and reaps what tasks leave behind; the image needs no `init: true`.
RUN apt-get update \
    && apt-get install -y --no-install-recommends \
        ca-certificates git openssh-client python3 python3-invoke tini \
    && rm -rf /var/lib/apt/lists/* \
    && groupadd --gid 10001 iac-runner \
    && useradd --no-log-init --uid 10001 --gid 10001 --create-home --shell /usr/sbin/nologin iac-runner \
    && install --directory --owner=10001 --group=10001 --mode=0700 /workspace

WORKDIR /app
COPY --from=build /app/package.json ./
# The build puts all packages into dist, so nothing else is installed.
COPY --from=build /app/dist dist
RUN chmod 0755 dist/cli.js && ln -s /app/dist/cli.js /usr/local/bin/iac-runner

ENV NODE_ENV=production \
    WORKSPACE_DIR=/workspace
USER 10001:10001
VOLUME /workspace
EXPOSE 8080

HEALTHCHECK --interval=30s --timeout=5s --start-period=20s --retries=3 \
    CMD ["node", "-e", "fetch(`http://127.0.0.1:${process.env.WEBHOOK_PORT || 8080}/health`, { signal: AbortSignal.timeout(4000) }).then((answer) => process.exit(answer.ok ? 0 : 1), () => process.exit(1))"]

# A small young generation: 20 MB less at rest and 80 MB less under load, for a tenth more CPU time per request.
ENTRYPOINT ["tini", "--", "node", "--max-semi-space-size=1", "/app/dist/cli.js"]
CMD ["serve"]
