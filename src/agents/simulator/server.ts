// Starts simulated engines in this process. command.ts runs it as an agent; tests call it directly.

import type { Logger } from "../process/logger.ts";
import { MeetingPlace } from "./disaggregation/meeting-place.ts";
import { EngineServer } from "./engine-server.ts";
import { createRng } from "../../scheduler/support/rng.ts";
import type { EventAddresses } from "./kv-events/engine-events.ts";
import { SharedStorage } from "./kv-events/shared-storage.ts";
import { portOf } from "./kv-events/sockets.ts";
import {
  engineCount,
  findContradictions,
  servedModelNames,
  withDefaults,
  type SimulatorParameters,
} from "./parameters.ts";

export interface SimulatorOptions {
  /** As on the command line; what is not given has its default, but `port` is any free one. */
  readonly parameters?: Partial<SimulatorParameters>;
  readonly logger: Logger;
}

export interface Simulator {
  /** One per engine. */
  readonly ports: readonly number[];
  /** Where each publishes KV events; empty if none does. */
  readonly kvEvents: readonly EventAddresses[];
  /** Where the shared store publishes; undefined if there is none. */
  readonly storageEndpoint: string | undefined;
  /** Ports by what they are for, as the ready line tells them. */
  readonly ready: Readonly<Record<string, readonly number[] | number>>;
  /** Stops accepting; requests under way have `drainMs` to end. */
  close(drainMs?: number): Promise<void>;
}

/** Starts every engine, or none: rejects if a port is taken or the parameters contradict each other. */
export async function startSimulator(options: SimulatorOptions): Promise<Simulator> {
  const parameters = withDefaults({ port: 0, ...options.parameters });
  const mistakes = findContradictions(parameters);
  if (mistakes.length > 0) throw new Error(mistakes.join(" "));
  const servers: EngineServer[] = [];
  const storage = await openStorage(parameters, options.logger);
  const meetings = new MeetingPlace(parameters);
  const close = async (drainMs = 0) => {
    await Promise.all(servers.map((server) => server.close(drainMs)));
    await Promise.all([storage?.close(), meetings.close()]);
  };
  const rankOf = (index: number, header: string | string[]) =>
    servers[rankIndex(parameters, index, header)]?.host;
  const ports: number[] = [];
  try {
    await meetings.open();
    for (let index = 0; index < engineCount(parameters); index++) {
      const server = new EngineServer(
        parameters,
        { index, storage, meetings, rankOf },
        options.logger,
      );
      const following = parameters.port === 0 ? 0 : parameters.port + index;
      servers.push(server);
      ports.push(await server.listen(parameters.ports[index] ?? following));
    }
  } catch (error) {
    await close();
    throw error;
  }
  const kvEvents = servers.flatMap(({ events }) => events.addresses ?? []);
  const kvEventPorts = kvEvents.flatMap(({ endpoint }) => portOf(endpoint) ?? []);
  const kvReplayPorts = kvEvents.flatMap(({ replayEndpoint }) => portOf(replayEndpoint) ?? []);
  const ready = {
    ports,
    sideChannelPort: meetings.sideChannel.port,
    ...(meetings.bootstrapPort === undefined ? {} : { bootstrapPort: meetings.bootstrapPort }),
    ...(kvEventPorts.length > 0 ? { kvEventPorts } : {}),
    ...(kvReplayPorts.length > 0 ? { kvReplayPorts } : {}),
  };
  return { ports, kvEvents, storageEndpoint: storage?.endpoint, ready, close };
}

/** Of the rank that a header names, of the engine of which `index` is one; -1 if there is none. */
function rankIndex(
  parameters: SimulatorParameters,
  index: number,
  header: string | string[],
): number {
  const size = parameters["data-parallel-size"];
  const rank = /^[0-9]{1,5}$/.test(String(header)) ? Number(header) : size;
  return rank < size ? Math.floor(index / size) * size + rank : -1;
}

async function openStorage(
  parameters: SimulatorParameters,
  logger: Logger,
): Promise<SharedStorage | undefined> {
  const blocks = parameters["kv-storage-blocks"];
  if (blocks === 0) return undefined;
  const endpoint = parameters["kv-storage-endpoint"];
  const model = servedModelNames(parameters)[0]!;
  return SharedStorage.open({ blocks, endpoint, model }, logger, createRng(parameters.seed));
}
