import { describe, expect, it } from "vitest";
import { RETRY_LIMITS, RetryBudget } from "../../../src/agents/relay/retry-budget.ts";

function createBudget() {
  let deniedCount = 0;
  const budget = new RetryBudget(() => (deniedCount += 1));
  const withdraw = (count: number) => {
    for (let i = 0; i < count; i++) budget.tryWithdraw();
  };
  const deposit = (count: number) => {
    for (let i = 0; i < count; i++) budget.deposit();
  };
  return { budget, withdraw, deposit, denied: () => deniedCount };
}

describe("a retry budget", () => {
  it("starts with its reserve, and denies the retry past it", () => {
    const { budget, withdraw, denied } = createBudget();
    withdraw(RETRY_LIMITS.reserve - 1);
    expect(budget.tryWithdraw()).toBe(true);
    expect(denied()).toBe(0);
    expect(budget.tryWithdraw()).toBe(false);
    expect(denied()).toBe(1);
  });

  it("earns one retry with every tenth request, exactly", () => {
    const { budget, withdraw, deposit } = createBudget();
    withdraw(RETRY_LIMITS.reserve);
    deposit(RETRY_LIMITS.requestsPerRetry - 1);
    expect(budget.tryWithdraw()).toBe(false);
    deposit(1);
    expect(budget.tryWithdraw()).toBe(true);
    deposit(7 * RETRY_LIMITS.requestsPerRetry);
    withdraw(7);
    expect(budget.tryWithdraw()).toBe(false);
  });

  it("saves up no more than its reserve", () => {
    const { budget, withdraw, deposit } = createBudget();
    deposit(10 * RETRY_LIMITS.reserve * RETRY_LIMITS.requestsPerRetry);
    withdraw(RETRY_LIMITS.reserve);
    expect(budget.tryWithdraw()).toBe(false);
  });
});
