import { expect, test } from "vitest";
import { silentLogger } from "../../src/base/index.ts";
import { LoginThrottle } from "../../src/broker/auth/login-throttle.ts";
import { ManualClock } from "../../src/testing/manual-clock.ts";

function throttled(): { throttle: LoginThrottle; clock: ManualClock } {
  const clock = new ManualClock();
  const throttle = new LoginThrottle(clock, silentLogger, true);
  for (let failure = 0; failure < 5; failure++) throttle.failed("ada", "10.0.0.1");
  return { throttle, clock };
}

function attempt(
  throttle: LoginThrottle,
  user: string,
  address: string,
): { passed: boolean; callOff: () => void } {
  const attempted = { passed: false, callOff: (): void => {} };
  attempted.callOff = throttle.await(user, address, () => (attempted.passed = true));
  return attempted;
}

test("a user who failed often from an address waits there, not elsewhere; others do not", () => {
  const { throttle } = throttled();
  expect(attempt(throttle, "ada", "10.0.0.1").passed).toBe(false);
  expect(attempt(throttle, "ada", "10.0.0.2").passed).toBe(true);
  expect(attempt(throttle, "bob", "10.0.0.1").passed).toBe(true);
});

test("attempts pass one by one, and who has gone is not waited for", () => {
  const { throttle, clock } = throttled();
  const attempts = [1, 2, 3].map(() => attempt(throttle, "ada", "10.0.0.1"));
  attempts[0].callOff();
  clock.advance(500);
  expect(attempts.map(({ passed }) => passed)).toEqual([false, true, false]);
  clock.advance(500);
  expect(attempts.map(({ passed }) => passed)).toEqual([false, true, true]);
});

test("a success frees those who come, and lets those who wait come one by one", () => {
  const { throttle, clock } = throttled();
  const [first, second] = [1, 2].map(() => attempt(throttle, "ada", "10.0.0.1"));
  throttle.succeeded("ada", "10.0.0.1");
  expect(second.passed).toBe(false);
  clock.advance(1_000);
  expect([first.passed, second.passed]).toEqual([true, true]);
  expect(attempt(throttle, "ada", "10.0.0.1").passed).toBe(true);
});

test("however many names fail, no more than ten thousand are remembered", () => {
  const { throttle } = throttled();
  for (let name = 0; name < 10_000; name++) throttle.failed(`name ${name}`, `address ${name}`);
  // The oldest is forgotten by now.
  expect(attempt(throttle, "ada", "10.0.0.1").passed).toBe(true);
});

test("no timer is left when all is forgotten, nor when it is stopped", () => {
  const { throttle, clock } = throttled();
  clock.advance(10 * 60_000);
  expect(clock.pending).toBe(0);
  throttle.failed("ada", "10.0.0.1");
  expect(clock.pending).toBe(1);
  throttle.stop();
  expect(clock.pending).toBe(0);
});
