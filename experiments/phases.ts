/**
 * @file One share of a whole from parts that follow one another, each with an estimate of its cost, so that the time left is
 * honest.
 */
export class Phases {
  private readonly total: number;
  private readonly onShare: (share: number) => void;
  private done = 0;

  constructor(total: number, onShare: (share: number) => void) {
    this.total = total;
    this.onShare = onShare;
  }

  /** The progress of the next part, which costs about `cost` of the total. */
  part(cost: number): (share: number) => void {
    const before = this.done;
    this.done += cost;
    return (share) => this.onShare(Math.min(1, (before + cost * share) / Math.max(this.total, this.done)));
  }
}
