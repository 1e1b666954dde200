// Starts simulated engines in this process. command.ts runs it as an agent; tests call it directly.

import type { Logger } from "../process/logger.ts";
import { EngineServer } from "./engine-server.ts";
import { findContradictions, withDefaults, type SimulatorParameters } from "./parameters.ts";

export interface SimulatorOptions {
  /** As on the command line; what is not given has its default, but `port` is any free one. */
  readonly parameters?: Partial<SimulatorParameters>;
  readonly logger: Logger;
}

export interface Simulator {
  /** One per engine. */
  readonly ports: readonly number[];
  /** Stops accepting; requests under way have `drainMs` to end. */
  close(drainMs?: number): Promise<void>;
}

/** Starts every engine, or none: rejects if a port is taken or the parameters contradict each other. */
export async function startSimulator(options: SimulatorOptions): Promise<Simulator> {
  const parameters = withDefaults({ port: 0, ...options.parameters });
  const mistakes = findContradictions(parameters);
  if (mistakes.length > 0) throw new Error(mistakes.join(" "));
  const servers: EngineServer[] = [];
  const ports: number[] = [];
  const close = async (drainMs = 0) => {
    await Promise.all(servers.map((server) => server.close(drainMs)));
  };
  try {
    for (let i = 0; i < parameters.engines; i++) {
      const server = new EngineServer(parameters, i, options.logger);
      const following = parameters.port === 0 ? 0 : parameters.port + i;
      ports.push(await server.listen(parameters.ports[i] ?? following));
      servers.push(server);
    }
  } catch (error) {
    await close();
    throw error;
  }
  return { ports, close };
}
