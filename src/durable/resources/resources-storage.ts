// SQL of what a pool's cluster has said: one row.

import { type ResourcesPayload, resourcesSchema } from "../../agents/protocol/resources.ts";
import type { CheckedResources } from "./check-resources.ts";

/** A step of the object's schema. */
export const RESOURCES_SQL =
  "CREATE TABLE cluster_resources (id INTEGER PRIMARY KEY CHECK (id = 1), version INTEGER NOT NULL, json TEXT NOT NULL)";

export class ResourcesStorage {
  readonly #sql: SqlStorage;

  constructor(storage: DurableObjectStorage) {
    this.#sql = storage.sql;
  }

  /** As it was told, perhaps to another release: to be checked again. Version 0: nothing is stored. */
  read(): { readonly version: number; readonly told: ResourcesPayload } {
    const [row] = this.#sql
      .exec<{ version: number; json: string }>("SELECT version, json FROM cluster_resources")
      .toArray();
    const told = row && resourcesSchema.safeParse(JSON.parse(row.json)).data;
    return told === undefined ? { version: 0, told: {} } : { version: row!.version, told };
  }

  write(version: number, resources: CheckedResources): void {
    this.#sql.exec(
      "INSERT OR REPLACE INTO cluster_resources (id, version, json) VALUES (1, ?, ?)",
      version,
      JSON.stringify(resources),
    );
  }

  clear(): void {
    this.#sql.exec("DELETE FROM cluster_resources");
  }
}
