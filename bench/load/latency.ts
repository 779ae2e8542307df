export interface Latency {
  p50Ms: number;
  p99Ms: number;
  maxMs: number;
  samples: number;
}

/** Keeps every sample: a run has some ten thousand, and a histogram's buckets would blur the tail. */
export class LatencySamples {
  private samplesUs = new Float64Array(16_384);
  private count = 0;

  add(us: number): void {
    if (this.count === this.samplesUs.length) {
      const larger = new Float64Array(this.count * 2);
      larger.set(this.samplesUs);
      this.samplesUs = larger;
    }
    this.samplesUs[this.count] = us;
    this.count += 1;
  }

  clear(): void {
    this.count = 0;
  }

  summary(): Latency | undefined {
    if (this.count === 0) return undefined;
    const sorted = this.samplesUs.slice(0, this.count).toSorted();
    const at = (fraction: number): number => sorted[Math.ceil(fraction * this.count) - 1] / 1000;
    return { p50Ms: at(0.5), p99Ms: at(0.99), maxMs: at(1), samples: this.count };
  }
}
