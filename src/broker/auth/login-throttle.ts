import { createHash } from "node:crypto";
import type { Clock, Logger, Timer } from "../../base/index.ts";

/** Failures that cost nothing, and how the delay grows after them, doubling. */
interface Pace {
  readonly freeFailures: number;
  readonly firstDelayMs: number;
  readonly longestDelayMs: number;
}

/** For one user name from one address. Below the handshake's timeout, so that who waits gets an answer. */
const userPace: Pace = { freeFailures: 5, firstDelayMs: 500, longestDelayMs: 5_000 };
/** For one address over all names. Looser: many programs may share it. */
const addressPace: Pace = { freeFailures: 50, firstDelayMs: 250, longestDelayMs: 1_000 };
/** Failures are forgotten after this long without another, or twice as long. */
const forgetAfterMs = 5 * 60_000;
/** Names and addresses that are remembered; the oldest are forgotten first. */
const mostRemembered = 10_000;

/**
 * Slows the guessing of passwords: attempts for a name that failed often from an address pass one by one, each after a
 * delay, the right password too, since otherwise its absence would tell; and so do those from an address that failed often
 * with whatever names.
 */
export class LoginThrottle {
  private readonly clock: Clock;
  private readonly log: Logger;
  private readonly users = new Map<string, Line>();
  private readonly addresses = new Map<string, Line>();
  /** Users who have logged in from their address: what others do there does not hold them up. */
  private readonly trusted = new Set<string>();
  private readonly isOn: boolean;
  private sweep: Timer | undefined;

  constructor(clock: Clock, log: Logger, isOn: boolean) {
    this.clock = clock;
    this.log = log;
    this.isOn = isOn;
  }

  /** Calls `pass` when an attempt may be made: at once, as a rule. Gives back what calls it off. */
  await(user: string, address: string, pass: () => void): () => void {
    const key = keyOf(user, address);
    const line = this.trusted.has(key) ? undefined : this.addresses.get(address);
    let callOff = (): void => {};
    const userCallOff = enter(this.users.get(key), () => {
      callOff = enter(line, pass);
    });
    return () => {
      userCallOff();
      callOff();
    };
  }

  failed(user: string, address: string): void {
    if (!this.isOn) return;
    const line = this.lineFor(this.users, keyOf(user, address), userPace);
    if (line.failed()) {
      this.log.warn({ user, address }, "too many failed logins of this user: further attempts are delayed");
    }
    // Guesses that the user's own line has slowed already would only punish the address's other users.
    if (line.isSlow) return;
    if (this.lineFor(this.addresses, address, addressPace).failed()) {
      this.log.warn({ address }, "too many failed logins from this address: further attempts are delayed");
    }
  }

  succeeded(user: string, address: string): void {
    const key = keyOf(user, address);
    this.users.get(key)?.succeeded();
    this.trusted.delete(key);
    this.trusted.add(key);
    if (this.trusted.size > mostRemembered) this.trusted.delete(this.trusted.values().next().value!);
  }

  stop(): void {
    this.sweep?.cancel();
    for (const line of [...this.users.values(), ...this.addresses.values()]) line.stop();
  }

  private lineFor(lines: Map<string, Line>, key: string, pace: Pace): Line {
    const known = lines.get(key);
    if (known) return known;
    if (lines.size >= mostRemembered) forgetOldest(lines);
    const line = new Line(pace, this.clock);
    lines.set(key, line);
    this.sweep ??= this.clock.after(forgetAfterMs, () => this.forgetQuiet());
    return line;
  }

  private forgetQuiet(): void {
    for (const lines of [this.users, this.addresses]) {
      for (const [key, line] of lines) if (line.wasQuiet()) lines.delete(key);
    }
    const isEmpty = this.users.size === 0 && this.addresses.size === 0;
    this.sweep = isEmpty ? undefined : this.clock.after(forgetAfterMs, () => this.forgetQuiet());
  }
}

function forgetOldest(lines: Map<string, Line>): void {
  for (const [key, line] of lines) {
    if (line.isWaitedIn) continue;
    lines.delete(key);
    return;
  }
}

/** A name may be as long as a frame. */
function keyOf(user: string, address: string): string {
  return createHash("sha256")
    .update(JSON.stringify([user, address]))
    .digest("base64");
}

function enter(line: Line | undefined, pass: () => void): () => void {
  if (line) return line.enter(pass);
  pass();
  return () => {};
}

/** Where attempts wait for their turn. */
class Line {
  private readonly pace: Pace;
  private readonly clock: Clock;
  private failures = 0;
  private hasFailedLately = false;
  private readonly waiting = new Set<() => void>();
  private timer: Timer | undefined;

  constructor(pace: Pace, clock: Clock) {
    this.pace = pace;
    this.clock = clock;
  }

  get isSlow(): boolean {
    return this.failures > this.pace.freeFailures;
  }

  get isWaitedIn(): boolean {
    return this.waiting.size > 0;
  }

  enter(pass: () => void): () => void {
    if (this.failures < this.pace.freeFailures && !this.isWaitedIn) {
      pass();
      return () => {};
    }
    this.waiting.add(pass);
    this.timer ??= this.clock.after(this.delayMs, () => this.next());
    return () => this.waiting.delete(pass);
  }

  /** Whether attempts are delayed from now on and were not before. */
  failed(): boolean {
    this.failures++;
    this.hasFailedLately = true;
    return this.failures === this.pace.freeFailures;
  }

  /** Who waits already still comes one by one: there may be guesses among them. */
  succeeded(): void {
    this.failures = 0;
  }

  /** No failure since the last time this was asked, and nobody waits. */
  wasQuiet(): boolean {
    const isQuiet = !this.hasFailedLately && !this.isWaitedIn;
    this.hasFailedLately = false;
    return isQuiet;
  }

  stop(): void {
    this.timer?.cancel();
    this.waiting.clear();
  }

  private get delayMs(): number {
    const { freeFailures, firstDelayMs, longestDelayMs } = this.pace;
    const doublings = Math.max(0, this.failures - freeFailures);
    return Math.min(longestDelayMs, firstDelayMs * 2 ** doublings);
  }

  private next(): void {
    this.timer = undefined;
    const [pass] = this.waiting;
    if (!pass) return;
    this.waiting.delete(pass);
    if (this.isWaitedIn) this.timer = this.clock.after(this.delayMs, () => this.next());
    pass();
  }
}
