# Image of collector, relay and simulator: docker build -f infra/agents.Dockerfile -t fairlead-agents .
# Node runs the TypeScript as it is; there is no build step.
FROM node:24-slim
WORKDIR /app
COPY package.json package-lock.json .npmrc ./
RUN npm ci --omit=dev --omit=optional --ignore-scripts
COPY src/agents src/agents
COPY src/scheduler src/scheduler
COPY src/telemetry src/telemetry
USER node
ENTRYPOINT ["node", "src/agents/main.ts"]
