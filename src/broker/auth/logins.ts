import type { Logger } from "../../base/index.ts";
import type { LoginThrottle } from "./login-throttle.ts";
import type { Credentials } from "./sasl.ts";
import type { Users } from "./users.ts";

/** Where a client is. */
export interface Origin {
  readonly address: string;
  readonly isLoopback: boolean;
}

/** Decides who is who they say they are. */
export class Logins {
  private readonly users: Users;
  private readonly throttle: LoginThrottle;
  private readonly log: Logger;
  /** May log in from this machine only. */
  private readonly loopbackUser: string | undefined;
  /** Verifications by user and address. */
  private readonly underway = new Map<string, Promise<void>>();

  constructor(users: Users, throttle: LoginThrottle, log: Logger, loopbackUser: string | undefined) {
    this.users = users;
    this.throttle = throttle;
    this.log = log;
    this.loopbackUser = loopbackUser;
  }

  /** Calls `settle` once, at once or later, unless what this gives back is called before. */
  attempt(credentials: Credentials, origin: Origin, settle: (isAccepted: boolean) => void): () => void {
    const { user } = credentials;
    const { address } = origin;
    const pair = JSON.stringify([user, address]);
    let isCalledOff = false;
    let leave = (): void => {};
    const decide = (isRight: boolean): void => {
      const isAccepted = isRight && !this.isGuestFromAfar(user, origin);
      if (isAccepted) this.throttle.succeeded(user, address);
      else this.throttle.failed(user, address);
      if (!isCalledOff) settle(isAccepted);
    };
    const enter = (): void => {
      if (!isCalledOff) leave = this.throttle.await(user, address, verify);
    };
    const verify = (): void => {
      if (this.users.recognizes(credentials)) return decide(true);
      const before = this.underway.get(pair);
      // One at a time: the outcome may slow this attempt, or let it be recognized.
      if (before) return void before.then(enter);
      this.underway.set(
        pair,
        this.verified(credentials, pair, () => !isCalledOff, decide),
      );
    };
    enter();
    return () => {
      isCalledOff = true;
      leave();
    };
  }

  private async verified(
    credentials: Credentials,
    pair: string,
    isWanted: () => boolean,
    decide: (isRight: boolean) => void,
  ): Promise<void> {
    let isRight: boolean | undefined = false;
    try {
      isRight = await this.users.verify(credentials, isWanted);
    } catch (error) {
      this.log.error({ user: credentials.user, error: String(error) }, "a password could not be verified");
    }
    this.underway.delete(pair);
    // Nobody was told anything: it was no guess.
    if (isRight !== undefined) decide(isRight);
  }

  private isGuestFromAfar(user: string, { isLoopback }: Origin): boolean {
    if (user !== this.loopbackUser || isLoopback) return false;
    this.log.warn({ user }, `user '${user}' may only log in from this machine: create another user`);
    return true;
  }
}
