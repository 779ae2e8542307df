import type { Clock, Timer } from "../base/index.ts";
import type { PublishGate } from "./publish-gate.ts";

export interface AlarmLimits {
  /** Memory that messages may take, in bytes. */
  readonly memoryBytes: number;
  /** What must be free on the data directory's disk, in bytes. */
  readonly diskFreeBytes: number;
}

export interface Gauges {
  /** Memory that messages and unsent output take. */
  memoryBytes(): number;
  /** Free space of the data directory's file system. Absent without a data directory. */
  freeDiskBytes?: () => Promise<number>;
  /** The last attempt to make the log longer has failed for want of space. */
  isDiskFull(): boolean;
  /** Gives back to the disk what can be spared, while it is short. */
  spareDisk(isShort: boolean): void;
}

const intervalMs = 500;

/** Watches memory and disk, raises the alarm when one runs short and takes it back when it does not any more. */
export class Alarms {
  private readonly gate: PublishGate;
  private readonly limits: AlarmLimits;
  private readonly gauges: Gauges;
  private readonly timer: Timer;
  private diskIsLow = false;
  private asking = false;

  constructor(gate: PublishGate, limits: AlarmLimits, gauges: Gauges, clock: Clock) {
    this.gate = gate;
    this.limits = limits;
    this.gauges = gauges;
    this.timer = clock.every(intervalMs, () => this.check());
  }

  check(): void {
    this.gate.setAlarm("memory", this.gauges.memoryBytes() > this.limits.memoryBytes);
    this.setDiskAlarm();
    void this.askDisk();
  }

  stop(): void {
    this.timer.cancel();
  }

  private setDiskAlarm(): void {
    const isShort = this.diskIsLow || this.gauges.isDiskFull();
    this.gauges.spareDisk(isShort);
    this.gate.setAlarm("disk", isShort);
  }

  private async askDisk(): Promise<void> {
    if (!this.gauges.freeDiskBytes || this.asking) return;
    this.asking = true;
    try {
      this.diskIsLow = (await this.gauges.freeDiskBytes()) < this.limits.diskFreeBytes;
    } catch {
      // A file system that does not say is not known to be short.
      this.diskIsLow = false;
    } finally {
      this.asking = false;
    }
    this.setDiskAlarm();
  }
}
