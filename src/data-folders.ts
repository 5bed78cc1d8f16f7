/**
 * The folders below data.dir. store/layout.ts makes these and no others. What the config names must not lie in one:
 * config/config.ts compares the text, snapshots/place.ts where links lead.
 */
export const DATA_FOLDERS = [
  'tree',
  'ltx',
  'state',
  'divergence',
  'quarantine',
  'spool',
  'cuts',
] as const;

export type DataFolder = (typeof DATA_FOLDERS)[number];

/** Those whose content is of one run only. They are emptied at each start. */
export const RUN_FOLDERS: readonly DataFolder[] = ['spool', 'cuts'];
