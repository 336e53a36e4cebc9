/** Brings what is asked at the same moment to Redis in one step. */

/** `ask` is given at most `most` at once, and answers each in their order; when it fails, all of those have failed. */
export function gather<Question, Answer>(
  most: number,
  ask: (questions: Question[]) => Promise<Answer[]>,
): (question: Question) => Promise<Answer> {
  let waiting: { question: Question; answered: PromiseWithResolvers<Answer> }[] = [];

  function send(): void {
    const all = waiting;
    waiting = [];
    for (let from = 0; from < all.length; from += most) {
      const some = all.slice(from, from + most);
      ask(some.map(({ question }) => question)).then(
        (answers) => {
          for (const [index, { answered }] of some.entries()) {
            const answer = answers[index];
            if (answer === undefined)
              answered.reject(new Error('There is no answer to one of the questions.'));
            else answered.resolve(answer);
          }
        },
        (error: unknown) => {
          for (const { answered } of some) answered.reject(error);
        },
      );
    }
  }

  return (question) => {
    const answered = Promise.withResolvers<Answer>();
    // After all else that this turn of the event loop has to do.
    if (waiting.length === 0) setImmediate(send);
    waiting.push({ question, answered });
    return answered.promise;
  };
}
