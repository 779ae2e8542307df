import { createHmac, randomBytes, timingSafeEqual } from "node:crypto";
import { recordKey, recordsOf, type AccessRecords } from "./access-records.ts";
import { decoy, guestPassword, PasswordHashing, type PasswordHash } from "./password-hashing.ts";
import type { Credentials } from "./sasl.ts";

export interface UserLimits {
  /** Connections that the user may have open together. */
  readonly maxConnections?: number;
  /** Channels that the user may have open together, over all connections. */
  readonly maxChannels?: number;
}

export interface User {
  readonly name: string;
  readonly tags: readonly string[];
  readonly limits: UserLimits;
  /** Absent when only the broker's options know the user. */
  readonly password?: PasswordHash;
}

/** The accounts of a broker. */
export class Users {
  private readonly records: AccessRecords;
  private readonly users = new Map<string, User>();
  private readonly hashing = new PasswordHashing();
  /** The broker's own user, from its options: can always log in with this password. */
  private readonly owner: string | undefined;
  private readonly ownerProof: Buffer | undefined;
  /** Passwords that were right once, hashed with a key that nobody else has: later logins take microseconds. */
  private readonly remembered = new Map<string, Buffer>();
  private readonly processKey = randomBytes(32);
  /** There never was a user but the owner. */
  private isNew: boolean;

  constructor(records: AccessRecords, stored: ReadonlyMap<string, string>, owner: Credentials | undefined) {
    this.records = records;
    for (const { key, value } of recordsOf("user", stored)) {
      const { tags, limits, algorithm, hash } = value as StoredUser;
      this.users.set(key[0], { name: key[0], tags, limits, password: { algorithm, hash } });
      if (hash === guestPassword.hash) this.remembered.set(key[0], this.proof(key[0], "guest"));
    }
    this.isNew = !stored.has(usersKey);
    if (!owner) return;
    this.owner = owner.user;
    this.ownerProof = this.proof(owner.user, owner.password);
    const password = this.users.get(owner.user)?.password;
    this.users.set(owner.user, { name: owner.user, tags: ["administrator"], limits: {}, password });
  }

  get all(): Iterable<User> {
    return this.users.values();
  }

  get(name: string): User | undefined {
    return this.users.get(name);
  }

  /** The broker's options name this user. */
  isOwner(name: string): boolean {
    return name === this.owner;
  }

  hashPassword(password: string): Promise<PasswordHash> {
    return this.hashing.hash(password);
  }

  /** Adds a user, or puts it into the place of the one of its name. */
  put(user: User): void {
    if (user.password !== this.users.get(user.name)?.password) this.remembered.delete(user.name);
    this.users.set(user.name, user);
    const { name, tags, limits, password } = user;
    this.records.put(recordKey("user", name), JSON.stringify({ tags, limits, ...password }));
    if (this.isNew) this.records.put(usersKey, "there are, or were");
    this.isNew = false;
  }

  /** The user guest with the password guest, unless there ever was a user. */
  addGuestIfNew(): boolean {
    if (!this.isNew) return false;
    this.addGuest();
    return true;
  }

  private addGuest(): void {
    this.put({ name: "guest", tags: ["administrator"], limits: {}, password: guestPassword });
    this.remembered.set("guest", this.proof("guest", "guest"));
  }

  delete(name: string): void {
    this.users.delete(name);
    this.remembered.delete(name);
    this.records.delete(recordKey("user", name));
  }

  /** Whether this is the password that was right before. When it is not, {@link verify} knows. */
  recognizes({ user, password }: Credentials): boolean {
    const proof = this.proof(user, password);
    const known = [this.isOwner(user) ? this.ownerProof : undefined, this.remembered.get(user)];
    return known.some((right) => right !== undefined && timingSafeEqual(right, proof));
  }

  /** Takes as long for an unknown user, or one with a cheaper hash, as for a wrong password. */
  async verify({ user, password }: Credentials, isWanted: () => boolean): Promise<boolean | undefined> {
    const known = this.users.get(user)?.password;
    // RabbitMQ lets nobody in without a password, even when that is what the hash is of.
    const canBeRight = known !== undefined && password !== "";
    const isRight = canBeRight && (await this.hashing.verify(password, known, isWanted));
    if (isRight === undefined) return undefined;
    const isTimed = canBeRight && known.algorithm === "argon2id";
    if (!isRight && !isTimed && (await this.hashing.verify(password, decoy, isWanted)) === undefined)
      return undefined;
    // It may have been changed meanwhile.
    if (!isRight || this.users.get(user)?.password !== known) return false;
    this.remembered.set(user, this.proof(user, password));
    return true;
  }

  private proof(user: string, password: string): Buffer {
    return createHmac("sha256", this.processKey)
      .update(JSON.stringify([user, password]))
      .digest();
  }
}

/** There once the first user has been: when all are deleted, the next start does not bring guest back. */
const usersKey = "users";

interface StoredUser extends PasswordHash {
  readonly tags: readonly string[];
  readonly limits: UserLimits;
}
