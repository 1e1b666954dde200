import type { Flag } from "../../process/flags.ts";

export const RENDER_FLAGS = {
  "render-url": renderUrlFlag(),
} as const;

/** Null where it is absent. */
function renderUrlFlag(): Flag<URL | null> {
  return {
    placeholder: "URL",
    help: "who says what prompts' tokens are, e.g. `vllm launch render`; the engines if absent",
    fallback: null,
    parse(text) {
      const url = URL.canParse(text) ? new URL(text) : undefined;
      const isOrigin = url?.protocol === "http:" && url.pathname === "/" && url.search === "";
      return isOrigin
        ? { ok: true, value: url }
        : { ok: false, expected: "http://HOST:PORT, e.g. http://renderer:8000" };
    },
  };
}
