// Reader of ports on the command line.
import { InvalidArgumentError } from 'commander';

/** 0 to 65535. */
export function portNumber(text: string): number {
  const port = Number(text);
  if (!/^[0-9]{1,5}$/.test(text) || port > 65_535) throw new InvalidArgumentError('a port is 0 to 65535');
  return port;
}
