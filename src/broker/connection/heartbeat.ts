import type { Clock, Timer } from "../../base/index.ts";

export interface HeartbeatOutput {
  heartbeat(): void;
  takeActivity(): boolean;
}

/**
 * Keeps a quiet connection alive and notices a dead one. https://www.rabbitmq.com/docs/heartbeats
 *
 * Looks every half interval: sends a heartbeat when nothing else was sent, and gives up after two whole intervals
 * without a byte. Time in which we did not read says nothing about the peer and does not count (INVARIANTS 11).
 */
export class Heartbeat {
  /** Set by the connection whenever bytes arrive. */
  received = false;
  private readonly clock: Clock;
  private readonly output: HeartbeatOutput;
  private readonly reader: { readonly isPaused: boolean };
  private readonly onDead: (seconds: number) => void;
  private timer: Timer | undefined;
  private silentTicks = 0;

  constructor(
    clock: Clock,
    output: HeartbeatOutput,
    reader: { readonly isPaused: boolean },
    onDead: (seconds: number) => void,
  ) {
    this.clock = clock;
    this.output = output;
    this.reader = reader;
    this.onDead = onDead;
  }

  /** `seconds` as negotiated; 0 switches heartbeats off. */
  start(seconds: number): void {
    if (seconds === 0) return;
    this.timer = this.clock.every(seconds * 500, () => this.tick(seconds));
  }

  stop(): void {
    this.timer?.cancel();
    this.timer = undefined;
  }

  private tick(seconds: number): void {
    if (!this.output.takeActivity()) this.output.heartbeat();
    if (this.received || this.reader.isPaused) {
      this.silentTicks = 0;
      this.received = false;
      return;
    }
    this.silentTicks++;
    if (this.silentTicks < 4) return;
    this.stop();
    this.onDead(seconds);
  }
}
