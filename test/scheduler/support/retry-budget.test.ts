import { describe, expect, it } from "vitest";
import { REQUESTS_PER_RETRY, RetryBudget } from "../../../src/scheduler/support/retry-budget.ts";

const RESERVE = 32;

function createBudget() {
  let deniedCount = 0;
  const budget = new RetryBudget(RESERVE, () => (deniedCount += 1));
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
    withdraw(RESERVE - 1);
    expect(budget.tryWithdraw()).toBe(true);
    expect(denied()).toBe(0);
    expect(budget.tryWithdraw()).toBe(false);
    expect(denied()).toBe(1);
  });

  it("earns one retry with every tenth request, exactly", () => {
    const { budget, withdraw, deposit } = createBudget();
    withdraw(RESERVE);
    deposit(REQUESTS_PER_RETRY - 1);
    expect(budget.tryWithdraw()).toBe(false);
    deposit(1);
    expect(budget.tryWithdraw()).toBe(true);
    deposit(7 * REQUESTS_PER_RETRY);
    withdraw(7);
    expect(budget.tryWithdraw()).toBe(false);
  });

  it("saves up no more than its reserve", () => {
    const { budget, withdraw, deposit } = createBudget();
    deposit(10 * RESERVE * REQUESTS_PER_RETRY);
    withdraw(RESERVE);
    expect(budget.tryWithdraw()).toBe(false);
  });

  it("gives one of two, or of neither", () => {
    const [own, other] = [createBudget(), createBudget()];
    other.withdraw(RESERVE);
    expect(own.budget.tryWithdrawWith(other.budget)).toBe(false);
    expect([own.denied(), other.denied()]).toEqual([0, 1]);
    own.withdraw(RESERVE - 1);
    other.deposit(2 * REQUESTS_PER_RETRY);
    expect(own.budget.tryWithdrawWith(other.budget)).toBe(true);
    expect(own.budget.tryWithdrawWith(other.budget)).toBe(false);
    expect([own.denied(), other.denied()]).toEqual([1, 1]);
    expect(other.budget.tryWithdraw()).toBe(true);
  });
});
