/**
 * The files of the status page, which lie beside this one. scripts/build/bundle.ts puts their text in the place of this
 * module: inside the executable there are no files.
 */
import fs from 'node:fs';
import path from 'node:path';

const NAMES = [
  'status.html',
  'status.css',
  'icon.svg',
  'main.js',
  'feed.js',
  'access.js',
  'words.js',
  'facts.js',
  'rates.js',
  'view.js',
  'table.js',
  'tables.js',
  'snapshots.js',
  'chart.js',
  'dom.js',
];

/** By name. */
export const PAGE_FILES: Readonly<Record<string, string>> = Object.fromEntries(
  NAMES.map((name) => {
    const folder = name.endsWith('.js') ? 'client' : '.';
    return [name, fs.readFileSync(path.join(import.meta.dirname, folder, name), 'utf8')];
  }),
);
