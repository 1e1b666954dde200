import { expect, it } from "vitest";
import { captureLogs } from "../support/logs.ts";

it("writes role, ISO time and level name", () => {
  const { logger, lines } = captureLogs("relay");
  logger.warn({ attempt: 1 }, "hello");
  expect(lines).toEqual([
    {
      level: "warn",
      time: expect.stringMatching(/^\d{4}-\d\d-\d\dT/) as string,
      role: "relay",
      attempt: 1,
      msg: "hello",
    },
  ]);
});

it("redacts what should never have been logged", () => {
  const { logger, lines } = captureLogs();
  const secrets = {
    authorization: "s",
    token: "s",
    secret: "s",
    prompt: "s",
    body: "s",
    headers: "s",
  };
  logger.info({ ...secrets, request: secrets });
  expect(JSON.stringify(lines)).not.toContain('"s"');
});

it("logs of an error what is said, not what hangs on it", () => {
  const { logger, lines } = captureLogs();
  const err = Object.assign(new Error("refused"), { code: "ECONNREFUSED", input: "a prompt" });
  logger.error({ err });
  logger.error({ err: "thrown text" });
  expect(lines[0]).toMatchObject({
    err: { type: "Error", message: "refused", code: "ECONNREFUSED" },
  });
  expect(lines[1]).toMatchObject({ err: { message: "thrown text" } });
  expect(JSON.stringify(lines)).not.toContain("a prompt");
});
