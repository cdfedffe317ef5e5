// Many commands by one process: starting a process for each takes longer than most of them. It is the real command line
// on the real Node.js, in a child with nothing else in it.
import { fork, type ChildProcess } from 'node:child_process';
import { join } from 'node:path';

export interface Ended {
  readonly status: number;
  readonly out: string;
  readonly err: string;
}

export class Commands {
  readonly #child: ChildProcess;
  #turn: Promise<unknown> = Promise.resolve();

  constructor() {
    this.#child = fork(join(__dirname, 'programs/commands.cjs'), {
      stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
    });
  }

  /** One after the other. */
  run(args: readonly string[], input = '', environment: Record<string, string> = {}): Promise<Ended> {
    const turn = this.#turn.then(
      () =>
        new Promise<Ended>((resolve, reject) => {
          const gone = (): void => reject(new Error(`the process ended in: ${args.join(' ')}`));
          this.#child.once('exit', gone);
          this.#child.once('message', (ended) => {
            this.#child.off('exit', gone);
            resolve(ended as Ended);
          });
          this.#child.send({ args, input, environment });
        }),
    );
    this.#turn = turn.catch(() => undefined);
    return turn;
  }

  end(): void {
    this.#child.kill();
  }
}
