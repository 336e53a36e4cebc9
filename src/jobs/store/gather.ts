/** Sends the questions of the same moment to Redis in one step. */

/** Calls `ask` with at most `most` questions. It returns their answers in order. If it fails, all these questions fail. */
export function gather<Question, Answer>(
  most: number,
  ask: (questions: Question[]) => Promise<Answer[]>,
): (question: Question) => Promise<Answer> {
  let waiting: { question: Question; answered: PromiseWithResolvers<Answer> }[] = [];

  async function send(some: typeof waiting): Promise<void> {
    try {
      const answers = await ask(some.map(({ question }) => question));
      for (const [index, { answered }] of some.entries()) {
        const answer = answers[index];
        if (answer === undefined) answered.reject(new Error('There is no answer to one of the questions.'));
        else answered.resolve(answer);
      }
    } catch (error) {
      for (const { answered } of some) answered.reject(error);
    }
  }

  function sendAll(): void {
    const all = waiting;
    waiting = [];
    for (let from = 0; from < all.length; from += most) void send(all.slice(from, from + most));
  }

  return (question) => {
    const answered = Promise.withResolvers<Answer>();
    // After everything else in this turn of the event loop.
    if (waiting.length === 0) setImmediate(sendAll);
    waiting.push({ question, answered });
    return answered.promise;
  };
}
