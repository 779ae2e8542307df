import { createHash, timingSafeEqual } from "node:crypto";

/** RabbitMQ's names for its own, which users imported from one have. */
export type HashingAlgorithm =
  | "argon2id"
  | "rabbit_password_hashing_sha256"
  | "rabbit_password_hashing_sha512";

export interface PasswordHash {
  readonly algorithm: HashingAlgorithm;
  /** argon2id: the standard text form. RabbitMQ's: base64 of four bytes of salt and the hash. */
  readonly hash: string;
}

/** No password is behind this one: what a login of an unknown user is compared with, so that it takes as long. */
export const decoy: PasswordHash = {
  algorithm: "argon2id",
  hash: "$argon2id$v=19$m=19456,t=2,p=1$oWmPAo8627vZen5w/8v2lg$k0fW9+zfgt6xgJKTHvHAcnFqErvqCKODmY2D7cyi1fQ",
};

/**
 * The password guest, which everybody knows: hashed here, so that a first start need not load argon2 (OWASP's cost is 20 to
 * 50 ms) for what hides nothing.
 */
export const guestPassword: PasswordHash = {
  algorithm: "argon2id",
  hash: "$argon2id$v=19$m=19456,p=1,t=2$oWmPAo8627vZen5w/8v2lg$fhK38+zfgt6xgJKTHvHAcnFqErvqCKODmY2D7cyi1fQ",
};

/**
 * Hashes passwords and compares them, off the event loop and a few at a time: each takes 19 MiB while it lasts, and one of
 * the four threads that the disk's work needs too.
 */
export class PasswordHashing {
  private free = 2;
  private readonly waiting: (() => void)[] = [];

  async hash(password: string): Promise<PasswordHash> {
    const { default: argon2 } = await import("argon2");
    const hash = await this.inTurn(() => argon2.hash(password, { ...cost, type: argon2.argon2id }));
    return { algorithm: "argon2id", hash };
  }

  /** Undefined when nobody wants to know any more by the time its turn comes. */
  async verify(
    password: string,
    { algorithm, hash }: PasswordHash,
    isWanted: () => boolean,
  ): Promise<boolean | undefined> {
    if (algorithm !== "argon2id") return matchesRabbitmqHash(password, algorithm, hash);
    const { default: argon2 } = await import("argon2");
    return this.inTurn(async () => (isWanted() ? argon2.verify(hash, password) : undefined));
  }

  private async inTurn<T>(work: () => Promise<T>): Promise<T> {
    if (this.free > 0) this.free--;
    else await new Promise<void>((resolve) => this.waiting.push(resolve));
    try {
      return await work();
    } finally {
      const next = this.waiting.shift();
      if (next) next();
      else this.free++;
    }
  }
}

/** https://cheatsheetseries.owasp.org/cheatsheets/Password_Storage_Cheat_Sheet.html */
const cost = { memoryCost: 19 << 10, timeCost: 2, parallelism: 1 };

const saltBytes = 4;

/** https://www.rabbitmq.com/docs/passwords#computing-password-hash: the hash of salt and password, behind the salt. */
function matchesRabbitmqHash(password: string, algorithm: HashingAlgorithm, encoded: string): boolean {
  const bytes = Buffer.from(encoded, "base64");
  const digest = createHash(digestOf(algorithm)).update(bytes.subarray(0, saltBytes)).update(password);
  return timingSafeEqual(digest.digest(), bytes.subarray(saltBytes));
}

function digestOf(algorithm: HashingAlgorithm): "sha256" | "sha512" {
  return algorithm === "rabbit_password_hashing_sha512" ? "sha512" : "sha256";
}

/** More than these make a login too dear: memory in KiB, passes, threads. */
const mostCost = { m: 64 << 10, t: 10, p: 4 };

/** Argon2's text form. */
const argon2Text = /^\$argon2id\$v=19\$((?:[mtp]=\d{1,6},?){3})\$[\w+/]{11,86}\$[\w+/]{22,86}$/;

/** @throws Error */
function assertArgon2Hash(encoded: string): void {
  const [, given = ""] = argon2Text.exec(encoded) ?? [];
  const costs = new Map(given.split(",").map((part) => [part[0], Number(part.slice(2))]));
  const isFine = Object.entries(mostCost).every(
    ([name, most]) => (costs.get(name) ?? 0) >= 1 && costs.get(name)! <= most,
  );
  if (isFine) return;
  throw new Error(
    `a password hash of argon2id is $argon2id$v=19$m=…,t=…,p=…$salt$hash, with at most m=${mostCost.m}, t=${mostCost.t} and p=${mostCost.p}`,
  );
}

/** @throws Error when it is not a hash of that kind. */
export function assertPasswordHash(algorithm: string, encoded: string): void {
  if (algorithm === "argon2id") return assertArgon2Hash(encoded);
  const digestBytes = { rabbit_password_hashing_sha256: 32, rabbit_password_hashing_sha512: 64 }[algorithm];
  if (digestBytes === undefined) {
    throw new Error(
      `hashing algorithm '${algorithm}' is not known; argon2id, rabbit_password_hashing_sha256 and rabbit_password_hashing_sha512 are`,
    );
  }
  const bytes = Buffer.from(encoded, "base64");
  if (bytes.toString("base64") === encoded && bytes.length === saltBytes + digestBytes) return;
  throw new Error(
    `a password hash of ${algorithm} is ${saltBytes} bytes of salt and ${digestBytes} bytes of hash in base64`,
  );
}
