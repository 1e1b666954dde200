// The deployment's switches, kept by itty-durable.
//
// itty-durable's base class answers `fetch` with every method and property it has (`destroy`,
// `reset`, `persist`, and a write of any property), with arguments in a header. So it is not the
// object's class here but a private part of it: the object itself has two methods, called by native
// RPC, and a `fetch` that answers nothing. What the library keeps is checked on the way in and on the way out.

import { DurableObject } from "cloudflare:workers";
import { createDurable } from "itty-durable";
import {
  type Settings,
  type SettingsPatch,
  settingsPatchSchema,
  settingsSchema,
} from "../config/settings.ts";

const IttyDurable = createDurable({ autoPersist: false, autoReturn: false });

/** What itty-durable persists: its own enumerable properties, except `state`. */
class SettingsStore extends IttyDurable {
  settings: unknown = {};
}

/** Outcome of `update`: the switches now in force, or why nothing changed. */
export type SettingsUpdate =
  | { readonly ok: true; readonly settings: Settings }
  | { readonly ok: false; readonly message: string };

export class SettingsObject extends DurableObject {
  readonly #store: SettingsStore;

  constructor(ctx: DurableObjectState, env: object) {
    super(ctx, env);
    // The library copies what it is given onto its state. It gets its own object and no bindings.
    this.#store = new SettingsStore({ storage: ctx.storage }, {});
  }

  /** Nothing is served over HTTP; see above. */
  override fetch(): Response {
    return new Response("no such thing\n", { status: 404 });
  }

  /** The switches in force. What cannot be read any more counts as never set. */
  async get(): Promise<Settings> {
    await this.#store.loadFromStorage();
    const stored = settingsSchema.safeParse(this.#store.settings);
    return stored.success ? stored.data : settingsSchema.parse({});
  }

  /** Changes the switches named in `patch` and leaves the others. */
  async update(patch: SettingsPatch): Promise<SettingsUpdate> {
    const parsed = settingsPatchSchema.safeParse(patch);
    if (!parsed.success) {
      const [issue] = parsed.error.issues;
      return { ok: false, message: `${issue!.path.join(".")}: ${issue!.message}` };
    }
    const settings = settingsSchema.parse({ ...(await this.get()), ...parsed.data });
    this.#store.settings = settings;
    await this.#store.persist();
    return { ok: true, settings };
  }
}
