/**
 * @file Things that are dear to open and to keep: at most so many are held, and what was used longest ago is closed first.
 *
 * One in use is never closed; it goes when the last that uses it is done.
 */

interface Held<T> {
  readonly value: Promise<T>;
  users: number;
}

export class WarmModels<T> {
  /** From the one used longest ago to the newest. */
  private readonly held = new Map<string, Held<T>>();
  private readonly most: number;
  private readonly open: (key: string) => Promise<T>;
  private readonly close: (value: T) => Promise<void>;

  constructor(most: number, open: (key: string) => Promise<T>, close: (value: T) => Promise<void>) {
    this.most = most;
    this.open = open;
    this.close = close;
  }

  get keys(): string[] {
    return [...this.held.keys()];
  }

  /** `work` on what `key` opens. What fails to open is not kept. */
  async use<R>(key: string, work: (value: T) => Promise<R>): Promise<R> {
    const known = this.held.get(key);
    this.held.delete(key);
    // Room is made first, so that the old and the new are not in memory together.
    const found = known ?? { value: this.makeRoom(this.most - 1).then(() => this.open(key)), users: 0 };
    this.held.set(key, found);
    found.users++;
    try {
      return await work(await found.value);
    } finally {
      found.users--;
      const isKept = await found.value.then(
        () => true,
        () => false,
      );
      if (!isKept && this.held.get(key) === found) this.held.delete(key);
      await this.makeRoom(this.most);
    }
  }

  private async makeRoom(most: number): Promise<void> {
    const idle = [...this.held].filter(([, { users }]) => users === 0);
    const leaving = idle.slice(0, Math.max(0, this.held.size - most));
    for (const [key] of leaving) this.held.delete(key);
    for (const [, { value }] of leaving) await this.close(await value);
  }
}
