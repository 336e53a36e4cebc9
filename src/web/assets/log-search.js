/** Searches a log on the server, and goes from one line that was found to the next. */

/** `ask(parameters)` resolves to the answer of the server; `goTo(number)` shows a line. */
export function createSearch(ask, goTo) {
  let text = '';
  let numbers = [];
  let more = false;
  let place = -1;

  async function findMore() {
    const answer = await ask({ search: text, from: (numbers.at(-1) ?? 0) + 1 });
    numbers.push(...answer.lines);
    more = answer.more;
  }

  /** The first match from this line on, or the last one before it. */
  function nearest(line, direction) {
    const after = numbers.findIndex((number) => number >= line);
    if (direction > 0) return after < 0 ? 0 : after;
    return after < 0 ? numbers.length - 1 : after - 1;
  }

  async function step(direction) {
    place += direction;
    // The log may have grown since.
    if (place === numbers.length) await findMore();
    if (place >= numbers.length) place = 0;
    if (place < 0) place = numbers.length - 1;
  }

  /** Goes to the next match, or to the previous one, and resolves to what there is to say about it. */
  return async function find(wanted, direction, currentLine) {
    const line = /^:(\d{1,15})$/.exec(wanted);
    if (line) return goTo(Number(line[1])) ? '' : 'There is no such line.';
    if (wanted === text && numbers.length > 0) await step(direction);
    else {
      text = wanted;
      numbers = [];
      await findMore();
      place = nearest(currentLine, direction);
    }
    if (numbers.length === 0) return 'No match';
    if (place < 0) place = numbers.length - 1;
    goTo(numbers[place]);
    return `${place + 1} of ${numbers.length}${more ? ' or more' : ''}`;
  };
}
