// Schema versions of an object's SQLite. SQLite's own `user_version` is not available in an object.

/**
 * Applies the steps that this object's database has not seen, in order, as one transaction.
 * A step, once released, is never edited: later changes are further steps.
 */
export function migrate(storage: DurableObjectStorage, steps: readonly string[]): void {
  storage.transactionSync(() => {
    storage.sql.exec("CREATE TABLE IF NOT EXISTS migrations (step INTEGER PRIMARY KEY)");
    const [row] = storage.sql
      .exec<{ applied: number }>("SELECT COUNT(*) AS applied FROM migrations")
      .toArray();
    for (let step = row!.applied; step < steps.length; step++) {
      storage.sql.exec(steps[step]!);
      storage.sql.exec("INSERT INTO migrations (step) VALUES (?)", step);
    }
  });
}
