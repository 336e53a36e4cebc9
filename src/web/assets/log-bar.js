/** The bar above a log: its switches, the way to its end, and the search. */

function button(text, label, onClick) {
  const element = document.createElement('input');
  element.type = 'button';
  element.value = text;
  element.setAttribute('aria-label', label);
  element.addEventListener('click', onClick);
  return element;
}

function switchOf(words, isOn, onChange) {
  const label = document.createElement('label');
  const box = document.createElement('input');
  box.type = 'checkbox';
  box.checked = isOn;
  box.addEventListener('change', () => onChange(box.checked));
  label.append(box, words);
  return label;
}

/**
 * Makes the bar of the log of `step`. `log` says how it is shown at first, and is told what the reader wants:
 * `setTimes`, `setWrapped`, `setErrors`, `setFollow`, `toEnd` and `find(text, direction)`, which resolves to the words for
 * what was found.
 */
export function createBar(step, log) {
  const bar = document.createElement('div');
  bar.className = 'log-bar';
  bar.setAttribute('role', 'group');
  bar.setAttribute('aria-label', `How to show the log of ${step}`);
  const follow = switchOf('Follow', log.isFollowing, log.setFollow);
  follow.hidden = !log.isLive;
  const errors = switchOf('Only errors', false, log.setErrors);
  bar.append(
    searchOf(step, log),
    switchOf('Times', log.hasTimes, log.setTimes),
    switchOf('Wrap', log.isWrapped, log.setWrapped),
    errors,
    follow,
    button('End', 'Jump to the end', log.toEnd),
  );
  return {
    bar,
    showFollow(isOn) {
      follow.control.checked = isOn;
    },
    showErrors(isOn) {
      errors.control.checked = isOn;
    },
  };
}

function searchOf(step, log) {
  const search = document.createElement('search');
  const field = document.createElement('input');
  field.type = 'search';
  field.placeholder = 'Search, or :line';
  field.maxLength = 1000;
  field.setAttribute('aria-label', `Search the log of ${step}`);
  const found = document.createElement('output');
  const find = async (direction) => {
    if (field.value === '') {
      found.textContent = '';
      return;
    }
    found.textContent = 'Searching…';
    found.textContent = await log.find(field.value, direction);
  };
  field.addEventListener('keydown', ({ key, shiftKey }) => {
    if (key === 'Enter') void find(shiftKey ? -1 : 1);
  });
  search.append(
    field,
    button('↑', 'Previous match', () => void find(-1)),
    button('↓', 'Next match', () => void find(1)),
    found,
  );
  return search;
}
