/**
 * A table, and what stands in many of them. On a narrow screen each row is a card, so each cell has its heading with it;
 * the roles say what a browser would forget of a table that is laid out as something else.
 *
 * @typedef {import('./facts.js').Mood} Mood
 * @typedef {import('./dom.js').Child} Child
 */
import { el } from './dom.js';

/**
 * The first cell of each row is its heading.
 *
 * @param {string} caption
 * @param {readonly string[]} headings
 * @param {readonly (readonly Child[])[]} rows
 */
export function table(caption, headings, rows) {
  const head = el(
    'tr',
    { role: 'row' },
    ...headings.map((text) => el('th', { scope: 'col', role: 'columnheader' }, text)),
  );
  const body = rows.map(([first, ...rest]) =>
    el(
      'tr',
      { role: 'row' },
      el('th', { scope: 'row', role: 'rowheader' }, first),
      ...rest.map((cell, i) =>
        el('td', { role: 'cell', 'data-label': headings[i + 1] }, el('div', {}, cell)),
      ),
    ),
  );
  return el(
    'table',
    { role: 'table' },
    el('caption', {}, caption),
    el('thead', { role: 'rowgroup' }, head),
    el('tbody', { role: 'rowgroup' }, ...body),
  );
}

/**
 * @param {Mood} mood
 * @param {string} text
 */
export function badge(mood, text) {
  return el('span', { class: `badge ${mood}` }, text);
}
