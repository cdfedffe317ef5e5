// What the instances of a pool are asked, and what they say to it. Knows nothing of what the answers mean.
import type { FromInstance } from '../../values/messages.js';
import type { InstanceProcess } from './instance-process.js';
import { within } from './within.js';

/** What an instance is asked, and says under the same name. */
type Question = 'digest' | 'figures';
export type Said<K extends Question = Question> = Extract<FromInstance, { kind: K }>;

export interface Answer<K extends Question> {
  readonly instance: number;
  readonly answer: Said<K>;
}

export class PoolQuestions {
  /** Who waits for an answer, by the question's id and the instance. */
  readonly #waiting = new Map<string, (said: Said) => void>();
  #lastId = 0;

  /** Sorted by instance; without those that do not answer within `patienceMs`, or end. */
  async ask<K extends Question>(
    kind: K,
    asked: readonly InstanceProcess[],
    patienceMs: number,
  ): Promise<Answer<K>[]> {
    const id = (this.#lastId += 1);
    const answers: Answer<K>[] = [];
    const all = asked.map(async (process) => {
      const { instance } = process;
      const answered = new Promise<void>((resolve) => {
        this.#waiting.set(`${id} ${instance}`, (said) => {
          answers.push({ instance, answer: said as Said<K> });
          resolve();
        });
      });
      process.tell({ kind, id });
      await Promise.race([answered, process.ended]);
    });
    await within(Promise.all(all), patienceMs);
    for (const { instance } of asked) this.#waiting.delete(`${id} ${instance}`);
    return answers.sort((a, b) => a.instance - b.instance);
  }

  /** Passes on what an instance says; an answer that nobody waits for any more is lost. */
  hear(instance: number, said: Said): void {
    this.#waiting.get(`${said.id} ${instance}`)?.(said);
  }
}
