import type { LeaseRow, Operation, Rows } from "./operation.ts";
import type { Lease } from "./state-store.ts";

const nobody = "";

export function acquire(
  name: string,
  owner: string,
  ttlMs: number,
  nowMs: number,
): Operation<Lease | undefined> {
  const run = (rows: Rows): Lease | undefined => {
    const held = rows.lease(name) ?? { name, owner: nobody, fence: 0, expiresAtMs: 0 };
    if (held.owner !== owner && held.owner !== nobody && held.expiresAtMs > nowMs) return undefined;
    const fence = held.owner === owner ? held.fence : held.fence + 1;
    return saved(rows, { name, owner, fence, expiresAtMs: nowMs + ttlMs });
  };
  return { touches: { lease: name, makesLease: true }, isLasting: true, run };
}

export function renew(lease: Lease, ttlMs: number, nowMs: number): Operation<Lease | undefined> {
  const run = (rows: Rows): Lease | undefined => {
    const held = rows.lease(lease.name);
    if (held === undefined || !isSame(held, lease) || held.expiresAtMs <= nowMs) return undefined;
    return saved(rows, { ...held, expiresAtMs: nowMs + ttlMs });
  };
  return { touches: { lease: lease.name }, isLasting: true, run };
}

export function releaseLease(lease: Lease): Operation<void> {
  const run = (rows: Rows): void => {
    const held = rows.lease(lease.name);
    // The row stays: the fence of the next owner must be higher.
    if (held !== undefined && isSame(held, lease)) rows.saveLease({ ...held, owner: nobody, expiresAtMs: 0 });
  };
  return { touches: { lease: lease.name }, isLasting: true, run };
}

function isSame(held: LeaseRow, lease: Lease): boolean {
  return held.owner === lease.owner && held.fence === lease.fence;
}

function saved(rows: Rows, lease: LeaseRow): Lease {
  rows.saveLease(lease);
  return lease;
}
