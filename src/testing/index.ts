export { ManualClock } from "./manual-clock.ts";
export { busFixture, testBus, type TestBus, type TestBusOptions } from "./test-bus.ts";
