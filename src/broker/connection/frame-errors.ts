/** Frames that cannot be right, described as RabbitMQ does. */
import { ReplyCode } from "../../wire/index.ts";
import { ConnectionError } from "../errors.ts";

/** 501 for the frame `bytes[at, next)`. */
export function frameError(bytes: Uint8Array, at: number, next: number, reason: string): ConnectionError {
  return new ConnectionError(ReplyCode.FrameError, `${frameText(bytes, at, next)}: ${reason}`);
}

/** 501 for a frame that announces a payload of `size` bytes. */
export function frameTooLarge(type: number, size: number, most: number): ConnectionError {
  return new ConnectionError(
    ReplyCode.FrameError,
    `type ${type}, all octets = <<>>: {frame_too_large,${size},${most}}`,
  );
}

/** 505 for a frame that may not stand where it does. */
export function unexpectedFrame(bytes: Uint8Array, at: number, next: number): ConnectionError {
  return new ConnectionError(ReplyCode.UnexpectedFrame, frameText(bytes, at, next));
}

function frameText(bytes: Uint8Array, at: number, next: number): string {
  const payload = bytes.subarray(at + 7, next - 1);
  const shown = payload.length <= 16 ? "all octets" : "first 16 octets";
  return `type ${bytes[at]}, ${shown} = <<${payload.subarray(0, 16).join(",")}>>`;
}
