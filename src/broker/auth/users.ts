import { createHash, randomBytes, timingSafeEqual } from "node:crypto";

/** The accounts of a broker. Passwords are kept salted and hashed. */
export class Users {
  private readonly users = new Map<string, { salt: Buffer; hash: Buffer }>();

  add(name: string, password: string): void {
    const salt = randomBytes(16);
    this.users.set(name, { salt, hash: hashed(salt, password) });
  }

  /** Takes as long for an unknown user as for a wrong password. */
  verify(name: string, password: string): boolean {
    const { salt, hash } = this.users.get(name) ?? nobody;
    return timingSafeEqual(hashed(salt, password), hash) && this.users.has(name);
  }
}

const nobody = { salt: Buffer.alloc(16), hash: Buffer.alloc(32) };

function hashed(salt: Buffer, password: string): Buffer {
  return createHash("sha256").update(salt).update(password).digest();
}
